// heap_node larson|mstress [--small]: an allocator workload on the global heap, through the public interface.
#include <gallocy/gallocy.h>

#include "heap_program.h"

namespace {
struct GlobalHeap {
  static void* allocate(std::size_t bytes) { return gallocy::allocate(bytes); }
  static void deallocate(void* pointer) { gallocy::deallocate(pointer); }
};
}  // namespace

int main(int argc, char** argv) {
  const auto choice = gallocy::bench::heap_choice(argc, argv);
  if (!choice) return 64;
  auto node = gallocy::Node::join();
  if (!node) return gallocy::report(node.error());
  gallocy::bench::print_run(gallocy::bench::run_workload<GlobalHeap>(*choice));
  return 0;
}
