#include "runtime/global_heap.h"

#include <sys/mman.h>

#include <atomic>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "vmm/entry.h"

namespace gallocy::runtime {
namespace {

constexpr std::uint64_t kMostSliceBytes = std::uint64_t{64} << 30;

// The heap of this process, for threads that end after it is gone.
std::atomic<GlobalHeap*> current{nullptr};

// A thread's cache. Given back when the thread ends.
struct CacheOfThread {
  heap::ThreadCache* cache = nullptr;
  GlobalHeap* heap = nullptr;
  void give_back() {
    if (cache != nullptr && current.load() == heap) heap->core().detach_thread(*cache);
    cache = nullptr;
  }
  ~CacheOfThread() { give_back(); }
};
thread_local CacheOfThread of_thread;

}  // namespace

Result<std::unique_ptr<GlobalHeap>> GlobalHeap::create(NodeId self, std::uint16_t nodes, net::Mesh* mesh,
                                                       Memory& memory, Regions& regions) {
  const std::uint64_t slice = std::bit_floor(std::min(kMostSliceBytes, vmm::kMaxRegionBytes / nodes));
  GALLOCY_ASSIGN(const Region region, regions.map({.name = "gallocy.heap",
                                                   .bytes = slice * nodes,
                                                   .placement = Placement::blocked()}));
  std::unique_ptr<GlobalHeap> global(new GlobalHeap(mesh, memory));
  GALLOCY_ASSIGN(global->heap_, heap::Heap::create({.start = reinterpret_cast<std::uint64_t>(region.data()),
                                                    .slice_bytes = slice,
                                                    .nodes = nodes,
                                                    .self = self},
                                                   *global, *global));
  current.store(global.get());
  return global;
}

GlobalHeap::~GlobalHeap() {
  current.store(nullptr);
  of_thread.cache = nullptr;
  heap_.reset();
  for (const auto& [memory, bytes] : reserved_) ::munmap(memory, bytes);
}

void* GlobalHeap::allocate(std::size_t bytes, std::size_t alignment) {
  CacheOfThread& mine = of_thread;
  if (mine.cache == nullptr || mine.heap != this) [[unlikely]] {
    mine.cache = heap_->attach_thread();
    mine.heap = this;
    if (mine.cache == nullptr) return nullptr;
  }
  return alignment <= 16 ? mine.cache->allocate(bytes) : mine.cache->allocate(bytes, alignment);
}

void GlobalHeap::deallocate(void* pointer) {
  CacheOfThread& mine = of_thread;
  if (mine.cache == nullptr || mine.heap != this) [[unlikely]] {
    mine.cache = heap_->attach_thread();
    mine.heap = this;
    CHECK(mine.cache != nullptr);
  }
  mine.cache->deallocate(pointer);
}

void GlobalHeap::thread_ended() { of_thread.give_back(); }

bool GlobalHeap::frame_arrived(NodeId from, wire::MessageType, std::span<const std::byte> body) {
  std::uint64_t addresses[heap::kRemoteBatch];
  if (body.size() % sizeof(std::uint64_t) != 0 || body.size() > sizeof addresses) return false;
  std::memcpy(addresses, body.data(), body.size());
  heap_->remote_freed(from, {addresses, body.size() / sizeof(std::uint64_t)});
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
