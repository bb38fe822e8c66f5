// RaftChecker: the properties of Raft (Ongaro 2014, Figure 3.2), checked across servers after each step of one, from
// what the servers show of themselves.
//
//   election safety        a term has at most one leader
//   log matching           an index and a term stand for one entry with one entry before it
//   leader completeness    a leader has every entry that was committed in an earlier term
//   state-machine safety   every server applies the same entry at an index, in order, and is then in the same state
//   leader append-only     a leader's log never shrinks
//
// A violation is a failed CHECK.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "raft/core.h"

namespace gallocy::sim {

class RaftChecker {
 public:
  void observe(const raft::Core& core);
  void restarted(raft::ServerId server) { last_of_leader_.erase(server); }
  void committed(const raft::Core& core, const raft::Committed& committed);
  // The state machine of a server as it is after `index`.
  void state(LogIndex index, std::uint64_t digest);

  std::uint64_t elections() const { return leaders_.size(); }
  std::uint64_t commits() const { return committed_.size(); }
  LogIndex last_committed() const { return committed_.empty() ? LogIndex{} : committed_.rbegin()->first; }
  std::uint64_t truncations() const { return truncations_; }
  std::uint64_t configurations() const { return configurations_; }

 private:
  struct Fact {
    std::uint64_t digest = 0;
    raft::Term term;
    raft::Term in_term{};  // of the server that committed it first
  };
  void check_leader(const raft::Core& core);
  void check_log(const raft::Core& core);

  std::map<raft::Term, raft::ServerId> leaders_;
  std::map<std::pair<LogIndex, raft::Term>, std::pair<std::uint64_t, raft::Term>> entries_;
  std::map<LogIndex, Fact> committed_;
  std::map<LogIndex, std::uint64_t> states_;
  std::map<raft::ServerId, std::pair<raft::Term, LogIndex>> last_of_leader_;
  struct Seen {
    LogIndex base, last;
    raft::Term last_term;
    bool operator==(const Seen&) const = default;
  };
  std::map<raft::ServerId, Seen> seen_;
  std::uint64_t truncations_ = 0, configurations_ = 0;
};

}  // namespace gallocy::sim
