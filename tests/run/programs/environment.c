// Arguments, environment, the auxiliary vector, program_invocation_name, locale and getopt.
#define _GNU_SOURCE
#include <getopt.h>
#include <langinfo.h>
#include <libgen.h>
#include <locale.h>
#include <sys/auxv.h>

#include "check.h"

extern char** environ;

static void* set(void* argument) {
  (void)argument;
  CHECK(setenv("SET_BY_THREAD", "yes", 1) == 0);
  return NULL;
}

static void* read_all(void* argument) {
  (void)argument;
  CHECK(strcmp(getenv("SET_BY_THREAD"), "yes") == 0 && getenv("NOT_SET") == NULL);
  CHECK(strcmp(nl_langinfo(CODESET), "UTF-8") == 0);
  char text[32];
  setlocale(LC_NUMERIC, NULL);
  snprintf(text, sizeof text, "%.3f", 1234.5);
  CHECK(strcmp(text, "1234.500") == 0);
  CHECK(mblen("\xc3\xa4", 2) == 2);
  return NULL;
}

int main(int argc, char** argv) {
  printf("argc %d, name %s, short name %s\n", argc, basename(argv[0]), program_invocation_short_name);
  CHECK(argv[argc] == NULL && environ != NULL);
  const char* const preload = getenv("LD_PRELOAD");
  printf("preloaded: %s\n", preload != NULL ? preload : "nothing");
  for (int i = 1; i < argc; ++i) printf("[%s]\n", argv[i]);
  CHECK(getauxval(AT_PAGESZ) == 4096 && getauxval(AT_PHDR) != 0 && getauxval(AT_RANDOM) != 0 &&
        getauxval(AT_ENTRY) != 0);
  CHECK(getauxval(AT_SECURE) == 0 && getauxval(AT_UID) == getuid() && getauxval(AT_CLKTCK) == 100);
  CHECK(access((const char*)getauxval(AT_EXECFN), X_OK) == 0);
  if (setlocale(LC_ALL, "C.UTF-8") == NULL) return 77;
  join(start(set, NULL));
  pthread_t threads[kThreads];
  start_all(threads, read_all);
  join_all(threads);
  int option, verbose = 0;
  char* arguments[] = {"x", "-v", "-n", "5", "rest", NULL};
  while ((option = getopt(5, arguments, "vn:")) != -1) {
    if (option == 'v') verbose = 1;
    if (option == 'n') printf("n %s\n", optarg);
  }
  printf("verbose %d rest %s\n", verbose, arguments[optind]);
  return 0;
}
