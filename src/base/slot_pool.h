// SlotPool: memory for very many objects of one size, a few KiB each, cut out of huge pages. malloc() would take a
// system call and a page fault for each in a thread that is not the main one, which costs as much as filling it does.
// What is given back is used again, and stays with the process.
//
// Threads: any.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>

namespace gallocy {

class SlotPool {
 public:
  // bytes: of a slot, a multiple of 16, at most 512 KiB. The pool must outlive all that is in it.
  explicit SlotPool(std::size_t bytes);
  SlotPool(const SlotPool&) = delete;
  SlotPool& operator=(const SlotPool&) = delete;

  std::size_t in_use() const { return in_use_.load(std::memory_order_relaxed); }  // slots
  void* take();
  void give_back(void* slot);

 private:
  struct Free {
    Free* next;
  };
  void add_chunk();

  const std::size_t bytes_;
  std::atomic<std::size_t> in_use_{0};
  std::mutex mu_;
  Free* free_ = nullptr;                                  // guarded by mu_
  std::byte *fresh_ = nullptr, *end_of_fresh_ = nullptr;  // guarded by mu_; never taken yet
};

}  // namespace gallocy
