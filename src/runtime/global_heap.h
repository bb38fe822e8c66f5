// GlobalHeap: the heap core (src/heap) over a region of global memory.
//
// Threads: any thread.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "heap/heap.h"
#include "net/mesh.h"
#include "runtime/memory.h"
#include "runtime/regions.h"

namespace gallocy::runtime {

class GlobalHeap final : private heap::Host, private heap::PrivateMemory {
 public:
  // Maps the heap region; every node of the cluster does this.
  static Result<std::unique_ptr<GlobalHeap>> create(NodeId self, std::uint16_t nodes, Placement placement,
                                                    net::Mesh* mesh, Memory& memory, Regions& regions);
  ~GlobalHeap() override;

  heap::Heap& core() { return *heap_; }
  void* allocate(std::size_t bytes, std::size_t alignment);
  void deallocate(void* pointer);
  bool frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body);
  void tick() { heap_->tick(); }
  // The calling thread will not use the heap any more.
  static void thread_ended();

 private:
  GlobalHeap(net::Mesh* mesh, Memory& memory) : mesh_(mesh), memory_(memory) {}
  void* reserve(std::size_t bytes) override;
  void send_remote_frees(NodeId owner, std::span<const std::uint64_t> addresses) override;
  void release_pages(std::uint64_t start, std::uint64_t bytes) override;
  void bad_free(const heap::BadFree& bad) override;

  net::Mesh* const mesh_;
  Memory& memory_;
  std::vector<std::pair<void*, std::size_t>> reserved_;
  std::unique_ptr<heap::Heap> heap_;
};

}  // namespace gallocy::runtime
