// The status of main.
#include "check.h"
int main(void) {
  puts("status 3");
  return 3;
}
