// dlopen and dlsym from threads, dl_iterate_phdr, dladdr, a library with thread-local data, iconv.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <iconv.h>
#include <link.h>

#include "check.h"

static int count_object(struct dl_phdr_info* info, size_t bytes, void* count) {
  (void)info, (void)bytes;
  ++*(int*)count;
  return 0;
}

static void* body(void* argument) {
  (void)argument;
  for (int i = 0; i < 5; ++i) {
    void* const library = dlopen("libm.so.6", RTLD_NOW);
    CHECK(library != NULL);
    double (*cosine)(double);
    void* const symbol = dlsym(library, "cos");
    CHECK(symbol != NULL);
    memcpy(&cosine, &symbol, sizeof symbol);
    CHECK(cosine(0) == 1);
    Dl_info info;
    CHECK(dladdr(symbol, &info) != 0 && strstr(info.dli_fname, "libm.so.6") != NULL);
    CHECK(dlclose(library) == 0);
  }
  CHECK(dlopen("libthere-is-no-such.so", RTLD_NOW) == NULL && dlerror() != NULL);
  int count = 0;
  dl_iterate_phdr(count_object, &count);
  CHECK(count >= 3);
  return NULL;
}

static void* convert(void* argument) {
  iconv_t conversion = iconv_open("UTF-8", "ISO-8859-1");  // may load a library
  CHECK(conversion != (iconv_t)-1);
  char in[] = "\xe4", out[4], *from = in, *to = out;
  size_t in_left = 1, out_left = 4;
  CHECK(iconv(conversion, &from, &in_left, &to, &out_left) != (size_t)-1 && out_left == 2);
  iconv_close(conversion);
  return argument;
}

int main(void) {
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  start_all(threads, convert);
  join_all(threads);
  puts("ok");
  return 0;
}
