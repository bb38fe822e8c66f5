// Threads on whole nodes that read and write pages of coherent memory. What they see is checked by the cluster
// (coherence_cluster.h); that each gets an answer, by waiting().
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "whole_memory.h"

namespace gallocy::sim {

class PageThreads {
 public:
  PageThreads(Prng& prng, VmmCluster& log, WholeMemory& memory);

  void begin_work();  // one of them, if it has nothing to do: a few accesses near each other
  void node_ended(NodeId node);

  std::size_t working() const;
  bool works_on(NodeId node) const;
  std::string describe() const;  // those who are at work

  struct Counters {
    std::uint64_t accesses = 0, faults = 0, answered = 0,
                  lost = 0;  // lost: answered so; answered: those that had to wait
    std::uint64_t longest_wait_us = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Thread {
    NodeId node{};
    unsigned left = 0;  // accesses; 0: it has nothing to do
    PageId page{};
    Access want = Access::kNone;
    bool waits = false;      // for a wake
    bool scheduled = false;  // to go on
    unsigned attempts = 0;   // faults for the present access
    std::uint64_t since = 0;
  };

  void choose(Thread& thread);
  void go_on_in(Thread& thread, std::uint64_t us);
  void step(Thread& thread);
  void access(Thread& thread);
  void fault(Thread& thread);
  void end_access(Thread& thread);
  void woken(NodeId node, BlockId block, coherence::PageSet pages);

  Prng& prng_;
  VmmCluster& log_;
  WholeMemory& memory_;
  std::vector<Thread> threads_;  // in order of their nodes
  std::uint64_t last_value_ = 0;
  Counters counters_;
};

}  // namespace gallocy::sim
