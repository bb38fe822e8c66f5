// Threads on whole nodes that take locks, one after the other, stay inside for a while and let go of them: mutexes and
// shared mutexes, by waiting, trying, or waiting for some time. What they get is checked by the ledger; that each gets
// an answer, by working().
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/prng.h"
#include "lock_ledger.h"
#include "vmm_cluster.h"
#include "whole_sync.h"

namespace gallocy::sim {

class LockThreads {
 public:
  LockThreads(Prng& prng, VmmCluster& log, WholeSync& sync, LockLedger& ledger, std::uint16_t most_nodes);

  void begin_work();  // one of them, if it has nothing to do
  void woken(NodeId node, sync::WaiterId waiter, sync::Outcome outcome);
  void node_ended(NodeId node);

  std::size_t working() const;
  bool works_on(NodeId node) const;
  std::string describe() const;  // those who are at work

  struct Counters {
    std::uint64_t refused = 0, timeouts = 0;  // tries; waits that were given up
    std::uint64_t longest_wait_us = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  enum class Way : std::uint8_t { kWait, kTry, kWaitAWhile };
  struct Wish {
    sync::SyncId lock{};
    bool is_shared = false;  // a shared mutex
    sync::LockMode mode = sync::LockMode::kExclusive;
    Way way = Way::kWait;
  };
  struct Thread {
    NodeId node{};
    std::uint64_t number = 0;    // from 1
    std::uint64_t turn = 0;      // of its doings: what was scheduled for an earlier one is void
    std::vector<Wish> wishes{};  // in the order in which all take them; none: it has nothing to do
    std::size_t held = 0;
    bool waits = false;
    bool gives_up = false;  // it does not get the next one
    std::uint64_t since = 0;
  };

  void choose(Thread& thread);
  void go_on_in(Thread& thread, std::uint64_t us);
  void step(Thread& thread);
  void take(Thread& thread);
  void answered(Thread& thread, sync::Outcome outcome);
  void wait_no_longer_than(Thread& thread, std::uint64_t us);
  void let_go(Thread& thread);

  Prng& prng_;
  VmmCluster& log_;
  WholeSync& sync_;
  LockLedger& ledger_;
  std::vector<Thread> threads_;  // in order of their nodes
  std::uint64_t mutexes_ = 1, shared_ = 1;
  Counters counters_;
};

}  // namespace gallocy::sim
