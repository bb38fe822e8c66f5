#include "personality/trace_text.h"

#include <fmt/format.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

#include <algorithm>
#include <limits>
#include <set>
#include <unordered_set>

#include "personality/call_table.h"

namespace gallocy::personality {
namespace {

constexpr std::size_t kPieceBytes = 1 << 20;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out;
}

std::string futex_name(std::uint64_t operation) {
  switch (operation & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
      return "futex wait";
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET:
      return "futex wake";
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
      return "futex lock";
    default:
      return "futex";
  }
}

bool makes_thread(const TraceEvent& e) {
  return e.kind == TraceKind::kCall && (e.number == SYS_clone || e.number == SYS_clone3) && e.result > 0;
}

class Writer {
 public:
  Writer(const std::vector<TraceTrack>& tracks, const std::function<std::string(std::uint64_t)>& name_of,
         const std::function<void(const std::string&)>& write)
      : tracks_(tracks), name_of_(name_of), write_(write) {
    first_ns_ = std::numeric_limits<std::int64_t>::max();
    for (const TraceTrack& track : tracks_) {
      tids_.insert(track.guest_tid);
      for (const TraceEvent& e : track.events) {
        first_ns_ = std::min(first_ns_, e.begin_ns);
        if (makes_thread(e)) made_.insert(static_cast<int>(e.result));
      }
    }
  }

  void run() {
    text_ = "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n";
    std::set<unsigned> nodes;
    for (const TraceTrack& track : tracks_) {
      if (nodes.insert(track.node).second) {
        add(fmt::format(R"("ph": "M", "pid": {0}, "name": "process_name", "args": {{"name": "node {0}"}})",
                        track.node));
      }
      std::string name = fmt::format("thread {}", track.guest_tid);
      if (track.dropped != 0) name += fmt::format(" ({} older events dropped)", track.dropped);
      add(fmt::format(R"("ph": "M", {}, "name": "thread_name", "args": {{"name": "{}", "dropped": {}}})", place(track),
                      name, track.dropped));
      for (const TraceEvent& e : track.events) event(track, e);
    }
    text_ += "\n]}\n";
    write_(text_);
  }

 private:
  static std::string place(const TraceTrack& track) {
    return fmt::format(R"("pid": {}, "tid": {})", track.node, track.guest_tid);
  }

  // Microseconds with three digits behind the point.
  static std::string us(std::int64_t ns) { return fmt::format("{}.{:03}", ns / 1000, ns % 1000); }

  void add(const std::string& fields) {
    text_ += fmt::format("{}{{{}}}", any_ ? ",\n" : "", fields);
    any_ = true;
    if (text_.size() < kPieceBytes) return;
    write_(text_);
    text_.clear();
  }

  void slice(const TraceTrack& track, const TraceEvent& e, const std::string& name, const std::string& arguments) {
    add(fmt::format(R"("ph": "X", {}, "ts": {}, "dur": {}, "name": "{}", "args": {{{}}})", place(track),
                    us(e.begin_ns - first_ns_), us(e.end_ns - e.begin_ns), name, arguments));
  }

  // An arrow from the call that made a thread to the thread's beginning.
  void flow(const TraceTrack& track, std::int64_t at_ns, std::string_view phase, std::int64_t guest_tid) {
    add(fmt::format(R"("ph": {}, {}, "ts": {}, "id": {}, "cat": "start", "name": "start")", phase, place(track),
                    us(at_ns - first_ns_), guest_tid));
  }

  std::string address(std::uint64_t at) {
    const std::string name = name_of_(at);
    return fmt::format(R"("address": "{:#x}", "at": "{}")", at, escaped(name));
  }

  void event(const TraceTrack& track, const TraceEvent& e) {
    switch (e.kind) {
      case TraceKind::kLife:
        slice(track, e, "thread", fmt::format(R"("id": {})", track.guest_tid));
        if (made_.contains(track.guest_tid)) flow(track, e.begin_ns, R"("f", "bp": "e")", track.guest_tid);
        return;
      case TraceKind::kReadFault:
        return slice(track, e, "read fault", address(e.a));
      case TraceKind::kWriteFault:
        return slice(track, e, "write fault", address(e.a));
      case TraceKind::kSignal:
        return add(fmt::format(R"("ph": "i", {}, "ts": {}, "s": "t", "name": "{}")", place(track),
                               us(e.begin_ns - first_ns_), signal_name(e.number)));
      case TraceKind::kCall:
        return call(track, e);
    }
  }

  void call(const TraceTrack& track, const TraceEvent& e) {
    const bool futex = e.number == SYS_futex;
    slice(track, e, futex ? futex_name(e.b) : call_name(e.number),
          (futex ? address(e.a) + ", " : std::string()) + fmt::format(R"("result": {})", e.result));
    if (makes_thread(e) && tids_.contains(static_cast<int>(e.result))) flow(track, e.begin_ns, R"("s")", e.result);
  }

  static std::string signal_name(int number) {
    const char* const name = ::sigabbrev_np(number);
    return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", number);
  }

  const std::vector<TraceTrack>& tracks_;
  const std::function<std::string(std::uint64_t)>& name_of_;
  const std::function<void(const std::string&)>& write_;
  std::unordered_set<int> tids_, made_;  // of all threads, and of those whose maker is seen
  std::int64_t first_ns_ = 0;
  std::string text_;
  bool any_ = false;
};

}  // namespace

void write_trace(const std::vector<TraceTrack>& tracks, const std::function<std::string(std::uint64_t)>& name_of,
                 const std::function<void(const std::string&)>& write) {
  Writer(tracks, name_of, write).run();
}

}  // namespace gallocy::personality
