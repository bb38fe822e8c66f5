// CoherenceSimulation: a CoherenceCluster under simulated time. Threads run programs, messages take random times (in
// order between two nodes), ticks come late, woken threads need a while before they make their access, nodes die.
// Everything follows from the seed; digest() of two runs of a seed is equal.
//
// run() goes on until nothing is left to happen, and checks that every thread of a living node has ended, that none had
// to wait longer for an access than kLongestWaitUs, and that the cluster is at rest as it should be.
#pragma once

#include <cstdint>
#include <queue>
#include <string>
#include <vector>

#include "coherence_cluster.h"
#include "coherence_program.h"

namespace gallocy::sim {

struct Timing {
  std::uint64_t delay_us = 5;          // of a message: this …
  std::uint64_t jitter_us = 20;        // … and up to that much more
  std::uint64_t slow_one_in = 0;       // every so many messages take up to 20 times as long (0: none)
  std::uint64_t wake_us = 5;           // from a wake, or a resolved fault, to the access: at most
  std::uint64_t preempted_one_in = 0;  // a thread is sometimes away for up to a millisecond
  std::uint64_t think_us = 3;          // between two accesses: at most
  std::uint64_t announced_us = 0;      // a woken thread says so and keeps the page that long (0: it does not say)
};

class CoherenceSimulation final : private CoherenceObserver {
 public:
  // Far beyond what any fair order of the contending threads needs.
  static constexpr std::uint64_t kLongestWaitUs = 2'000'000;
  static constexpr std::uint64_t kMostEvents = 4'000'000;

  struct Options {
    CoherenceCluster::Options cluster;
    Timing timing;
    std::uint64_t seed = 1;
    bool announce_room = false;
  };
  explicit CoherenceSimulation(const Options& options);

  void add_thread(NodeId node, Program program);
  void crash_at(std::uint64_t us, NodeId node);
  // In order, as soon as its threads have ended.
  void leave_at(std::uint64_t us, NodeId node) { at(us, Event::Kind::kLeave, node.value); }
  void run();

  CoherenceCluster& cluster() { return cluster_; }
  std::uint64_t events() const { return events_; }
  std::uint64_t accesses() const { return accesses_; }
  std::uint64_t longest_wait_us() const { return longest_wait_us_; }
  unsigned most_attempts() const { return most_attempts_; }
  unsigned threads_lost() const { return threads_lost_; }
  unsigned nodes_left() const { return nodes_left_; }
  std::uint64_t digest() const { return mix(digest_, cluster_.digest()); }

 private:
  struct Thread {
    NodeId node;
    Program program;
    enum class State : std::uint8_t { kReady, kWaiting, kEnded } state = State::kReady;
    PageId waits_for{};
    unsigned attempts = 0;  // faults for the present operation
    std::uint64_t since = 0;
    bool lost = false;
  };
  struct Event {
    enum class Kind : std::uint8_t { kDeliver, kStep, kTick, kCrash, kRoom, kThaw, kLog, kLeave };
    std::uint64_t time = 0, order = 0;
    Kind kind{};
    unsigned a = 0, b = 0;
    bool operator>(const Event& other) const { return time != other.time ? time > other.time : order > other.order; }
  };

  // What nodes learn in one order: homes that moved; that a node is about to leave; homes that it gave away before it
  // leaves; that it is gone, but for what is still on its way to it.
  struct LogEntry {
    BlockId block{};
    NodeId home = kNoNode;
    NodeId giver = kNoNode;
    NodeId leaver = kNoNode;                     // about to leave
    std::vector<std::vector<NodeId>> anchors{};  // when it leaves; by region
  };
  enum class Leaving : std::uint8_t { kNot, kAnnounced, kDrains, kKeepsUntouched, kSaysSo, kGone };

  std::vector<NodeId> all_nodes() const;
  void write(LogEntry entry);
  void apply(NodeId node, const LogEntry& entry);
  void follow_anchors(NodeId node, const std::vector<std::vector<NodeId>>& anchors);
  void go_on_leaving(NodeId node);
  bool somebody_leaves() const;
  bool all_know_up_to(NodeId node, std::size_t entry) const;
  bool has_seen_off_all(NodeId node) const;
  bool threads_have_ended(NodeId node) const;
  std::vector<NodeId> heirs(NodeId node) const;
  void say_it_leaves(NodeId node);
  void at(std::uint64_t time, Event::Kind kind, unsigned a, unsigned b = 0);
  void happen(const Event& event);
  void check_nobody_waits_too_long() const;
  void deliver(NodeId from, NodeId to);
  void freeze_for_a_while(unsigned thread);
  void give_some_home(unsigned thread);
  void schedule_tick(NodeId node);
  void step(unsigned index);
  void access(Thread& thread, unsigned index);
  void fault(Thread& thread, unsigned index, PageId page);
  void finish(Thread& thread, unsigned index, OperationResult result);
  std::uint64_t think() { return prng_.below(options_.timing.think_us + 1); }
  std::uint64_t wake_delay();

  void sent(NodeId from, NodeId to) override;
  void woken(NodeId node, BlockId block, coherence::PageSet pages) override;
  void lost(NodeId node, BlockId block, coherence::PageSet pages) override;
  void home_moved(NodeId node, BlockId block) override;
  void trace(std::string_view line) override;

  Options options_;
  Prng prng_;
  CoherenceCluster cluster_;
  std::vector<Thread> threads_;
  std::vector<bool> stepping_;  // a step of the thread is scheduled
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_left_;
  std::vector<std::uint64_t> last_arrival_;  // by pair
  std::vector<std::uint64_t> tick_at_;       // by node, ~0: none scheduled
  std::vector<LogEntry> log_;
  std::vector<std::size_t> log_applied_;      // by node
  std::vector<Leaving> leaving_;              // by node
  std::vector<std::uint64_t> delivered_;      // messages, by pair
  std::vector<std::uint64_t> farewell_;       // by pair: the last message to the leaver before its sender knew
  std::vector<std::size_t> leaves_at_;        // by node: the entry that says the next
  std::vector<std::vector<NodeId>> anchors_;  // by region
  std::vector<std::pair<NodeId, PageId>> frozen_;
  std::uint64_t order_ = 0, events_ = 0, accesses_ = 0, digest_ = 0;
  std::uint64_t longest_wait_us_ = 0;
  unsigned most_attempts_ = 0, threads_lost_ = 0, nodes_left_ = 0;
  std::size_t room_events_ = 0;  // in events_left_
};

}  // namespace gallocy::sim
