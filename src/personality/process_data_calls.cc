// Calls of threads of other nodes that take the memory along which they read and write.
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "personality/process.h"

namespace gallocy::personality {
namespace {

bool comes_back(const PointerArgument& p) { return p.direction == Direction::kOut || p.direction == Direction::kInOut; }

void append_length(std::vector<std::byte>& data, std::size_t bytes) {
  const auto length = static_cast<std::uint32_t>(bytes);
  const auto* const begin = reinterpret_cast<const std::byte*>(&length);
  data.insert(data.end(), begin, begin + sizeof length);
}

std::optional<std::uint32_t> take_length(std::span<const std::byte>& data) {
  std::uint32_t length = 0;
  if (data.size() < sizeof length) return std::nullopt;
  std::memcpy(&length, data.data(), sizeof length);
  data = data.subspan(sizeof length);
  return length;
}

// A length, and so many bytes.
std::optional<std::span<const std::byte>> take_counted(std::span<const std::byte>& data) {
  const auto length = take_length(data);
  if (!length || *length > data.size()) return std::nullopt;
  const auto bytes = data.first(*length);
  data = data.subspan(*length);
  return bytes;
}

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

std::size_t Process::bytes_of(const PointerArgument& p, const Call& call) {
  constexpr std::size_t kMostCounted = std::size_t{1} << 31;
  if (p.count_argument < 0) return p.bytes;
  return std::min<std::uint64_t>(argument(call, p.count_argument), kMostCounted / p.bytes) * p.bytes;
}

// Calls whose memory the table describes, and is not too much.
bool Process::travels_with_data(const Call& call, const CallSpec& spec) {
  std::size_t bytes = 0;
  for (const PointerArgument& p : spec.pointers) {
    if (p.direction != Direction::kNone && p.direction != Direction::kString) bytes += bytes_of(p, call);
  }
  return spec.place == CallPlace::kHome && bytes <= kMostTravelling;
}

// The memory in the order of the pointers, each with its length; only what goes in has bytes.
long Process::send_with_data(GuestThread& thread, const Call& original, const Call& call, const CallSpec& spec,
                             std::array<std::vector<std::byte>, 4>& buffers) {
  wire::GuestRequest request = request_for(wire::GuestRequestKind::kDataCall, thread, call);
  std::vector<std::byte> data;
  for (std::size_t i = 0; i < spec.pointers.size(); ++i) {
    const PointerArgument& p = spec.pointers[i];
    if (p.direction == Direction::kNone || argument(original, p.argument) == 0) continue;
    append_length(data, buffers[i].size());
    if (p.direction != Direction::kOut) data.insert(data.end(), buffers[i].begin(), buffers[i].end());
  }
  std::vector<std::byte> answer;
  const long result = ask_home(thread, request, data, &answer);
  std::span<const std::byte> left = answer;
  for (std::size_t i = 0; i < spec.pointers.size(); ++i) {
    const PointerArgument& p = spec.pointers[i];
    if (!comes_back(p) || argument(original, p.argument) == 0) continue;
    const auto bytes = take_counted(left);
    if (bytes && !bytes->empty())
      std::memcpy(buffers[i].data(), bytes->data(), std::min(bytes->size(), buffers[i].size()));
  }
  return result;
}

// At the home, on a proxy. The call is made as one of the home's, on a copy of the memory.
long Process::serve_with_data(GuestThread& thread, const Call& original, std::span<const std::byte> data,
                              std::vector<std::byte>& answer) {
  const CallSpec* const spec = call_spec(original.number);
  if (spec == nullptr || !travels_with_data(original, *spec)) return -ENOSYS;
  Call call = original;
  std::array<std::vector<std::byte>, 4> buffers;
  for (std::size_t i = 0; i < spec->pointers.size(); ++i) {
    const PointerArgument& p = spec->pointers[i];
    if (p.direction == Direction::kNone || argument(original, p.argument) == 0) continue;
    if (p.direction == Direction::kOut) {
      const auto length = take_length(data);
      if (!length || *length > kMostTravelling) return -EIO;
      buffers[i].resize(std::max<std::size_t>(*length, 1));
    } else {
      const auto bytes = take_counted(data);
      if (!bytes) return -EIO;
      buffers[i].assign(bytes->begin(), bytes->end());
      buffers[i].push_back(std::byte{0});  // a string's end, and never nothing
    }
    call.arguments[p.argument] = reinterpret_cast<long>(buffers[i].data());
  }
  const long result = serve_at_home(&thread, call);
  for (std::size_t i = 0; i < spec->pointers.size() && result >= 0; ++i) {
    const PointerArgument& p = spec->pointers[i];
    if (!comes_back(p) || argument(original, p.argument) == 0) continue;
    std::size_t bytes = std::min(bytes_of(p, original), buffers[i].size());
    if (p.result_counts) bytes = std::min(bytes, static_cast<std::size_t>(result) * p.bytes);
    append_length(answer, bytes);
    answer.insert(answer.end(), buffers[i].begin(), buffers[i].begin() + static_cast<std::ptrdiff_t>(bytes));
  }
  return result;
}

}  // namespace gallocy::personality
