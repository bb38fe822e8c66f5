#include "personality/thread_traces.h"

#include <algorithm>
#include <cstring>

namespace gallocy::personality {
namespace {

// In the records before the events of a thread.
struct TrackHead {
  int guest_tid = 0, reserved = 0;
  std::uint64_t dropped = 0, events = 0;
};

}  // namespace

TraceRing* ThreadTraces::begin(int guest_tid) {
  const os::MutexLock lock(mu_);
  return traces_.size() == kMostThreads ? nullptr : &traces_.emplace_back(guest_tid).ring;
}

void ThreadTraces::end(const TraceRing& ring) {
  const os::MutexLock lock(mu_);
  for (Trace& trace : traces_) {
    if (&trace.ring == &ring) trace.end_ns = os::monotonic_ns();
  }
}

std::vector<std::byte> ThreadTraces::records(std::int64_t clock_offset_ns) {
  std::vector<std::byte> records;
  const auto put = [&](const auto& value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    records.insert(records.end(), bytes.begin(), bytes.end());
  };
  const os::MutexLock lock(mu_);
  const std::int64_t now_ns = os::monotonic_ns();
  for (const Trace& trace : traces_) {
    TrackHead head{.guest_tid = trace.guest_tid};
    const std::vector<TraceEvent> events = trace.ring.events(head.dropped);
    std::int64_t end_ns = trace.end_ns != 0 ? trace.end_ns : now_ns;
    if (!events.empty()) end_ns = std::max(end_ns, events.back().end_ns);
    head.events = events.size() + 1;
    put(head);
    put(TraceEvent{.kind = TraceKind::kLife,
                   .number = 0,
                   .begin_ns = trace.begin_ns + clock_offset_ns,
                   .end_ns = end_ns + clock_offset_ns,
                   .a = 0,
                   .b = 0,
                   .result = 0});
    for (TraceEvent event : events) {
      event.begin_ns += clock_offset_ns;
      event.end_ns += clock_offset_ns;
      put(event);
    }
  }
  return records;
}

std::vector<TraceTrack> ThreadTraces::tracks(std::uint16_t node, std::span<const std::byte> records) {
  std::vector<TraceTrack> tracks;
  for (TrackHead head; records.size() >= sizeof head;) {
    std::memcpy(&head, records.data(), sizeof head);
    records = records.subspan(sizeof head);
    TraceTrack track{.node = node, .guest_tid = head.guest_tid, .dropped = head.dropped};
    track.events.resize(std::min<std::uint64_t>(head.events, records.size() / sizeof(TraceEvent)));
    const std::size_t bytes = track.events.size() * sizeof(TraceEvent);
    std::memcpy(track.events.data(), records.data(), bytes);
    records = records.subspan(bytes);
    tracks.push_back(std::move(track));
  }
  return tracks;
}

}  // namespace gallocy::personality
