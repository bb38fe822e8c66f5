// Threads: threads of the program that run on other nodes than the one that started them (include/gallocy/thread.h).
//
// Threads (of the implementation): any thread. Program threads are created by run_started(), which the loop thread
// calls, because frames may arrive on a program thread in a signal handler, where no thread may be created.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "gallocy/thread.h"
#include "net/mesh.h"
#include "os/mutex.h"
#include "runtime/waiting.h"
#include "wire/thread.h"

namespace gallocy::runtime {

// Where this program is loaded: functions travel as offsets from there.
std::uint64_t program_base();

class Threads {
 public:
  // thread_ended: called on each program thread that this object made, before it ends.
  // present: who is there at first, but this node.
  Threads(NodeId self, std::uint16_t nodes, const std::vector<NodeId>& present, net::Mesh* mesh,
          std::function<void()> thread_ended);
  void set_waiting(Waiting& waiting) { waiting_ = &waiting; }

  Result<std::uint64_t> start(ThreadPlace place, thread_detail::Entry entry, std::span<const std::byte> closure);
  Result<> join(std::uint64_t thread, void* result, std::size_t result_bytes, Timeout timeout);
  void detach(std::uint64_t thread);

  bool frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body);
  void node_joined(NodeId node);
  void node_died(NodeId node);
  // On the loop thread.
  void run_started();
  // Until all threads that run here have ended.
  void wait_for_running();

 private:
  // A thread that this node started, here or elsewhere.
  struct Started {
    NodeId node;
    bool ended = false, detached = false;
    std::optional<Error> error{};
    std::vector<std::byte> result{};
    WaitFlag* waiter = nullptr;
  };
  // A thread to be run here.
  struct Job {
    NodeId starter;
    std::uint64_t ticket = 0;
    thread_detail::Entry entry = nullptr;
    std::vector<std::byte> closure{};
  };

  void run(Job job);
  void end(NodeId starter, std::uint64_t ticket, wire::ThreadStatus status, std::span<const std::byte> result);
  void ended(std::uint64_t ticket, std::optional<Error> error, std::span<const std::byte> result);

  const NodeId self_;
  const std::uint16_t nodes_;
  net::Mesh* const mesh_;
  const std::function<void()> thread_ended_;
  Waiting* waiting_ = nullptr;

  os::Mutex mu_;
  std::uint64_t next_ticket_ GUARDED_BY(mu_) = 1;
  std::uint16_t next_place_ GUARDED_BY(mu_);
  std::unordered_map<std::uint64_t, Started> started_ GUARDED_BY(mu_);
  std::vector<Job> jobs_ GUARDED_BY(mu_);
  // Threads can be started there: it is present, and runs this program.
  bool takes_threads(NodeId node) const REQUIRES(mu_);
  std::vector<bool> alive_ GUARDED_BY(mu_);
  std::atomic<std::uint32_t> running_{0};
};

}  // namespace gallocy::runtime
