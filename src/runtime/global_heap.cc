#include "runtime/global_heap.h"

#include <sys/mman.h>

#include <atomic>
#include <bit>

#include "base/check.h"
#include "gallocy/heap.h"
#include "vmm/entry.h"
#include "vmm/shard.h"
#include "wire/heap.h"

namespace gallocy::runtime {
namespace {

constexpr std::uint64_t kMostSliceBytes = std::uint64_t{64} << 30;

// The heap of this process: for the public functions, and for threads that end after it is gone.
std::atomic<GlobalHeap*> current{nullptr};

// The calling thread's cache: plain data, so that the fast path finds it by one load. `guard` gives it back when the
// thread ends.
thread_local constinit heap::ThreadCache* cache_of_thread = nullptr;
thread_local constinit GlobalHeap* heap_of_thread = nullptr;

void give_back_cache() {
  if (cache_of_thread != nullptr && current.load() == heap_of_thread) {
    heap_of_thread->core().detach_thread(*cache_of_thread);
  }
  cache_of_thread = nullptr;
  heap_of_thread = nullptr;
}

struct Guard {
  ~Guard() { give_back_cache(); }
  void arm() {}  // its first use registers the destructor
};
thread_local Guard guard;

// Null if there are too many threads.
[[gnu::noinline]] heap::ThreadCache* attach(GlobalHeap& heap) {
  guard.arm();
  cache_of_thread = heap.core().attach_thread();
  heap_of_thread = cache_of_thread != nullptr ? &heap : nullptr;
  return cache_of_thread;
}

}  // namespace

Result<std::unique_ptr<GlobalHeap>> GlobalHeap::create(NodeId self, std::uint16_t nodes, Placement placement,
                                                       net::Mesh* mesh, Memory& memory, Regions& regions) {
  const std::uint64_t most = std::min(vmm::kMaxRegionBytes, vmm::Shard{.of = regions.shards()}.window().bytes);
  const std::uint64_t slice = std::bit_floor(std::min(kMostSliceBytes, most / nodes));
  GALLOCY_ASSIGN(const Region region,
                 regions.map({.name = "gallocy.heap", .bytes = slice * nodes, .placement = placement}));
  std::unique_ptr<GlobalHeap> global(new GlobalHeap(mesh, memory));
  GALLOCY_ASSIGN(
      global->heap_,
      heap::Heap::create(
          {.start = reinterpret_cast<std::uint64_t>(region.data()), .slice_bytes = slice, .nodes = nodes, .self = self},
          *global, *global));
  current.store(global.get());
  return global;
}

GlobalHeap::~GlobalHeap() {
  current.store(nullptr);
  cache_of_thread = nullptr;
  heap_of_thread = nullptr;
  heap_.reset();
  for (const auto& [memory, bytes] : reserved_) ::munmap(memory, bytes);
}

inline void* GlobalHeap::allocate(std::size_t bytes, std::size_t alignment) {
  heap::ThreadCache* cache = cache_of_thread;
  if (heap_of_thread != this) [[unlikely]] {
    cache = attach(*this);
    if (cache == nullptr) return nullptr;
  }
  return alignment <= 16 ? cache->allocate(bytes) : cache->allocate(bytes, alignment);
}

inline void GlobalHeap::deallocate(void* pointer) {
  heap::ThreadCache* cache = cache_of_thread;
  if (heap_of_thread != this) [[unlikely]] {
    cache = attach(*this);
    CHECK(cache != nullptr);
  }
  cache->deallocate(pointer);
}

void GlobalHeap::thread_ended() { give_back_cache(); }

bool GlobalHeap::frame_arrived(NodeId from, wire::MessageType, std::span<const std::byte> body) {
  static_assert(heap::kRemoteBatch == wire::kMaxRemoteFrees);
  std::uint64_t addresses[wire::kMaxRemoteFrees];
  const auto count = wire::decode_remote_frees(body, addresses);
  if (!count) return false;
  heap_->remote_freed(from, {addresses, *count});
  return true;
}

void* GlobalHeap::reserve(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  reserved_.emplace_back(memory, bytes);
  return memory;
}

void GlobalHeap::send_remote_frees(NodeId owner, std::span<const std::uint64_t> addresses) {
  mesh_->send(owner,
              {.type = static_cast<std::uint16_t>(wire::MessageType::kHeapRemoteFree),
               .body_bytes = static_cast<std::uint32_t>(addresses.size_bytes())},
              std::as_bytes(addresses), {});
}

void GlobalHeap::release_pages(std::uint64_t start, std::uint64_t bytes) { memory_.release_pages(start, bytes); }

void GlobalHeap::bad_free(const heap::BadFree& bad) {
  die(static_cast<int>(ErrorCode::kInvalidArgument), "gallocy: " + heap::to_string(bad));
}

}  // namespace gallocy::runtime

namespace gallocy {
namespace {

// The public functions are here, beside the cache they use, so that the fast path is one call.
runtime::GlobalHeap& the_heap() {
  runtime::GlobalHeap* const heap = runtime::current.load(std::memory_order_acquire);
  if (heap == nullptr) [[unlikely]] {
    die(static_cast<int>(ErrorCode::kInvalidArgument), "gallocy: the global heap needs Node::join() first");
  }
  return *heap;
}

class GlobalMemory final : public std::pmr::memory_resource {
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (void* p = gallocy::allocate(bytes, alignment)) return p;
    throw std::bad_alloc();
  }
  void do_deallocate(void* p, std::size_t, std::size_t) override { gallocy::deallocate(p); }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

}  // namespace

void* allocate(std::size_t bytes, std::size_t alignment) noexcept { return the_heap().allocate(bytes, alignment); }

void deallocate(void* pointer) noexcept {
  if (pointer != nullptr) the_heap().deallocate(pointer);
}

std::size_t usable_size(const void* pointer) noexcept {
  return pointer == nullptr ? 0 : the_heap().core().usable_size(pointer);
}

std::pmr::memory_resource* global_memory() noexcept {
  static GlobalMemory resource;
  return &resource;
}

}  // namespace gallocy
