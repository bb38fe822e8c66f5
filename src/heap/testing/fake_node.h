// One node's heap for tests, over addresses that nothing may touch: the heap works without reading or writing objects.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "heap/heap.h"
#include "heap/testing/mapped_memory.h"

namespace gallocy::heap::testing {

class FakeNode final : public Host {
 public:
  struct Message {
    NodeId to;
    std::vector<std::uint64_t> addresses;
  };
  struct Release {
    std::uint64_t start, bytes;
  };

  // No memory is there: the addresses are only numbers.
  static constexpr std::uint64_t kStart = kWindowBase;

  explicit FakeNode(std::uint16_t nodes = 1, NodeId self = NodeId{0}, std::uint64_t slice_bytes = kMinSliceBytes) {
    auto heap =
        Heap::create({.start = kStart, .slice_bytes = slice_bytes, .nodes = nodes, .self = self}, memory_, *this);
    CHECK(heap.has_value());
    heap_ = std::move(*heap);
  }

  Heap& heap() { return *heap_; }
  std::vector<Message> take_messages() {
    std::scoped_lock lock(mu_);
    return std::exchange(messages_, {});
  }
  std::vector<BadFree> take_bad_frees() {
    std::scoped_lock lock(mu_);
    return std::exchange(bad_frees_, {});
  }
  std::vector<Release> take_releases() { return std::exchange(releases_, {}); }

  void send_remote_frees(NodeId owner, std::span<const std::uint64_t> addresses) override {
    std::scoped_lock lock(mu_);
    messages_.push_back({owner, {addresses.begin(), addresses.end()}});
  }
  void release_pages(std::uint64_t start, std::uint64_t bytes) override { releases_.push_back({start, bytes}); }
  void bad_free(const BadFree& bad) override {
    std::scoped_lock lock(mu_);
    bad_frees_.push_back(bad);
  }

 private:
  MappedMemory memory_;
  std::unique_ptr<Heap> heap_;
  std::mutex mu_;
  std::vector<Message> messages_;   // guarded by mu_
  std::vector<BadFree> bad_frees_;  // guarded by mu_
  std::vector<Release> releases_;   // of the thread that ticks
};

inline std::uint64_t address_of(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }
inline void* pointer_to(std::uint64_t address) { return reinterpret_cast<void*>(address); }

}  // namespace gallocy::heap::testing
