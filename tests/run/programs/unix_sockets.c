// Unix sockets: a socketpair between threads, descriptors passed with SCM_RIGHTS, recvmmsg, a named socket.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "check.h"

static int pair[2];

static void* send_descriptor(void* argument) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  char text = (char)('0' + (long)argument);
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec part = {&text, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &ends[0], sizeof(int));
  CHECK(sendmsg(pair[0], &message, 0) == 1);
  CHECK(close(ends[0]) == 0 && write(ends[1], &text, 1) == 1 && close(ends[1]) == 0);
  return NULL;
}

static void* receive_descriptor(void* argument) {
  (void)argument;
  char text, again, control[CMSG_SPACE(sizeof(int))];
  struct iovec part = {&text, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  CHECK(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) == 1);
  const struct cmsghdr* const header = CMSG_FIRSTHDR(&message);
  CHECK(header != NULL && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)));
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  CHECK(read(fd, &again, 1) == 1 && again == text && read(fd, &again, 1) == 0 && close(fd) == 0);
  return NULL;
}

static void* connect_named(void* argument) {
  (void)argument;
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "named"};
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(connect(fd, (struct sockaddr*)&address, sizeof address) == 0);
  CHECK(write(fd, "named", 5) == 5 && close(fd) == 0);
  return NULL;
}

int main(void) {
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
  pthread_t senders[kThreads], receivers[kThreads];
  start_all(receivers, receive_descriptor);
  start_all(senders, send_descriptor);
  join_all(senders);
  join_all(receivers);

  struct iovec parts[2][1];
  char blocks[2][10];
  struct mmsghdr messages[2];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < 2; ++i) {
    parts[i][0] = (struct iovec){blocks[i], 10};
    messages[i].msg_hdr.msg_iov = parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  CHECK(send(pair[0], "one", 3, 0) == 3 && send(pair[0], "three", 5, 0) == 5);
  CHECK(recvmmsg(pair[1], messages, 2, 0, NULL) == 2 && messages[0].msg_len == 3 && messages[1].msg_len == 5);
  CHECK(memcmp(blocks[1], "three", 5) == 0);

  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "named"};
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(bind(listener, (struct sockaddr*)&address, sizeof address) == 0 && listen(listener, 1) == 0);
  const pthread_t thread = start(connect_named, NULL);
  const int fd = accept(listener, NULL, NULL);
  char text[10];
  CHECK(fd >= 0 && recv(fd, text, 5, MSG_WAITALL) == 5 && memcmp(text, "named", 5) == 0);
  join(thread);
  CHECK(unlink("named") == 0);
  puts("ok");
  return 0;
}
