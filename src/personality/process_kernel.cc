// Passing calls on to the kernel. It never gets a pointer to the program's memory: its pages may be on other nodes, and
// not every user may have the kernel wait for a page. What a call reads or writes is copied (call_table.h says what
// that is).
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

// A request for more than this is answered by less, as the kernel may.
constexpr std::size_t kMostBytes = 64 << 20;

}  // namespace

long Process::kernel(GuestThread* thread, const CallSpec& spec, const Call& call) {
  const long* const a = call.arguments;
  if (spec.blocks && thread != nullptr) {
    return interruptible_system_call(*thread, call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
  }
  return raw_system_call(call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

long Process::pass_on(GuestThread* thread, const Call& original, const CallSpec& spec) {
  const bool remote = !is_home() && spec.place == CallPlace::kHome;
  Call call = original;
  std::array<std::vector<std::byte>, 4> buffers;
  std::array<std::string, 4> strings;
  for (std::size_t i = 0; i < spec.pointers.size(); ++i) {
    const PointerArgument& p = spec.pointers[i];
    if (p.direction == Direction::kNone) break;
    const std::uint64_t address = argument(original, p.argument);
    if (address == 0) continue;
    if (p.direction == Direction::kString) {
      auto path = copy_string(address);
      if (!path) return -EFAULT;
      if (remote) {
        if (path->size() >= PATH_MAX) return -ENAMETOOLONG;
        const auto bytes = std::as_bytes(std::span(*path));
        buffers[i].assign(bytes.begin(), bytes.end());
        continue;
      }
      strings[i] = file_to_use(std::move(*path));
      if (strings[i].empty() && copy_string(address)->size() != 0) return -ENOENT;
      call.arguments[p.argument] = reinterpret_cast<long>(strings[i].c_str());
      continue;
    }
    std::size_t bytes = p.bytes;
    if (p.count_argument >= 0) {
      const std::uint64_t count = std::min<std::uint64_t>(argument(original, p.count_argument), kMostBytes / p.bytes);
      call.arguments[p.count_argument] = static_cast<long>(count);
      bytes *= count;
    }
    buffers[i].resize(std::max<std::size_t>(bytes, 1));
    const bool goes_in = p.direction == Direction::kIn || p.direction == Direction::kInOut;
    if (goes_in && !copy_in(buffers[i].data(), address, bytes)) return -EFAULT;
    call.arguments[p.argument] = reinterpret_cast<long>(buffers[i].data());
  }
  const long result = remote ? with_pipe_signal(*thread, call, send_with_data(*thread, original, call, spec, buffers))
                             : kernel(thread, spec, call);
  for (std::size_t i = 0; i < spec.pointers.size(); ++i) {
    const PointerArgument& p = spec.pointers[i];
    if (p.direction != Direction::kOut && p.direction != Direction::kInOut) continue;
    const std::uint64_t address = argument(original, p.argument);
    const bool interrupted_sleep = result == -EINTR && spec.place == CallPlace::kHere;
    if (address == 0 || (result < 0 && !interrupted_sleep)) continue;
    std::size_t bytes = bytes_of(p, call);
    if (p.result_counts) bytes = std::min(bytes, static_cast<std::size_t>(result) * p.bytes);
    if (bytes != 0 && !copy_out(address, buffers[i].data(), bytes)) return -EFAULT;
  }
  return result;
}

bool Process::is_vector_call(long number) {
  return number == SYS_readv || number == SYS_writev || number == SYS_preadv || number == SYS_pwritev;
}

// As one call on one buffer. Of a thread of another node, that call is what travels.
long Process::vectors(GuestThread* thread, const Call& call) {
  const std::uint64_t count = argument(call, 2);
  if (count > IOV_MAX) return -EINVAL;
  std::vector<iovec> parts(count);
  if (!copy_in(parts.data(), argument(call, 1), count * sizeof(iovec))) return -EFAULT;
  std::size_t bytes = 0;
  for (iovec& part : parts)
    bytes += part.iov_len = std::min<std::size_t>(part.iov_len, kMostBytes - std::min(bytes, kMostBytes));
  if (!is_home() && bytes > kMostTravelling) return send_home(*thread, call);
  std::vector<std::byte> buffer(std::max<std::size_t>(bytes, 1));
  const bool reads = call.number == SYS_readv || call.number == SYS_preadv;
  const bool at_offset = call.number == SYS_preadv || call.number == SYS_pwritev;
  std::size_t at = 0;
  for (const iovec& part : parts) {
    if (!reads && !copy_in(buffer.data() + at, reinterpret_cast<std::uint64_t>(part.iov_base), part.iov_len))
      return -EFAULT;
    at += part.iov_len;
  }
  const long number = reads ? (at_offset ? SYS_pread64 : SYS_read) : (at_offset ? SYS_pwrite64 : SYS_write);
  Call plain{.number = number,
             .arguments = {call.arguments[0], reinterpret_cast<long>(buffer.data()), static_cast<long>(bytes),
                           at_offset ? call.arguments[3] : 0}};
  const long result = is_home() ? kernel(thread, {.blocks = true}, plain) : serve_plain(*thread, plain);
  std::size_t left = reads && result > 0 ? static_cast<std::size_t>(result) : 0;
  at = 0;
  for (const iovec& part : parts) {
    const std::size_t length = std::min(left, part.iov_len);
    if (length != 0 && !copy_out(reinterpret_cast<std::uint64_t>(part.iov_base), buffer.data() + at, length))
      return -EFAULT;
    at += part.iov_len;
    left -= length;
  }
  return result;
}

long Process::messages(GuestThread* thread, const Call& call) {
  msghdr guest;
  if (!copy_in(&guest, argument(call, 1), sizeof guest)) return -EFAULT;
  if (guest.msg_iovlen > IOV_MAX) return -EMSGSIZE;
  std::vector<iovec> parts(guest.msg_iovlen);
  if (!copy_in(parts.data(), reinterpret_cast<std::uint64_t>(guest.msg_iov), parts.size() * sizeof(iovec)))
    return -EFAULT;
  std::size_t bytes = 0;
  for (iovec& part : parts)
    bytes += part.iov_len = std::min<std::size_t>(part.iov_len, kMostBytes - std::min(bytes, kMostBytes));
  const bool sends = call.number == SYS_sendmsg;
  std::vector<std::byte> buffer(std::max<std::size_t>(bytes, 1));
  std::vector<std::byte> name(std::min<std::size_t>(guest.msg_namelen, 256)),
      control(std::min<std::size_t>(guest.msg_controllen, 64 << 10));
  if (guest.msg_name == nullptr) name.clear();
  if (guest.msg_control == nullptr) control.clear();
  if (sends) {
    std::size_t at = 0;
    for (const iovec& part : parts) {
      if (!copy_in(buffer.data() + at, reinterpret_cast<std::uint64_t>(part.iov_base), part.iov_len)) return -EFAULT;
      at += part.iov_len;
    }
    if (!copy_in(name.data(), reinterpret_cast<std::uint64_t>(guest.msg_name), name.size()) ||
        !copy_in(control.data(), reinterpret_cast<std::uint64_t>(guest.msg_control), control.size()))
      return -EFAULT;
  }
  iovec whole{buffer.data(), bytes};
  msghdr own{};
  own.msg_name = name.empty() ? nullptr : name.data();
  own.msg_namelen = static_cast<socklen_t>(name.size());
  own.msg_iov = &whole;
  own.msg_iovlen = 1;
  own.msg_control = control.empty() ? nullptr : control.data();
  own.msg_controllen = control.size();
  own.msg_flags = guest.msg_flags;
  const Call plain{.number = call.number,
                   .arguments = {call.arguments[0], reinterpret_cast<long>(&own), call.arguments[2]}};
  const long result = kernel(thread, {.blocks = true}, plain);
  if (sends || result < 0) return result;
  std::size_t left = std::min<std::size_t>(static_cast<std::size_t>(result), bytes), at = 0;
  for (const iovec& part : parts) {
    const std::size_t length = std::min(left, part.iov_len);
    if (length != 0 && !copy_out(reinterpret_cast<std::uint64_t>(part.iov_base), buffer.data() + at, length))
      return -EFAULT;
    at += length;
    left -= length;
  }
  if (!copy_out(reinterpret_cast<std::uint64_t>(guest.msg_name), name.data(),
                std::min<std::size_t>(name.size(), own.msg_namelen)) ||
      !copy_out(reinterpret_cast<std::uint64_t>(guest.msg_control), control.data(),
                std::min(control.size(), own.msg_controllen)))
    return -EFAULT;
  guest.msg_namelen = own.msg_namelen;
  guest.msg_controllen = own.msg_controllen;
  guest.msg_flags = own.msg_flags;
  return store(argument(call, 1), guest) ? result : -EFAULT;
}

// Calls that return bytes whose room and length are in a word of their own.
long Process::socket_address(GuestThread* thread, const Call& original) {
  Call call = original;
  const bool receives = call.number == SYS_recvfrom;
  const int value = call.number == SYS_getsockopt ? 3 : receives ? 4 : 1;
  const std::uint64_t value_at = argument(original, value), length_at = argument(original, value + 1);
  socklen_t length = 0;
  std::vector<std::byte> address, bytes;
  if (value_at != 0) {
    if (!copy_in(&length, length_at, sizeof length)) return -EFAULT;
    address.resize(std::clamp<std::size_t>(length, 1, 64 << 10));
    length = std::min<socklen_t>(length, 64 << 10);
    call.arguments[value] = reinterpret_cast<long>(address.data());
    call.arguments[value + 1] = reinterpret_cast<long>(&length);
  }
  const std::size_t room = address.empty() ? 0 : length;
  if (receives) {
    bytes.resize(std::clamp<std::size_t>(argument(original, 2), 1, kMostBytes));
    call.arguments[1] = reinterpret_cast<long>(bytes.data());
    call.arguments[2] = static_cast<long>(std::min<std::size_t>(argument(original, 2), kMostBytes));
  }
  const bool blocks = receives || call.number == SYS_accept || call.number == SYS_accept4;
  const long result = kernel(thread, {.blocks = blocks}, call);
  if (result < 0) return result;
  if (receives && !copy_out(argument(original, 1), bytes.data(),
                            std::min<std::size_t>(bytes.size(), static_cast<std::size_t>(result))))
    return -EFAULT;
  if (value_at == 0) return result;
  const bool stored =
      copy_out(value_at, address.data(), std::min<std::size_t>(room, length)) && store(length_at, length);
  return stored ? result : -EFAULT;
}

// The sizes of most requests are not known; what the kernel changed comes back.
long Process::device_control(GuestThread* thread, const Call& original) {
  const std::uint64_t at = argument(original, 2);
  if (!in_guest(at)) return kernel(thread, {}, original);
  std::byte before[256], after[256];
  std::size_t length = std::min<std::size_t>(sizeof before, kPageBytes - at % kPageBytes);
  if (!copy_in(before, at, length)) return -EFAULT;
  std::memcpy(after, before, length);
  Call call = original;
  call.arguments[2] = reinterpret_cast<long>(after);
  const long result = kernel(thread, {}, call);
  while (length > 0 && before[length - 1] == after[length - 1]) --length;
  return length == 0 || copy_out(at, after, length) ? result : -EFAULT;
}

long Process::descriptor_control(GuestThread* thread, const Call& call) {
  switch (call.arguments[1]) {
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      return pass_on(thread, call,
                     {.blocks = true,
                      .pointers = {PointerArgument{
                          .direction = Direction::kInOut, .argument = 2, .bytes = sizeof(struct flock)}}});
    default:
      return pass_on(thread, call, {});
  }
}

long Process::select_with_mask(GuestThread* thread, const Call& call) {
  struct Mask {
    std::uint64_t at, bytes;
  } given{};
  std::uint64_t mask = 0;
  if (argument(call, 5) != 0 && !copy_in(&given, argument(call, 5), sizeof given)) return -EFAULT;
  if (given.at != 0 && !copy_in(&mask, given.at, sizeof mask)) return -EFAULT;
  Call own = call;
  Mask passed{reinterpret_cast<std::uint64_t>(&mask), 8};
  own.arguments[5] = given.at != 0 ? reinterpret_cast<long>(&passed) : 0;
  const auto set = [](std::uint8_t i) {
    return PointerArgument{.direction = Direction::kInOut, .argument = i, .bytes = 128};
  };
  return pass_on(thread, own,
                 {.blocks = true,
                  .pointers = {set(1), set(2), set(3),
                               PointerArgument{.direction = Direction::kInOut, .argument = 4, .bytes = 16}}});
}

long Process::many_messages(GuestThread* thread, const Call& call) {
  const std::uint64_t count = std::min<std::uint64_t>(argument(call, 2), IOV_MAX);
  const bool sends = call.number == SYS_sendmmsg;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = argument(call, 1) + i * sizeof(mmsghdr);
    const long flags = call.arguments[3] | (i > 0 && !sends ? MSG_DONTWAIT : 0);
    const Call one{.number = sends ? SYS_sendmsg : SYS_recvmsg,
                   .arguments = {call.arguments[0], static_cast<long>(at), flags & ~long{MSG_WAITFORONE}}};
    const long result = messages(thread, one);
    if (result < 0) return i > 0 ? static_cast<long>(i) : result;
    if (!store(at + offsetof(mmsghdr, msg_len), static_cast<unsigned>(result))) return -EFAULT;
  }
  return static_cast<long>(count);
}

}  // namespace gallocy::personality
