// LockLedger: who has which lock, as the threads see it, apart from the code under test. It finds two holders who may
// not be there together, and a lock whose holder died without the next one being told.
//
// Who the log has declared dead may go on for a while, as it has not heard of it. What such a node is granted counts
// for nobody; what it had before, others may get without it, but are told that their owner died.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "base/check.h"
#include "sync/core.h"

namespace gallocy::sim {

class LockLedger {
 public:
  struct Holder {
    NodeId node{};
    std::uint64_t thread = 0;
    bool operator==(const Holder&) const = default;
  };

  void granted(sync::SyncId lock, sync::LockMode mode, const Holder& holder, sync::Outcome outcome);
  void released(sync::SyncId lock, const Holder& holder);  // it begins to let go
  void declared_dead(NodeId node) { declared_.insert(node); }
  bool is_declared_dead(NodeId node) const { return declared_.contains(node); }
  void node_ended(NodeId node);
  void check_rest() const;  // nobody holds anything

  struct Counters {
    std::uint64_t granted = 0, owner_died = 0;  // of those who live
    std::uint64_t bereft = 0;                   // locks whose holder was declared dead, or ended
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Lock {
    std::vector<Holder> readers{};
    std::vector<Holder> writer{};  // or nobody
    bool orphaned = false;         // the writer died, and no other has been told yet
  };

  // Takes those out for whom is_gone(holder).
  template <typename F>
  void bury(Lock& lock, F is_gone);

  std::map<sync::SyncId, Lock> locks_;
  std::set<NodeId> declared_;
  Counters counters_;
};

}  // namespace gallocy::sim
