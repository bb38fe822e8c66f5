// SyncWorld: a few nodes with synchronisation cores, a simulated network, and simulated threads that use the objects.
//
// A thread is a coroutine; where a real thread would wait, it is suspended until its core wakes its waiter. The world
// picks what happens next: a message arrives, a thread goes on, a wait is cancelled, a node ticks or dies. Checks live
// in the programs (sync_sim_test.cc), apart from the code under test; the first that fails ends the run.
#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "network.h"
#include "sync/core.h"
#include "sync/state_digest.h"

namespace gallocy::wire {
// For sim::Network.
inline std::uint64_t digest(const SyncMessage& message) { return sync::digest_of(message); }
}  // namespace gallocy::wire

namespace gallocy::sim {

using sync::Outcome;
using sync::SyncId;
using sync::WaiterId;

class SyncWorld;

// The body of a simulated thread. Starts suspended; the world resumes it.
class Program {
 public:
  struct promise_type {
    Program get_return_object() { return Program(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  explicit Program(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Program(Program&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Program& operator=(Program&&) = delete;
  ~Program() {
    if (handle_) handle_.destroy();
  }
  void resume() { handle_.resume(); }
  bool done() const { return handle_.done(); }

 private:
  std::coroutine_handle<promise_type> handle_;
};

class Thread {
 public:
  Thread(SyncWorld& world, NodeId node, WaiterId waiter) : world_(world), node_(node), waiter_(waiter) {}

  SyncWorld& world() { return world_; }
  NodeId node() const { return node_; }
  WaiterId waiter() const { return waiter_; }

  // co_await thread.pause(): others may go on first.
  auto pause() { return std::suspend_always{}; }

  // co_await thread.call(id, f): f(core, effects) and then, if that is pending, the outcome of the wait. A wait that
  // `may_cancel` can end by a timeout at any moment.
  enum class Patience : std::uint8_t { kEndless, kMayCancel };
  template <typename F>
  auto call(SyncId id, F f, Patience patience = Patience::kEndless) {
    return Call<F>{*this, id, std::move(f), patience};
  }
  auto lock(SyncId id, Patience patience = Patience::kEndless) {
    return call(
        id, [this, id](sync::Core& c, sync::Effects& e) { return c.lock(id, waiter_, e); }, patience);
  }
  auto unlock(SyncId id) {
    return call(id, [id](sync::Core& c, sync::Effects& e) { return c.unlock(id, e); });
  }
  auto wait(SyncId id, SyncId mutex, Patience patience = Patience::kEndless) {
    return call(
        id, [=, this](sync::Core& c, sync::Effects& e) { return c.wait(id, mutex, waiter_, e); }, patience);
  }
  auto notify(SyncId id, sync::Notify whom) {
    return call(id, [=](sync::Core& c, sync::Effects& e) { return c.notify(id, whom, e); });
  }

 private:
  friend class SyncWorld;

  template <typename F>
  struct Call {
    Thread& thread;
    SyncId id;
    F f;
    Patience patience;
    bool await_ready();
    void await_suspend(std::coroutine_handle<>) {
      thread.waits_on_ = id;
      thread.waiting_ = true;
      thread.may_cancel_ = patience == Patience::kMayCancel;
    }
    Outcome await_resume() { return thread.outcome_; }
  };

  SyncWorld& world_;
  NodeId node_;
  WaiterId waiter_;
  SyncId waits_on_{};
  Outcome outcome_ = Outcome::kPending;
  bool waiting_ = false;
  bool may_cancel_ = false;
};

struct SyncWorldOptions {
  std::uint16_t nodes = 3;
  std::uint64_t seed = 0;
  sync::FaultInjection fault_injection = sync::FaultInjection::kNone;
  unsigned crashes = 0;           // nodes that die during the run
  unsigned moves = 0;             // a node that is about to leave, or stays after all; the homes are all at one node
  unsigned cancel_one_in = 0;     // steps; 0: never
  unsigned most_steps = 400'000;  // a run that takes longer hangs
};

class SyncWorld {
 public:
  explicit SyncWorld(const SyncWorldOptions& options);

  // Adds a thread at a node that runs program(thread).
  template <typename F>
  void add_thread(NodeId node, F program) {
    threads_.push_back(std::make_unique<Thread>(*this, node, WaiterId{threads_.size() + 1}));
    programs_.push_back(std::make_unique<Program>(program(*threads_.back())));
  }
  // Called when a node dies, before the others learn of it.
  template <typename F>
  void on_death(F f) {
    death_listeners_.push_back(std::move(f));
  }

  // Runs until all threads of live nodes have ended; false if a check failed or threads wait for ever.
  bool run();

  void fail(std::string why) {
    if (failure_.empty()) failure_ = std::move(why);
  }
  void require(bool condition, const char* what) {
    if (!condition) fail(what);
  }
  const std::string& failure() const { return failure_; }

  sync::Core& core(NodeId node) { return *cores_[node.value]; }
  Network<wire::SyncMessage>& network() { return network_; }
  Prng& prng() { return prng_; }
  bool alive(NodeId node) const { return network_.alive(node); }
  bool knows_of_death(NodeId node) const { return knows_of_death_[node.value]; }  // that there was one
  unsigned deaths() const { return static_cast<unsigned>(network_.nodes() - network_.alive_count()); }
  std::uint64_t steps() const { return steps_; }
  // Of all that happened: messages, outcomes, state at the end.
  std::uint64_t digest() const;

  template <typename F>
  Outcome step_core(NodeId node, F f) {
    const Outcome outcome = f(core(node), effects_);
    carry_out(node);
    return outcome;
  }

 private:
  bool step();
  bool run_a_thread();
  void deliver();
  void cancel_a_wait();
  void tick(NodeId node);
  void kill_a_node();
  void move_homes();
  bool tell_of_moves();
  void carry_out(NodeId node);
  void wake(NodeId node, WaiterId waiter, Outcome outcome);
  bool check_cores() const { return options_.fault_injection == sync::FaultInjection::kNone; }
  NodeId random_live_node();

  SyncWorldOptions options_;
  Prng prng_;
  Network<wire::SyncMessage> network_;
  std::vector<std::unique_ptr<sync::Core>> cores_;
  std::vector<std::unique_ptr<Thread>> threads_;  // null: its node died
  std::vector<std::unique_ptr<Program>> programs_;
  std::vector<std::function<void(NodeId)>> death_listeners_;
  std::vector<bool> knows_of_death_;
  std::vector<std::uint64_t> deaths_at_, moves_at_;  // steps
  std::vector<sync::HomesMoved> moves_;              // in their order
  std::vector<std::size_t> told_of_moves_;           // how many each node has heard of
  sync::Effects effects_;
  std::string failure_;
  std::uint64_t steps_ = 0;
  std::uint64_t digest_ = 0;
};

template <typename F>
bool Thread::Call<F>::await_ready() {
  thread.outcome_ = thread.world_.step_core(thread.node_, f);
  return thread.outcome_ != Outcome::kPending;
}

}  // namespace gallocy::sim
