#include "personality/thread_traces.h"

#include <gtest/gtest.h>

namespace gallocy::personality {
namespace {

TraceEvent call(std::int32_t number, std::int64_t begin_ns) {
  return {.kind = TraceKind::kCall,
          .number = number,
          .begin_ns = begin_ns,
          .end_ns = begin_ns + 10,
          .a = 1,
          .b = 2,
          .result = 3};
}

TEST(ThreadTraces, what_threads_did_arrives_at_the_home_in_its_time) {
  ThreadTraces traces;
  const std::int64_t before_ns = os::monotonic_ns();
  TraceRing* const first = traces.begin(4711);
  TraceRing* const second = traces.begin(4712);
  ASSERT_TRUE(first != nullptr && second != nullptr && first != second);
  first->add(call(1, before_ns));
  first->add(call(2, before_ns + 100));
  traces.end(*second);
  constexpr std::int64_t kOffsetNs = 1'000'000'000'000;
  const std::vector<std::byte> records = traces.records(kOffsetNs);
  const std::vector<TraceTrack> tracks = ThreadTraces::tracks(3, records);
  ASSERT_EQ(tracks.size(), 2u);
  EXPECT_EQ(tracks[0].node, 3u);
  EXPECT_EQ(tracks[0].guest_tid, 4711);
  EXPECT_EQ(tracks[0].dropped, 0u);
  ASSERT_EQ(tracks[0].events.size(), 3u);
  EXPECT_EQ(tracks[0].events[0].kind, TraceKind::kLife);
  EXPECT_GE(tracks[0].events[0].begin_ns, before_ns + kOffsetNs);
  EXPECT_EQ(tracks[0].events[2].number, 2);
  EXPECT_EQ(tracks[0].events[2].begin_ns, before_ns + 100 + kOffsetNs);
  EXPECT_EQ(tracks[0].events[2].end_ns, before_ns + 110 + kOffsetNs);
  EXPECT_EQ(tracks[1].guest_tid, 4712);
  EXPECT_EQ(tracks[1].events.size(), 1u);
}

TEST(ThreadTraces, a_thread_lives_until_it_has_ended_or_now) {
  ThreadTraces traces;
  TraceRing* const ended = traces.begin(1);
  (void)traces.begin(2);
  traces.end(*ended);
  const std::int64_t now_ns = os::monotonic_ns();
  while (os::monotonic_ns() == now_ns) continue;
  const std::vector<TraceTrack> tracks = ThreadTraces::tracks(0, traces.records(0));
  ASSERT_EQ(tracks.size(), 2u);
  EXPECT_LE(tracks[0].events[0].end_ns, now_ns);
  EXPECT_GT(tracks[1].events[0].end_ns, now_ns);
}

TEST(ThreadTraces, records_that_end_anywhere_are_read_as_far_as_they_go) {
  ThreadTraces traces;
  for (int tid = 1; tid <= 2; ++tid) traces.begin(tid)->add(call(tid, 0));
  const std::vector<std::byte> records = traces.records(0);
  std::size_t before = 0;
  for (std::size_t bytes = 0; bytes <= records.size(); ++bytes) {
    std::size_t events = 0;
    for (const TraceTrack& track : ThreadTraces::tracks(0, std::span(records).first(bytes)))
      events += track.events.size();
    EXPECT_GE(events, before);
    before = events;
  }
  EXPECT_EQ(before, 4u);
}

}  // namespace
}  // namespace gallocy::personality
