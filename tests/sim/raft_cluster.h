// RaftCluster: servers with a network, disks and clocks, in one thread, as a function of a seed.
//
// The network delays and so reorders, loses and repeats, and links are cut one way or both. A disk takes its time; what
// was not reported as written is lost in a crash, but for a prefix. Each node's clock runs at its own rate. Every
// message goes through its encoding. After every step the checker looks at the server.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/prng.h"
#include "raft/core.h"
#include "raft_checker.h"
#include "raft_machine.h"

namespace gallocy::sim {

struct RaftClusterOptions {
  std::uint16_t nodes = 3;
  std::uint16_t founders = 3;  // of which the first configuration consists; the other nodes begin with nothing
  raft::Options core;          // of all of them, but `self`
  std::uint64_t seed = 1;
  unsigned loss_permille = 0;
  unsigned repeat_permille = 0;
  std::uint64_t delay_us = 1000;       // of a message: up to this …
  std::uint64_t long_delay_us = 1000;  // … or, one in ten, up to this
  std::uint64_t write_us = 0;          // of a write to disk, at most
  unsigned drift_permille = 0;         // of clocks
  std::uint64_t snapshot_every = 0;    // entries; 0: never
  bool automatic = true;               // messages, writes and ticks come by themselves; otherwise only when asked for
  bool trace = false;
};

class RaftCluster {
 public:
  explicit RaftCluster(const RaftClusterOptions& options);

  std::uint16_t nodes() const { return static_cast<std::uint16_t>(servers_.size()); }
  bool up(std::uint16_t node) const { return servers_[node].core != nullptr; }
  raft::Core& core(std::uint16_t node) { return *servers_[node].core; }
  const raft::Core& core(std::uint16_t node) const { return *servers_[node].core; }
  raft::ServerId id(std::uint16_t node) const { return servers_[node].id; }
  const RegisterMachine& machine(std::uint16_t node) const { return servers_[node].machine; }
  std::uint64_t now() const { return now_; }
  std::uint64_t clock(std::uint16_t node) const;  // what the node takes for now
  RaftChecker& checker() { return checker_; }
  // Nothing: none, or more than one (in different terms) and the latest is meant.
  std::optional<std::uint16_t> leader() const;

  // One event at a node: f(core, its now); then its effects are carried out.
  template <typename F>
  void step(std::uint16_t node, F f) {
    f(*servers_[node].core, clock(node));
    finish_step(node);
  }
  void at(std::uint64_t delay_us, std::function<void()> what);
  void run_for(std::uint64_t us);

  void cut(std::uint16_t from, std::uint16_t to) { cut_[from * servers_.size() + to] = true; }
  void mend(std::uint16_t from, std::uint16_t to) { cut_[from * servers_.size() + to] = false; }
  void isolate(std::uint16_t node);
  void mend_all() { cut_.assign(cut_.size(), false); }
  void make_network_perfect();

  void crash(std::uint16_t node);
  // As the same server with what its disk has, or, if storage is volatile, as another one with nothing.
  void restart(std::uint16_t node);

  // Without `automatic`: what is under way, in order of sending.
  std::vector<raft::Message>& in_flight() { return in_flight_; }
  // Hands the oldest message between the two over. False: there is none.
  bool deliver(std::uint16_t from, std::uint16_t to);
  // The oldest write under way at the node is done. False: there is none.
  bool end_write_of(std::uint16_t node);
  void deliver_all();               // until nothing is under way; cut links lose
  void expire(std::uint16_t node);  // time passes at the node until its next deadline
  void pass(std::uint16_t node, std::uint64_t us) { servers_[node].skipped += us; }

  std::function<void(std::uint16_t node, const raft::Committed&, bool success)> on_applied;
  std::function<void(std::uint16_t node, const raft::ReadReady&)> on_read;

  std::uint64_t digest() const { return digest_; }
  std::uint64_t events() const { return events_; }
  std::uint64_t restores() const { return restores_; }
  void log(const std::string& line) const;

 private:
  struct Server {
    raft::ServerId id{};
    std::unique_ptr<raft::Core> core;
    raft::PersistentState disk;
    std::vector<raft::Persist> writes;
    std::uint64_t disk_busy_until = 0;
    RegisterMachine machine;
    std::uint64_t incarnation = 1;
    std::uint64_t life = 0;  // of which events at it are
    std::uint64_t rate_permille = 1000;
    std::uint64_t skipped = 0;
  };

  void start(std::uint16_t node);
  void schedule_tick(std::uint16_t node);
  void finish_step(std::uint16_t node);
  void carry_out(std::uint16_t node, raft::Effects effects);
  void begin_write(std::uint16_t node, raft::Persist persist);
  void end_write(std::uint16_t node);
  void send(const raft::Message& message);
  void hand_over(const raft::Message& message);

  RaftClusterOptions options_;
  Prng prng_;
  std::vector<Server> servers_;
  std::vector<bool> cut_;
  std::multimap<std::uint64_t, std::function<void()>> agenda_;
  std::vector<raft::Message> in_flight_;
  std::uint64_t now_ = 1'000'000;
  RaftChecker checker_;
  std::uint64_t digest_ = 0, events_ = 0, restores_ = 0;
};

}  // namespace gallocy::sim
