// A page of a file mapping that lies beyond the end of the file gives SIGBUS.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "check.h"

static sigjmp_buf back;
static void* address;

static void handler(int signal, siginfo_t* info, void* context) {
  (void)context;
  address = info->si_addr;
  siglongjmp(back, signal);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGBUS, &action, NULL) == 0);
  const int fd = open("short", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(write(fd, "x", 1) == 1);
  char* const map = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED && map[0] == 'x' && map[4095] == 0);
  const int signal = sigsetjmp(back, 1);
  if (signal == 0) {
    (void)*(volatile char*)(map + 4096);
    CHECK(!"read beyond the end");
  }
  CHECK(signal == SIGBUS && address == map + 4096);
  unlink("short");
  puts("ok");
  return 0;
}
