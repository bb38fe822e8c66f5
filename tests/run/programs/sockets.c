// TCP and UDP on loopback between threads: accept, connect, echo, shutdown, getpeername, options, sendmsg, MSG_PEEK,
// timeouts.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "check.h"

static struct sockaddr_in address;

static void* serve(void* argument) {
  const int fd = (int)(long)argument;
  char block[4096];
  for (ssize_t bytes; (bytes = recv(fd, block, sizeof block, 0)) > 0;) {
    for (ssize_t i = 0; i < bytes; ++i) block[i] = (char)(block[i] + 1);
    for (ssize_t sent = 0; sent < bytes;) {
      const ssize_t now = send(fd, block + sent, (size_t)(bytes - sent), MSG_NOSIGNAL);
      CHECK(now > 0);
      sent += now;
    }
  }
  CHECK(close(fd) == 0);
  return NULL;
}

static void* accept_all(void* argument) {
  const int listener = (int)(long)argument;
  pthread_t threads[kThreads];
  for (int i = 0; i < kThreads; ++i) {
    struct sockaddr_in peer;
    socklen_t bytes = sizeof peer;
    const int fd = accept4(listener, (struct sockaddr*)&peer, &bytes, SOCK_CLOEXEC);
    CHECK(fd >= 0 && bytes == sizeof peer && peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    threads[i] = start(serve, (void*)(long)fd);
  }
  join_all(threads);
  return NULL;
}

static void* ask(void* argument) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  CHECK(connect(fd, (struct sockaddr*)&address, sizeof address) == 0);
  CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
  struct sockaddr_in peer;
  socklen_t bytes = sizeof peer;
  CHECK(getpeername(fd, (struct sockaddr*)&peer, &bytes) == 0 && peer.sin_port == address.sin_port);
  char question[5000], answer[5000];
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 5000; ++i) question[i] = (char)((i + round + (long)argument) % 100);
    struct iovec parts[2] = {{question, 2000}, {question + 2000, 3000}};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    CHECK(sendmsg(fd, &message, 0) == 5000);
    CHECK(recv(fd, answer, 1, MSG_PEEK) == 1 && answer[0] == question[0] + 1);
    CHECK(recv(fd, answer, 5000, MSG_WAITALL) == 5000);
    for (int i = 0; i < 5000; ++i) CHECK(answer[i] == question[i] + 1);
  }
  CHECK(shutdown(fd, SHUT_WR) == 0 && recv(fd, answer, 1, 0) == 0 && close(fd) == 0);
  return NULL;
}

static void* datagrams(void* argument) {
  (void)argument;
  const int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
  socklen_t bytes = sizeof to;
  CHECK(bind(a, (struct sockaddr*)&to, sizeof to) == 0 && getsockname(a, (struct sockaddr*)&to, &bytes) == 0);
  CHECK(sendto(b, "datagram", 8, 0, (struct sockaddr*)&to, sizeof to) == 8);
  char text[20];
  bytes = sizeof from;
  CHECK(recvfrom(a, text, sizeof text, 0, (struct sockaddr*)&from, &bytes) == 8 && memcmp(text, "datagram", 8) == 0);
  CHECK(from.sin_family == AF_INET && bytes == sizeof from);
  const struct timeval limit = {0, 10000};
  CHECK(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  CHECK(recv(a, text, sizeof text, 0) == -1 && errno == EAGAIN);
  close(a), close(b);
  return NULL;
}

int main(void) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t bytes = sizeof address;
  CHECK(bind(listener, (struct sockaddr*)&address, sizeof address) == 0 && listen(listener, 20) == 0);
  CHECK(getsockname(listener, (struct sockaddr*)&address, &bytes) == 0);
  int type = 0;
  bytes = sizeof type;
  CHECK(getsockopt(listener, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 && type == SOCK_STREAM);
  const pthread_t acceptor = start(accept_all, (void*)(long)listener);
  pthread_t threads[kThreads];
  start_all(threads, ask);
  join_all(threads);
  join(acceptor);
  close(listener);
  const int refused = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect(refused, (struct sockaddr*)&address, sizeof address) == -1 && errno == ECONNREFUSED);
  start_all(threads, datagrams);
  join_all(threads);
  puts("ok");
  return 0;
}
