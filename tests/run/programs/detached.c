// Detached threads: started so or detached later; join refuses them; pthread_attr_getdetachstate.
#include <semaphore.h>

#include "check.h"

static sem_t done;
static int sum;

static void* body(void* argument) {
  __atomic_add_fetch(&sum, (int)(long)argument, __ATOMIC_SEQ_CST);
  sem_post(&done);
  return NULL;
}

static void* detaches_itself(void* argument) {
  CHECK(pthread_detach(pthread_self()) == 0);
  return body(argument);
}

static void* long_lived(void* argument) {
  sem_wait(argument);
  sem_post(&done);
  return NULL;
}

int main(void) {
  sem_init(&done, 0, 0);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
  pthread_t thread;
  for (long i = 0; i < 100; ++i) CHECK(pthread_create(&thread, &attributes, body, (void*)i) == 0);
  for (long i = 0; i < 100; ++i) start(detaches_itself, (void*)i);
  for (int i = 0; i < 200; ++i) sem_wait(&done);
  printf("sum %d\n", sum);
  sem_t go;
  sem_init(&go, 0, 0);
  CHECK(pthread_create(&thread, &attributes, long_lived, &go) == 0);
  CHECK(pthread_join(thread, NULL) == EINVAL);
  sem_post(&go);
  sem_wait(&done);
  puts("ok");
  return 0;
}
