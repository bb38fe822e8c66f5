// SharedPage: a page of an image. Messages and notes that have it share it with the image, which makes a copy before it
// writes to it: so pages go from socket to image and from image to socket without being copied on the way.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/slot_pool.h"
#include "durable/types.h"

namespace gallocy::durable {

using Page = std::array<std::byte, kPageBytes>;
using SharedPage = std::shared_ptr<Page>;

// A page and its use count. For as long as the process lives.
inline constexpr std::size_t kPageSlotBytes = kPageBytes + 32;
inline SlotPool& page_slots() {
  static auto* const slots = new SlotPool(kPageSlotBytes);
  return *slots;
}

template <typename T>
struct PageAllocator {
  using value_type = T;
  PageAllocator() = default;
  template <typename U>
  PageAllocator(const PageAllocator<U>&) {}
  static T* allocate(std::size_t) {
    static_assert(sizeof(T) <= kPageSlotBytes && alignof(T) <= 16);
    return static_cast<T*>(page_slots().take());
  }
  static void deallocate(T* slot, std::size_t) { page_slots().give_back(slot); }
  bool operator==(const PageAllocator&) const = default;
};

inline SharedPage page_to_fill() { return std::allocate_shared_for_overwrite<Page>(PageAllocator<Page>()); }
inline SharedPage page_of_zeros() { return std::allocate_shared<Page>(PageAllocator<Page>()); }

inline SharedPage page_with(std::span<const std::byte> bytes) {
  CHECK(bytes.size() == kPageBytes, bytes.size());
  SharedPage page = page_to_fill();
  std::memcpy(page->data(), bytes.data(), bytes.size());
  return page;
}

// Of bytes that are whole pages.
inline std::vector<SharedPage> pages_with(std::span<const std::byte> bytes) {
  std::vector<SharedPage> pages;
  for (; !bytes.empty(); bytes = bytes.subspan(kPageBytes)) pages.push_back(page_with(bytes.first(kPageBytes)));
  return pages;
}

}  // namespace gallocy::durable
