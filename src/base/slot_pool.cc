#include "base/slot_pool.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>
#include <utility>

#include "base/check.h"

namespace gallocy {
namespace {

constexpr std::size_t kChunkBytes = 2 << 20;  // a huge page

}  // namespace

SlotPool::SlotPool(std::size_t bytes) : bytes_(bytes) {
  CHECK(bytes % 16 == 0 && bytes >= sizeof(Free) && bytes <= kChunkBytes / 4, bytes);
}

void* SlotPool::take() {
  in_use_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(mu_);
  if (free_ != nullptr) return std::exchange(free_, free_->next);
  if (static_cast<std::size_t>(end_of_fresh_ - fresh_) < bytes_) add_chunk();
  return std::exchange(fresh_, fresh_ + bytes_);
}

void SlotPool::give_back(void* slot) {
  in_use_.fetch_sub(1, std::memory_order_relaxed);
  const std::lock_guard lock(mu_);
  free_ = new (slot) Free{free_};
}

// Populated at once also where there are no huge pages.
void SlotPool::add_chunk() {
  fresh_ = static_cast<std::byte*>(std::aligned_alloc(kChunkBytes, kChunkBytes));
  if (fresh_ == nullptr) throw std::bad_alloc();
  end_of_fresh_ = fresh_ + kChunkBytes;
  ::madvise(fresh_, kChunkBytes, MADV_HUGEPAGE);
  ::madvise(fresh_, kChunkBytes, MADV_POPULATE_WRITE);
}

}  // namespace gallocy
