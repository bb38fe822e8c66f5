// SparseArray<T>: a zero-initialised array of which only the touched parts take memory (4 KiB granules). State for
// pages nobody used costs nothing, and growing never allocates, which the fault path relies on.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/check.h"

namespace gallocy {

template <typename T>
class SparseArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  SparseArray() = default;
  explicit SparseArray(std::size_t size) : size_(size) {
    if (size == 0) return;
    void* memory = ::mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED, bytes());
    data_ = static_cast<T*>(memory);
  }
  ~SparseArray() {
    if (data_ != nullptr) ::munmap(data_, bytes());
  }
  SparseArray(SparseArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  SparseArray& operator=(SparseArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  T& operator[](std::size_t index) {
    DCHECK(index < size_, index, size_);
    return data_[index];
  }
  const T& operator[](std::size_t index) const {
    DCHECK(index < size_, index, size_);
    return data_[index];
  }
  std::size_t size() const { return size_; }

  // Memory really taken, in bytes (mincore(2)); walks the array's page map, so not for a hot path.
  std::size_t resident_bytes() const {
    constexpr std::size_t kGranule = 4096, kStep = std::size_t{1} << 30;
    std::vector<unsigned char> map;
    std::size_t resident = 0;
    for (std::size_t at = 0; at < bytes(); at += kStep) {
      const std::size_t length = bytes() - at < kStep ? bytes() - at : kStep;
      map.resize((length + kGranule - 1) / kGranule);
      if (::mincore(reinterpret_cast<std::byte*>(data_) + at, length, map.data()) != 0) continue;
      for (const unsigned char granule : map) resident += (granule & 1) != 0 ? kGranule : 0;
    }
    return resident;
  }

 private:
  std::size_t bytes() const { return size_ * sizeof(T); }
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace gallocy
