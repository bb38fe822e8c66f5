#include "personality/trace_ring.h"

#include <gtest/gtest.h>

#include "personality/trace_text.h"

namespace gallocy::personality {
namespace {

TraceEvent event(TraceKind kind, std::int64_t begin_ns, std::uint64_t a = 0) {
  return {.kind = kind, .number = 0, .begin_ns = begin_ns, .end_ns = begin_ns + 1, .a = a, .b = 0, .result = 0};
}

TEST(TraceRing, keeps_the_last_and_counts_the_dropped) {
  TraceRing ring;
  std::uint64_t dropped = 1;
  EXPECT_TRUE(ring.events(dropped).empty());
  EXPECT_EQ(dropped, 0u);
  const auto most = static_cast<std::int64_t>(TraceRing::kMostEvents);
  for (std::int64_t i = 0; i < most + 10; ++i) ring.add(event(TraceKind::kReadFault, i));
  const auto events = ring.events(dropped);
  EXPECT_EQ(dropped, 10u);
  ASSERT_EQ(events.size(), TraceRing::kMostEvents);
  EXPECT_EQ(events.front().begin_ns, 10);
  EXPECT_EQ(events.back().begin_ns, most + 9);
}

TEST(TraceText, says_what_was_dropped_and_escapes_names) {
  std::string text;
  write_trace(
      {{.node = 1, .guest_tid = 7, .dropped = 3, .events = {event(TraceKind::kWriteFault, 1'500, 0x10)}}},
      [](std::uint64_t) { return "operator\"\"_x"; }, [&](const std::string& piece) { text += piece; });
  EXPECT_NE(text.find(R"-("args": {"name": "thread 7 (3 older events dropped)", "dropped": 3})-"), std::string::npos)
      << text;
  EXPECT_NE(text.find(R"("pid": 1, "tid": 7, "ts": 0.000, "dur": 0.001, "name": "write fault")"), std::string::npos)
      << text;
  EXPECT_NE(text.find(R"("address": "0x10", "at": "operator\"\"_x")"), std::string::npos) << text;
}

}  // namespace
}  // namespace gallocy::personality
