// Calls of threads of other nodes that take the memory along which they read and write.
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "personality/process.h"

namespace gallocy::personality {
namespace {

// What goes along in a message; frames have a limit (wire/frame.h).
constexpr std::size_t kMostTravelling = 8 << 10;

}  // namespace

// The signal of a broken pipe goes to the thread that wrote, not to its proxy.
long Process::with_pipe_signal(GuestThread& thread, const Call& call, long result) {
  if (result != -EPIPE) return result;
  if (call.number == SYS_sendto && (call.arguments[3] & MSG_NOSIGNAL) != 0) return result;
  if (call.number == SYS_sendmsg && (call.arguments[2] & MSG_NOSIGNAL) != 0) return result;
  PendingSignal signal{.number = SIGPIPE};
  signal.info.si_signo = SIGPIPE;
  queue(thread, signal);
  return result;
}

// Calls whose first argument is a descriptor.
bool Process::names_descriptor(long number) {
  switch (number) {
    case SYS_read:
    case SYS_write:
    case SYS_close:
    case SYS_fstat:
    case SYS_lseek:
    case SYS_ioctl:
    case SYS_pread64:
    case SYS_pwrite64:
    case SYS_readv:
    case SYS_writev:
    case SYS_dup:
    case SYS_dup2:
    case SYS_dup3:
    case SYS_fcntl:
    case SYS_ftruncate:
    case SYS_sendto:
    case SYS_recvfrom:
    case SYS_sendmsg:
    case SYS_recvmsg:
    case SYS_shutdown:
      return true;
    default:
      return false;
  }
}

// Calls that need nothing of the home but the kernel, and not much memory: it goes along, instead of being fetched page
// by page.
bool Process::travels_with_data(const Call& call) {
  switch (call.number) {
    case SYS_read:
    case SYS_write:
    case SYS_pread64:
    case SYS_pwrite64:
      return argument(call, 2) <= kMostTravelling;
    case SYS_poll:
      return argument(call, 1) <= kMostTravelling / sizeof(std::uint64_t);
    case SYS_sendto:
      return argument(call, 2) + argument(call, 5) <= kMostTravelling;
    case SYS_epoll_wait:
      return argument(call, 2) <= kMostTravelling / 12;
    case SYS_lseek:
    case SYS_fstat:
    case SYS_close:
    case SYS_fsync:
    case SYS_getppid:
    case SYS_getuid:
    case SYS_geteuid:
    case SYS_getgid:
    case SYS_getegid:
    case SYS_epoll_ctl:
    case SYS_eventfd2:
    case SYS_getrusage:
      return true;
    default:
      return false;
  }
}

// Of those, the ones that the kernel answers at once: no other thread is woken for them.
bool Process::is_done_at_once(long number) {
  switch (number) {
    case SYS_lseek:
    case SYS_getppid:
    case SYS_getuid:
    case SYS_geteuid:
    case SYS_getgid:
    case SYS_getegid:
    case SYS_epoll_ctl:
    case SYS_eventfd2:
    case SYS_getrusage:
      return true;
    default:
      return false;
  }
}

// The memory in the order of the pointers, each with its length; only what goes in has bytes.
long Process::send_with_data(GuestThread& thread, const Call& original, const Call& call, const CallSpec& spec,
                             std::array<std::vector<std::byte>, 4>& buffers) {
  wire::GuestRequest request = request_for(wire::GuestRequestKind::kDataCall, thread, call);
  std::vector<std::byte> data;
  for (std::size_t i = 0; i < spec.pointers.size(); ++i) {
    const PointerArgument& p = spec.pointers[i];
    if (p.direction == Direction::kNone || argument(original, p.argument) == 0) continue;
    const auto length = static_cast<std::uint32_t>(buffers[i].size());
    const auto* const bytes = reinterpret_cast<const std::byte*>(&length);
    data.insert(data.end(), bytes, bytes + sizeof length);
    if (p.direction != Direction::kOut) data.insert(data.end(), buffers[i].begin(), buffers[i].end());
  }
  std::vector<std::byte> answer;
  const long result = ask_home(thread, request, data, &answer);
  // Back come those that go out, whole, one behind the other.
  std::size_t at = 0;
  for (std::size_t i = 0; i < spec.pointers.size(); ++i) {
    const PointerArgument& p = spec.pointers[i];
    if ((p.direction != Direction::kOut && p.direction != Direction::kInOut) || argument(original, p.argument) == 0)
      continue;
    const std::size_t length = std::min(buffers[i].size(), answer.size() - std::min(at, answer.size()));
    if (length != 0) std::memcpy(buffers[i].data(), answer.data() + at, length);
    at += length;
  }
  return result;
}

// At the home, on a proxy; for calls that are done at once, on the poller (no thread).
long Process::serve_with_data(GuestThread* thread, const Call& original, std::span<const std::byte> data,
                              std::vector<std::byte>& answer) {
  const CallSpec* const spec = call_spec(original.number);
  if (spec == nullptr || !travels_with_data(original)) return -ENOSYS;
  if (names_runtime_descriptor(original)) return -EBADF;
  Call call = original;
  std::array<std::vector<std::byte>, 4> buffers;
  for (std::size_t i = 0; i < spec->pointers.size(); ++i) {
    const PointerArgument& p = spec->pointers[i];
    if (p.direction == Direction::kNone || argument(original, p.argument) == 0) continue;
    std::uint32_t length = 0;
    if (data.size() < sizeof length) return -EIO;
    std::memcpy(&length, data.data(), sizeof length);
    data = data.subspan(sizeof length);
    const bool goes_in = p.direction != Direction::kOut;
    if (length > 2 * kMostTravelling || (goes_in && data.size() < length)) return -EIO;
    buffers[i].resize(std::max<std::size_t>(length, 1));
    if (goes_in) {
      std::memcpy(buffers[i].data(), data.data(), length);
      data = data.subspan(length);
    }
    call.arguments[p.argument] = reinterpret_cast<long>(buffers[i].data());
  }
  const long result = kernel(thread, *spec, call);
  for (std::size_t i = 0; i < spec->pointers.size() && result >= 0; ++i) {
    const PointerArgument& p = spec->pointers[i];
    if (p.direction != Direction::kOut && p.direction != Direction::kInOut) continue;
    answer.insert(answer.end(), buffers[i].begin(), buffers[i].end());
  }
  return result;
}

}  // namespace gallocy::personality
