// `gallocy run --trace FILE`: what each thread did when, in one file for all nodes.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "os/clock.h"
#include "os/os_error.h"
#include "personality/process.h"
#include "personality/trace_text.h"

namespace gallocy::personality {

// At the beginning, so that a file that cannot be written is no surprise at the end.
Result<> Process::open_trace() {
  if (options_.trace_file.empty()) return {};
  const int fd = ::open(options_.trace_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    return fail(ErrorCode::kNotPermitted,
                fmt::format("cannot write {}: {}", options_.trace_file, os::os_error_text(errno)));
  }
  trace_fd_ = descriptors_.raise(fd);
  return {};
}

void Process::trace_call(GuestThread& thread, const Call& call, long result, std::int64_t begin_ns) const {
  if (thread.trace != nullptr) {
    thread.trace->add({.kind = TraceKind::kCall,
                       .number = static_cast<std::int32_t>(call.number),
                       .begin_ns = begin_ns,
                       .end_ns = os::monotonic_ns(),
                       .a = argument(call, 0),
                       .b = argument(call, 1),
                       .result = result});
  }
  if (!options_.trace_calls) return;
  const std::string line =
      fmt::format("[{}] {}({}) ({:#x}, {:#x}, {:#x}, {:#x}) = {:#x}\n", thread.guest_tid, call_name(call.number),
                  call.number, call.arguments[0], call.arguments[1], call.arguments[2], call.arguments[3], result);
  raw_system_call(SYS_write, 2, reinterpret_cast<long>(line.data()), static_cast<long>(line.size()));
}

// The fault engine's handler, and how long it took (for HelperWatch, and the trace). In a thread of the runtime
// `thread` is null.
void Process::serve_fault(const struct sigaction& engine, GuestThread* thread, int number, siginfo_t& info,
                          ucontext_t& context, bool write) {
  if (thread == nullptr) return engine.sa_sigaction(number, &info, &context);
  const std::int64_t begin_ns = os::monotonic_ns();
  const auto address = reinterpret_cast<std::uint64_t>(info.si_addr);
  engine.sa_sigaction(number, &info, &context);
  const std::int64_t end_ns = os::monotonic_ns();
  thread->fault_ns.fetch_add(end_ns - begin_ns, std::memory_order_relaxed);
  if (thread->trace == nullptr) return;
  thread->trace->add({.kind = write ? TraceKind::kWriteFault : TraceKind::kReadFault,
                      .number = 0,
                      .begin_ns = begin_ns,
                      .end_ns = end_ns,
                      .a = address,
                      .b = 0,
                      .result = 0});
}

// At the home, when the program has ended.
void Process::finish_trace() {
  if (trace_fd_ < 0) return;
  std::vector<TraceTrack> tracks;
  for (std::uint16_t n = 0; n < nodes_; ++n) {
    std::ranges::move(ThreadTraces::tracks(n, records_of(NodeId{n}, Records::kTrace)), std::back_inserter(tracks));
  }
  const ObjectMap objects = object_map({});
  bool failed = false;
  write_trace(
      tracks, [&](std::uint64_t address) { return objects.name(address); },
      [&](std::string_view text) {
        while (!text.empty() && !failed) {
          const ssize_t written = ::write(trace_fd_, text.data(), text.size());
          failed = written < 0 && errno != EINTR;
          if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
        }
      });
  if (!failed) return;
  const std::string line = fmt::format("gallocy: the trace is not complete: {}\n", os::os_error_text(errno));
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace gallocy::personality
