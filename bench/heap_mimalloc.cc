// heap_mimalloc larson|mstress [--small]: the same workload on mimalloc, the reference.
#include <mimalloc.h>

#include "heap_program.h"

namespace {
struct Mimalloc {
  static void* allocate(std::size_t bytes) { return mi_malloc(bytes); }
  static void deallocate(void* pointer) { mi_free(pointer); }
};
}  // namespace

int main(int argc, char** argv) {
  const auto choice = gallocy::bench::heap_choice(argc, argv);
  if (!choice) return 64;
  gallocy::bench::print_run(gallocy::bench::run_workload<Mimalloc>(*choice));
  return 0;
}
