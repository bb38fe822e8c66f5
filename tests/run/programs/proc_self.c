// What a program finds of itself in /proc: its threads on all nodes with their names, its descriptors, sizes, signals;
// and the processor time of threads and of the whole.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "check.h"

static pthread_barrier_t named, looked;
static long tids[kThreads];
static clockid_t clocks[kThreads];

static long long ns_of(clockid_t clock) {
  struct timespec time;
  CHECK(clock_gettime(clock, &time) == 0);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void* body(void* argument) {
  const long i = (long)argument;
  char name[16];
  sigset_t set;
  tids[i] = syscall(SYS_gettid);
  snprintf(name, sizeof name, "worker %ld", i % 100);
  CHECK(pthread_setname_np(pthread_self(), name) == 0);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1 + 2 * (i % 2));  // SIGUSR1 or SIGUSR2
  CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
  CHECK(pthread_getcpuclockid(pthread_self(), &clocks[i]) == 0);
  const long long begin = ns_of(CLOCK_THREAD_CPUTIME_ID);
  while (ns_of(CLOCK_THREAD_CPUTIME_ID) - begin < 20000000) continue;
  pthread_barrier_wait(&named);
  pthread_barrier_wait(&looked);
  return NULL;
}

// The value of the line of /proc/self/FILE that begins with key.
static const char* value_in(const char* file, const char* key) {
  static char line[4096];
  FILE* const stream = fopen(file, "r");
  CHECK(stream != NULL);
  while (fgets(line, sizeof line, stream) != NULL && strncmp(line, key, strlen(key)) != 0) continue;
  fclose(stream);
  CHECK(strncmp(line, key, strlen(key)) == 0);
  line[strcspn(line, "\n")] = 0;
  return line + strlen(key) + strspn(line + strlen(key), "\t ");
}

static const char* first_line(const char* file) { return value_in(file, ""); }

static int entries(const char* path, int print) {
  DIR* const directory = opendir(path);
  CHECK(directory != NULL);
  int count = 0;
  for (const struct dirent* entry; (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(directory)) continue;
    ++count;
    if (print) printf("%s: %s\n", path, entry->d_name);
  }
  closedir(directory);
  return count;
}

static void look_at_thread(int i) {
  char path[100], name[16], expected[40];
  struct stat status;
  snprintf(path, sizeof path, "/proc/self/task/%ld/comm", tids[i]);
  printf("%s\n", first_line(path));
  snprintf(path, sizeof path, "/proc/self/task/%ld/stat", tids[i]);
  snprintf(expected, sizeof expected, "%ld (worker %d) ", tids[i], i);
  CHECK(strncmp(first_line(path), expected, strlen(expected)) == 0);
  snprintf(path, sizeof path, "/proc/self/task/%ld/status", tids[i]);
  printf("%s blocks %s\n", value_in(path, "Name:"), value_in(path, "SigBlk:"));
  CHECK(atol(value_in(path, "Pid:")) == tids[i] && atoi(value_in(path, "Tgid:")) == getpid());
  snprintf(path, sizeof path, "/proc/%d/task/%ld", getpid(), tids[i]);
  CHECK(stat(path, &status) == 0 && S_ISDIR(status.st_mode));
  CHECK(ns_of(clocks[i]) >= 20000000);
  (void)name;
}

int main(void) {
  pthread_t threads[kThreads];
  char name[16];
  signal(SIGHUP, SIG_IGN);
  pthread_barrier_init(&named, NULL, kThreads + 1);
  pthread_barrier_init(&looked, NULL, kThreads + 1);
  start_all(threads, body);
  pthread_barrier_wait(&named);
  for (int i = 0; i < kThreads; ++i) look_at_thread(i);
  CHECK(pthread_setname_np(threads[0], "renamed") == 0 && pthread_getname_np(threads[0], name, 16) == 0);
  printf("%s, %d threads, %s\n", name, entries("/proc/self/task", 0), value_in("/proc/self/status", "Threads:"));
  printf("%s ignores %s\n", value_in("/proc/self/status", "Name:"), value_in("/proc/self/status", "SigIgn:"));
  CHECK(atol(first_line("/proc/self/stat")) == getpid() && atol(first_line("/proc/self/statm")) > 100);
  CHECK(access("/proc/self/task/1", F_OK) == -1 && errno == ENOENT);
  CHECK(ns_of(CLOCK_PROCESS_CPUTIME_ID) >= kThreads * 20000000LL);
  struct rusage usage;
  CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
  CHECK((usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec >=
        kThreads * 20000);
  pthread_barrier_wait(&looked);
  join_all(threads);
  for (int i = 0; i < 100 && entries("/proc/self/task", 0) > 1; ++i) pause_ms(10);  // the kernel is a little late
  printf("%d thread\n", entries("/proc/self/task", 0));
  CHECK(clock_gettime(clocks[0], &(struct timespec){0}) == -1);
  const int file = open("/dev/null", O_RDONLY);
  CHECK(dup2(file, 100) == 100);
  entries("/proc/self/fd", 1);
  char path[100];
  CHECK(readlink("/proc/self/fd/100", path, sizeof path) == strlen("/dev/null"));
  printf("%d descriptors\n", entries("/dev/fd", 0));
  return 0;
}
