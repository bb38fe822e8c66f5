// A control connection whose other end may vanish without a word: probed while idle, given up after about 4 s.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace gallocy::net {

inline void keep_alive(int fd) {
  const auto set = [fd](int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 1);          // seconds
  set(IPPROTO_TCP, TCP_KEEPINTVL, 1);         // seconds
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);           // probes
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 4'000);  // ms that sent data may stay unacknowledged
}

}  // namespace gallocy::net
