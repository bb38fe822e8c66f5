#include "stat_server.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace gallocy::command {

Outcome<std::unique_ptr<StatServer>> StatServer::open(EventLoop& loop, std::string path, Source source) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof address.sun_path) {
    return fail_with(ErrorCode::kOsError, fmt::format("{} is too long for a socket's name", path));
  }
  path.copy(address.sun_path, path.size());
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener || ::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), 16) != 0) {
    return fail_with(ErrorCode::kOsError, fmt::format("cannot open {}: {}", path, std::strerror(errno)));
  }
  return std::unique_ptr<StatServer>(new StatServer(loop, std::move(path), std::move(source), std::move(listener)));
}

StatServer::StatServer(EventLoop& loop, std::string path, Source source, UniqueFd listener)
    : loop_(loop), path_(std::move(path)), source_(std::move(source)), listener_(std::move(listener)) {
  loop_.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_one(); });
}

StatServer::~StatServer() {
  while (!clients_.empty()) drop(clients_.begin()->first);
  loop_.cancel(timer_);
  loop_.forget(listener_.get());
  ::unlink(path_.c_str());
}

void StatServer::accept_one() {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd || clients_.size() >= kMaxClients) return;
  const int number = fd.get();
  clients_[number].fd = std::move(fd);
  if (awaited_ > 0) return;  // the answers on their way are fresh enough
  awaited_ = source_.ask();
  if (awaited_ == 0) return reply();
  timer_ = loop_.after(kPatience, [this] { reply(); });
}

void StatServer::answered() {
  if (awaited_ > 0 && --awaited_ == 0) {
    loop_.cancel(timer_);
    reply();
  }
}

void StatServer::reply() {
  awaited_ = 0;
  const auto text = source_.record();
  std::vector<int> waiting;
  for (auto& [fd, client] : clients_) {
    if (!client.text.empty()) continue;  // it is being answered already
    client.text = text;
    waiting.push_back(fd);
  }
  for (const int fd : waiting) {
    loop_.watch(fd, EPOLLOUT, [this, fd](std::uint32_t) { send(fd); });
    send(fd);
  }
}

void StatServer::send(int fd) {
  const auto found = clients_.find(fd);
  if (found == clients_.end()) return;
  auto& text = found->second.text;
  const auto sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (sent >= 0 && static_cast<std::size_t>(sent) < text.size()) {
    text.erase(0, static_cast<std::size_t>(sent));
    return;
  }
  drop(fd);
}

void StatServer::drop(int fd) {
  loop_.forget(fd);
  clients_.erase(fd);
}

}  // namespace gallocy::command
