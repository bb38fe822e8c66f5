// The global heap: objects in global memory, allocated and freed on any node by any thread.
//
// Each node allocates from its own part, so that objects of two nodes never share a page unless one is handed over by
// pointer. Freeing an object of another node sends its address home, many at a time. Double frees and pointers that the
// heap did not give out end the process with a line that names the pointer and its owner.
//
// Example
//   std::vector<int, gallocy::allocator<int>> v;                       // elements in global memory
//   std::pmr::string s(gallocy::global_memory());
//   auto* node = gallocy::make<TreeNode>(key);  …  gallocy::destroy(node);
#pragma once

#include <cstddef>
#include <limits>
#include <memory_resource>
#include <new>
#include <utility>

namespace gallocy {

// Null when the heap is full. alignment: a power of two, at most 4096. Memory is not zeroed. Needs a joined node.
void* allocate(std::size_t bytes, std::size_t alignment = 16) noexcept;
void deallocate(void* pointer) noexcept;
// Usable bytes of an object of this node (at least those asked for); 0 for objects of other nodes.
std::size_t usable_size(const void* pointer) noexcept;

template <typename T>
class allocator {
 public:
  using value_type = T;
  allocator() = default;
  template <typename U>
  allocator(const allocator<U>&) noexcept {}
  T* allocate(std::size_t count) {
    if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
    if (void* p = gallocy::allocate(count * sizeof(T), alignof(T) < 16 ? 16 : alignof(T))) return static_cast<T*>(p);
    throw std::bad_alloc();
  }
  void deallocate(T* pointer, std::size_t) noexcept { gallocy::deallocate(pointer); }
  template <typename U>
  bool operator==(const allocator<U>&) const noexcept {
    return true;
  }
};

std::pmr::memory_resource* global_memory() noexcept;

template <typename T, typename... Arguments>
T* make(Arguments&&... arguments) {
  allocator<T> memory;
  return new (memory.allocate(1)) T(std::forward<Arguments>(arguments)...);
}

template <typename T>
void destroy(T* object) {
  if (object == nullptr) return;
  object->~T();
  deallocate(object);
}

}  // namespace gallocy
