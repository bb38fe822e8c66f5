// The allocators that the heap benchmarks compare. None is inlined into the loops, as none would be into a program.
#pragma once

#include <cstddef>

namespace gallocy::bench {

// The heap core of one node on plain private memory: what the allocator itself costs.
struct CoreHeap {
  static void* allocate(std::size_t bytes);
  static void deallocate(void* pointer);
  static void tick();  // as the node's loop does
};

struct Mimalloc {
  static void* allocate(std::size_t bytes);
  static void deallocate(void* pointer);
};

}  // namespace gallocy::bench
