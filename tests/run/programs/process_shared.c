// A mutex, a condition variable, a semaphore and a barrier that threads and forked children share, in memory without a
// file and in that of a file.
#include <fcntl.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"

enum { kRounds = 200, kChildren = 2, kOwnThreads = 2 };

struct shared {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  pthread_barrier_t barrier;
  sem_t items;
  long count, turn;
};

static void initialise(struct shared* s) {
  pthread_mutexattr_t mutex;
  pthread_condattr_t changed;
  pthread_barrierattr_t barrier;
  CHECK(pthread_mutexattr_init(&mutex) == 0 && pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED) == 0);
  CHECK(pthread_condattr_init(&changed) == 0 && pthread_condattr_setpshared(&changed, PTHREAD_PROCESS_SHARED) == 0);
  CHECK(pthread_barrierattr_init(&barrier) == 0);
  CHECK(pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED) == 0);
  CHECK(pthread_mutex_init(&s->mutex, &mutex) == 0 && pthread_cond_init(&s->changed, &changed) == 0);
  CHECK(pthread_barrier_init(&s->barrier, &barrier, kChildren + kOwnThreads) == 0);
  CHECK(sem_init(&s->items, 1, 0) == 0);
}

static void work(struct shared* s, int me) {
  for (int i = 0; i < kRounds; ++i) {
    CHECK(pthread_mutex_lock(&s->mutex) == 0);
    ++s->count;
    CHECK(pthread_mutex_unlock(&s->mutex) == 0);
  }
  const int waited = pthread_barrier_wait(&s->barrier);
  CHECK(waited == 0 || waited == PTHREAD_BARRIER_SERIAL_THREAD);
  for (int i = 0; i < 10; ++i) {  // in turn
    CHECK(pthread_mutex_lock(&s->mutex) == 0);
    while (s->turn % (kChildren + kOwnThreads) != me) CHECK(pthread_cond_wait(&s->changed, &s->mutex) == 0);
    ++s->turn;
    CHECK(pthread_cond_broadcast(&s->changed) == 0 && pthread_mutex_unlock(&s->mutex) == 0);
  }
  CHECK(sem_post(&s->items) == 0);
}

static struct shared* both;
static void* own(void* argument) {
  work(both, (int)(long)argument);
  return NULL;
}

static void with_children(struct shared* s) {
  initialise(both = s);
  pid_t children[kChildren];
  for (int i = 0; i < kChildren; ++i) {
    children[i] = fork();
    if (children[i] == 0) {
      work(s, kOwnThreads + i);
      _exit(0);
    }
  }
  pthread_t threads[kOwnThreads];
  for (long i = 0; i < kOwnThreads; ++i) threads[i] = start(own, (void*)i);
  for (int i = 0; i < kChildren + kOwnThreads; ++i) CHECK(sem_wait(&s->items) == 0);
  for (int i = 0; i < kOwnThreads; ++i) join(threads[i]);
  for (int i = 0; i < kChildren; ++i) {
    int status;
    CHECK(waitpid(children[i], &status, 0) == children[i] && status == 0);
  }
  printf("%ld %ld\n", s->count, s->turn);
}

int main(void) {
  void* const plain = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(plain != MAP_FAILED);
  with_children(plain);
  const int fd = open("shared", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
  void* const of_file = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(of_file != MAP_FAILED);
  with_children(of_file);
  return 0;
}
