// poll, select, epoll, eventfd and timerfd: one thread waits for what others write.
#define _GNU_SOURCE
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/timerfd.h>

#include "check.h"

static int pipes[kThreads][2], event, gate[2];

static void* write_pipe(void* argument) {
  const long me = (long)argument;
  const char byte = (char)('a' + me);
  pause_ms(me);
  CHECK(write(pipes[me][1], &byte, 1) == 1);
  return NULL;
}

static void* add_event(void* argument) {
  const uint64_t value = (uint64_t)argument + 1;
  CHECK(write(event, &value, sizeof value) == sizeof value);
  return NULL;
}

static void* poll_gate(void* argument) {
  struct pollfd item = {.fd = gate[0], .events = POLLIN};
  CHECK(poll(&item, 1, 10000) == 1 && (item.revents & POLLHUP) != 0);
  return argument;
}

int main(void) {
  pthread_t threads[kThreads];
  for (int i = 0; i < kThreads; ++i) CHECK(pipe(pipes[i]) == 0);
  int sum = 0;
  char byte;

  start_all(threads, write_pipe);
  for (int left = kThreads; left > 0;) {
    struct pollfd items[kThreads];
    for (int i = 0; i < kThreads; ++i) items[i] = (struct pollfd){.fd = pipes[i][0], .events = POLLIN};
    CHECK(poll(items, kThreads, -1) > 0);
    for (int i = 0; i < kThreads; ++i)
      if (items[i].revents & POLLIN) {
        CHECK(read(pipes[i][0], &byte, 1) == 1 && byte == 'a' + i);
        sum += byte, --left;
      }
  }
  join_all(threads);
  printf("poll %d\n", sum), sum = 0;

  start_all(threads, write_pipe);
  for (int left = kThreads; left > 0;) {
    fd_set set;
    FD_ZERO(&set);
    for (int i = 0; i < kThreads; ++i) FD_SET(pipes[i][0], &set);
    struct timeval limit = {5, 0};
    CHECK(select(pipes[kThreads - 1][0] + 1, &set, NULL, NULL, &limit) > 0);
    for (int i = 0; i < kThreads; ++i)
      if (FD_ISSET(pipes[i][0], &set)) {
        CHECK(read(pipes[i][0], &byte, 1) == 1);
        sum += byte, --left;
      }
  }
  join_all(threads);
  printf("select %d\n", sum), sum = 0;

  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  CHECK(epoll >= 0);
  for (uint32_t i = 0; i < kThreads; ++i) {
    struct epoll_event item = {.events = EPOLLIN, .data.u32 = i};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[i][0], &item) == 0);
  }
  struct epoll_event ready[3];
  CHECK(epoll_wait(epoll, ready, 3, 10) == 0);
  start_all(threads, write_pipe);
  for (int left = kThreads; left > 0;) {
    const int count = epoll_wait(epoll, ready, 3, -1);
    CHECK(count > 0);
    for (int i = 0; i < count; ++i) {
      CHECK(read(pipes[ready[i].data.u32][0], &byte, 1) == 1);
      sum += byte, --left;
    }
  }
  join_all(threads);
  printf("epoll %d\n", sum);

  event = eventfd(0, EFD_CLOEXEC);
  start_all(threads, add_event);
  join_all(threads);
  uint64_t value;
  CHECK(read(event, &value, sizeof value) == sizeof value);
  printf("eventfd %d\n", (int)value);
  const int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  const struct itimerspec soon = {.it_value = {.tv_nsec = 10000000}, .it_interval = {.tv_nsec = 10000000}};
  CHECK(timerfd_settime(timer, 0, &soon, NULL) == 0);
  CHECK(read(timer, &value, sizeof value) == sizeof value && value >= 1);
  struct pollfd item = {.fd = timer, .events = POLLIN};
  CHECK(poll(&item, 1, 5000) == 1);

  CHECK(pipe(gate) == 0);
  start_all(threads, poll_gate);
  pause_ms(10);
  CHECK(close(gate[1]) == 0);
  join_all(threads);
  puts("ok");
  return 0;
}
