// Private memory and address ranges by mmap, for tests and benchmarks of the heap without a node around it.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "heap/host.h"

namespace gallocy::heap::testing {

class Mapping {
 public:
  explicit Mapping(std::size_t bytes, int protection = PROT_READ | PROT_WRITE) : bytes_(bytes) {
    void* const p = ::mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    data_ = p == MAP_FAILED ? nullptr : p;
  }
  Mapping(Mapping&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping() {
    if (data_ != nullptr) ::munmap(data_, bytes_);
  }
  void* data() const { return data_; }

 private:
  void* data_;
  std::size_t bytes_;
};

class MappedMemory final : public PrivateMemory {
 public:
  void* reserve(std::size_t bytes) override {
    mappings_.emplace_back(bytes);
    return mappings_.back().data();
  }

 private:
  std::vector<Mapping> mappings_;
};

}  // namespace gallocy::heap::testing
