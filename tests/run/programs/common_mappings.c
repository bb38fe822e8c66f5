// Memory of files that other processes map too: shm_open(3), memfd_create(2) mapped twice, files on disk after a fork;
// with mprotect, mremap, munmap, buffers of system calls, and the file's own calls.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"

enum { kBytes = 4 * 4096 };

static char* memory;
static int fd;

static void* write_there(void* argument) {
  strcpy(memory + (long)argument * 64, "written by a thread");
  return NULL;
}

// The kernel reads from and writes to it for a thread anywhere.
static void* use_as_buffer(void* argument) {
  const long me = (long)argument;
  int ends[2];
  char* const at = memory + 4096 + me * 64;
  CHECK(pipe(ends) == 0 && write(ends[1], "through a pipe", 15) == 15 && read(ends[0], at, 15) == 15);
  CHECK(write(ends[1], at, 15) == 15);
  char own[15];
  CHECK(read(ends[0], own, 15) == 15 && strcmp(own, "through a pipe") == 0);
  CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
  return NULL;
}

static void* look_by_file(void* argument) {
  char text[64];
  CHECK(pread(fd, text, sizeof text, 0) == sizeof text && strcmp(text, "written by a thread") == 0);
  CHECK(pwrite(fd, "by the file", 12, 2 * 4096) == 12);
  CHECK(strcmp(memory + 2 * 4096, "by the file") == 0);
  return argument;
}

static void* touch_read_only(void* argument) {
  int ends[2];
  CHECK(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
  CHECK(read(ends[0], memory, 1) == -1 && errno == EFAULT);
  CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
  return argument;
}

static void all_threads(void* (*body)(void*)) {
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
}

static void in_child(const char* expected, const char* leaves) {
  const pid_t child = fork();
  if (child == 0) {
    if (strcmp(memory, expected) != 0) _exit(3);
    strcpy(memory + 3 * 4096, leaves);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void* see_child(void* argument) {
  CHECK(strcmp(memory + 3 * 4096, argument) == 0);
  return NULL;
}

static void whole_life(const char* name) {
  CHECK(ftruncate(fd, kBytes) == 0);
  memory = mmap(NULL, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(memory != MAP_FAILED);
  all_threads(write_there);
  in_child("written by a thread", name);
  join(start(see_child, (void*)name));
  all_threads(use_as_buffer);
  join(start(look_by_file, NULL));
  char* const twice = mmap(NULL, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(twice != MAP_FAILED && strcmp(twice, memory) == 0);
  strcpy(twice, "through the other");
  CHECK(strcmp(memory, "through the other") == 0 && munmap(twice, kBytes) == 0);

  CHECK(ftruncate(fd, 2 * kBytes) == 0);
  char* const elsewhere = mmap(NULL, 4 * kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(elsewhere != MAP_FAILED);
  CHECK(mremap(memory, kBytes, 2 * kBytes, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) == elsewhere);
  memory = elsewhere;
  CHECK(strcmp(memory, "through the other") == 0);
  join(start(see_child, (void*)name));
  strcpy(memory + kBytes, "behind");
  in_child("through the other", "again");
  join(start(see_child, (void*)"again"));
  char text[8];
  CHECK(pread(fd, text, 7, kBytes) == 7 && strcmp(text, "behind") == 0);

  CHECK(mprotect(memory, 4096, PROT_READ) == 0);
  all_threads(touch_read_only);
  CHECK(munmap(memory, 2 * kBytes) == 0);
  // The place is ordinary memory again.
  memory = mmap(elsewhere, 4 * kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK(memory == elsewhere && memory[0] == 0 && memory[kBytes] == 0 && memory[3 * 4096] == 0);
  all_threads(write_there);
  for (long i = 0; i < kThreads; ++i) CHECK(strcmp(memory + i * 64, "written by a thread") == 0);
  CHECK(munmap(memory, 4 * kBytes) == 0);
  printf("%s\n", name);
}

// Another program, which maps the same name.
static int other_program(const char* name) {
  fd = shm_open(name, O_RDWR, 0);
  CHECK(fd >= 0);
  memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(memory != MAP_FAILED && strcmp(memory, "written by a thread") == 0);
  strcpy(memory + 1024, "by another program");
  return 0;
}

static void* see_other(void* argument) {
  CHECK(strcmp(memory + 1024, "by another program") == 0);
  return argument;
}

static void with_another_program(const char* self, const char* name) {
  CHECK(ftruncate(fd, 4096) == 0);
  memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(memory != MAP_FAILED);
  all_threads(write_there);
  const pid_t child = fork();
  if (child == 0) {
    execl(self, self, name, (char*)NULL);
    _exit(127);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  all_threads(see_other);
  CHECK(munmap(memory, 4096) == 0);
  puts("another program");
}

int main(int count, char** arguments) {
  if (count > 1) return other_program(arguments[1]);
  char name[64];
  snprintf(name, sizeof name, "/gallocy-run-test-common-%d", (int)getpid());
  fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
  CHECK(fd >= 0);
  with_another_program(arguments[0], name);
  CHECK(shm_unlink(name) == 0);
  whole_life("shm_open");
  CHECK(close(fd) == 0);
  fd = memfd_create("both", 0);
  CHECK(fd >= 0);
  whole_life("memfd");
  CHECK(close(fd) == 0);
  fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0);
  whole_life("file");
  return 0;
}
