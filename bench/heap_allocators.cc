#include "heap_allocators.h"

#include <mimalloc.h>
#include <sys/mman.h>

#include "base/check.h"
#include "heap/heap.h"
#include "heap/testing/mapped_memory.h"

namespace gallocy::bench {
namespace {

constexpr std::uint64_t kHeapBytes = std::uint64_t{16} << 30;

class PlainNode final : public heap::Host {
 public:
  PlainNode() : region_(kHeapBytes + heap::kGranuleBytes) {
    const auto start =
        (reinterpret_cast<std::uint64_t>(region_.data()) + heap::kGranuleBytes - 1) & ~(heap::kGranuleBytes - 1);
    auto heap = heap::Heap::create({.start = start, .slice_bytes = kHeapBytes}, memory_, *this);
    CHECK(heap.has_value());
    heap_ = std::move(*heap);
  }
  heap::Heap& heap() { return *heap_; }

  void send_remote_frees(NodeId, std::span<const std::uint64_t>) override {}
  void release_pages(std::uint64_t start, std::uint64_t bytes) override {
    ::madvise(reinterpret_cast<void*>(start), bytes, MADV_DONTNEED);
  }
  void bad_free(const heap::BadFree& bad) override { die(1, to_string(bad)); }

 private:
  heap::testing::Mapping region_;
  heap::testing::MappedMemory memory_;
  std::unique_ptr<heap::Heap> heap_;
};

PlainNode& node() {
  static PlainNode* const plain = new PlainNode;  // outlives the last thread
  return *plain;
}

class Attachment {
 public:
  ~Attachment() {
    if (cache_ != nullptr) node().heap().detach_thread(*cache_);
  }
  heap::ThreadCache* attach() { return cache_ = node().heap().attach_thread(); }

 private:
  heap::ThreadCache* cache_ = nullptr;
};

thread_local heap::ThreadCache* cache = nullptr;

[[gnu::noinline]] heap::ThreadCache& attach() {
  thread_local Attachment attachment;
  cache = attachment.attach();
  CHECK(cache != nullptr);
  return *cache;
}

// The slow halves are functions of their own, so that the fast ones need no stack frame.
[[gnu::noinline]] void* attach_and_allocate(std::size_t bytes) { return attach().allocate(bytes); }
[[gnu::noinline]] void attach_and_deallocate(void* pointer) { attach().deallocate(pointer); }

}  // namespace

void* CoreHeap::allocate(std::size_t bytes) {
  if (cache == nullptr) [[unlikely]]
    return attach_and_allocate(bytes);
  return cache->allocate(bytes);
}

void CoreHeap::deallocate(void* pointer) {
  if (cache == nullptr) [[unlikely]]
    return attach_and_deallocate(pointer);
  cache->deallocate(pointer);
}

void CoreHeap::tick() { node().heap().tick(); }

void* Mimalloc::allocate(std::size_t bytes) { return mi_malloc(bytes); }
void Mimalloc::deallocate(void* pointer) { mi_free(pointer); }

}  // namespace gallocy::bench
