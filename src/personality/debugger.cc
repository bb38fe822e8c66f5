#include "personality/debugger.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "base/ids.h"
#include "os/os_error.h"
#include "personality/guest_entry.h"
#include "personality/guest_memory.h"

namespace gallocy::personality {
namespace {

constexpr std::size_t kPieceBytes = 32 << 10;
constexpr unsigned long kMostFetched = 1 << 30;

bool fetch(unsigned long address, unsigned long bytes) {
  bool there = bytes <= kMostFetched;
  for (unsigned long at = address; there && at < address + bytes; at = (at | (kPageBytes - 1)) + 1) {
    char byte = 0;
    there = copy_in(&byte, at, 1);
  }
  return there;
}

std::string answer(const char* request, const std::function<std::string()>& maps) {
  unsigned long first = 0, second = 0;
  if (std::sscanf(request, "maps %lu", &first) == 1) {
    const std::string text = maps();
    return first < text.size() ? text.substr(first, kPieceBytes) : std::string();
  }
  if (std::sscanf(request, "fetch %lu %lu", &first, &second) == 2) return fetch(first, second) ? "yes" : "no";
  return "?";
}

bool is_own_user(const msghdr& message) {
  const cmsghdr* const control = CMSG_FIRSTHDR(&message);
  if (control == nullptr || control->cmsg_type != SCM_CREDENTIALS) return false;
  ucred sender{};
  std::memcpy(&sender, CMSG_DATA(control), sizeof sender);
  return sender.uid == ::geteuid() || sender.uid == 0;
}

[[noreturn]] void serve(int socket, const std::function<std::string()>& maps) {
  for (;;) {
    char request[128] = {};
    sockaddr_un sender{};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
    iovec part{request, sizeof request - 1};
    msghdr message{};
    message.msg_name = &sender;
    message.msg_namelen = sizeof sender;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) < 0 || !is_own_user(message)) continue;
    const std::string text = answer(request, maps);
    (void)::sendto(socket, text.data(), text.size(), MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&sender),
                   message.msg_namelen);
  }
}

}  // namespace

Result<int> serve_debugger(int lowest, std::function<std::string()> maps) {
  const int low = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int made = low < 0 ? -1 : ::fcntl(low, F_DUPFD_CLOEXEC, lowest);
  if (low >= 0) ::close(low);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string name = fmt::format("gallocy-debug-{}", ::getpid());
  name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
  const int on = 1;
  if (made < 0 || ::setsockopt(made, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      ::bind(made, reinterpret_cast<const sockaddr*>(&address),
             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())) != 0) {
    return os::os_failure(errno, "no socket for a debugger");
  }
  start_runtime_thread([made, maps = std::move(maps)] { serve(made, maps); });
  return made;
}

}  // namespace gallocy::personality
