// What the processor can do: CPUID, /proc/cpuinfo and the C library tell the same on all threads. Arguments: features
// that must not be there.
#define _GNU_SOURCE
#include <cpuid.h>
#include <sys/wait.h>

#include "check.h"

static char flags[8192];
static char** hidden;

static int in_cpuinfo(const char* name) {
  char word[64];
  snprintf(word, sizeof word, " %s ", name);
  return strstr(flags, word) != NULL;
}

static int in_answer(unsigned leaf, int where, int bit) {
  unsigned r[4] = {0, 0, 0, 0};
  return __get_cpuid_count(leaf, 0, &r[0], &r[1], &r[2], &r[3]) && (r[where] >> bit & 1) != 0;
}

static void* body(void* argument) {
  static const struct {
    const char* name;
    unsigned leaf;
    int where, bit;
  } kFeatures[] = {{"sse4_2", 1, 2, 20}, {"movbe", 1, 2, 22},      {"fma", 1, 2, 12}, {"avx", 1, 2, 28},
                   {"bmi1", 7, 1, 3},    {"avx2", 7, 1, 5},        {"bmi2", 7, 1, 8}, {"avx512f", 7, 1, 16},
                   {"adx", 7, 1, 19},    {"abm", 0x80000001, 2, 5}};
  for (size_t i = 0; i < sizeof kFeatures / sizeof kFeatures[0]; ++i) {
    const int there = in_answer(kFeatures[i].leaf, kFeatures[i].where, kFeatures[i].bit);
    if (there != in_cpuinfo(kFeatures[i].name)) printf("failed: %s\n", kFeatures[i].name);
    for (char** name = hidden; *name != NULL; ++name) {
      if (strcmp(*name, kFeatures[i].name) == 0) CHECK(!there);
    }
  }
  unsigned a, b = 0x12345678, c, d, vendor[4] = {0};
  CHECK(__get_cpuid(0, &a, &vendor[0], &vendor[2], &vendor[1]) && strlen((char*)vendor) == 12);
  (void)b, (void)c, (void)d;
  return argument;
}

int main(int count, char** arguments) {
  hidden = arguments + (count > 0);
  FILE* const file = fopen("/proc/cpuinfo", "r");
  CHECK(file != NULL);
  while (fgets(flags, sizeof flags - 1, file) != NULL && strncmp(flags, "flags", 5) != 0) {
  }
  fclose(file);
  CHECK(strncmp(flags, "flags", 5) == 0);
  flags[strcspn(flags, "\n")] = ' ';
  for (char** name = hidden; *name != NULL; ++name) CHECK(!in_cpuinfo(*name));
  body(NULL);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  CHECK(system("true") == 0);
  const pid_t child = fork();
  if (child == 0) _exit(in_answer(1, 3, 26) ? 7 : 8);  // sse2
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
  puts("ok");
  return 0;
}
