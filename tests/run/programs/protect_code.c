// Code made at run time: written, made executable, called by threads, written again.
#include <sys/mman.h>

#include "check.h"

static int (*function)(void);

static void* call(void* argument) {
  (void)argument;
  return (void*)(long)function();
}

int main(void) {
  unsigned char* const code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(code != MAP_FAILED);
  memcpy(&function, &code, sizeof code);
  for (int round = 0; round < 10; ++round) {
    const unsigned char text[] = {0xb8, (unsigned char)round, 0, 0, 0, 0xc3};  // mov eax, round; ret
    CHECK(mprotect(code, 4096, PROT_READ | PROT_WRITE) == 0);
    memcpy(code, text, sizeof text);
    CHECK(mprotect(code, 4096, PROT_READ | PROT_EXEC) == 0);
    for (int i = 0; i < 4; ++i) CHECK((long)join(start(call, NULL)) == round);
  }
  puts("ok");
  return 0;
}
