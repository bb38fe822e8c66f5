// WholeCluster: nodes put together as runtime/ does it: the VMM log on Raft says who the members are, and durable
// memory follows it, under leases. Their messages travel on one link for each pair: in order, whole, and delayed while
// the link is cut. Who hears nothing of another for a second takes it for dead, and proposes its death to the log.
//
// With coherent memory (whole_memory.h) and locks (whole_sync.h) a node that ended comes back as somebody else only: a
// number comes once.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "durable/core.h"
#include "runtime/durable_following.h"
#include "runtime/lease.h"
#include "vmm_cluster.h"
#include "whole_leaves.h"
#include "whole_memory.h"
#include "whole_sync.h"

namespace gallocy::sim {

// How a driver can put them together wrongly. The checks must catch each.
enum class WholeBug : unsigned char {
  kNone,
  kNoLease,        // answers callers, whether it is sure to be a member or not
  kLongLease,      // one that lasts longer than what others take for death
  kDeathAtOnce,    // a node that has lost another goes on without it before the log has said so
  kForgetRegion,   // a node that comes back does not know which blocks it keeps
  kPagesAtOnce,    // the coherent memory of a node that has lost another goes on without it before the log has said so
  kPagesUntold,    // it never hears of a death
  kPagesNoHomes,   // it does not follow what the log says of homes
  kPagesPlaced,    // it receives bytes into frames whose core did not want them
  kLocksAtOnce,    // the locks of a node that has lost another pass on without it before the log has said so
  kLocksUntold,    // they never hear of a death
  kLocksAlone,     // a newcomer's locks do not hear of those who come after it
  kLocksForget,    // the lock of a dead holder is granted as if nothing had happened
  kSectionEarly,   // its locks pass on before its commit was acknowledged
  kSectionTwin,    // the first store to a page is made before its twin
  kSectionUndone,  // what is rolled back is committed
  kSettleAtOnce,   // a node that settles does not wait until everything is whole
  kLeaveUnheard,   // these two: LeaveBug
  kLeaveUnsaid,
};

// Of those who join later, the others being programs, who take over no blocks that there are.
enum class WhoSettles : unsigned char { kNobody, kSome, kAll };

struct WholeOptions {
  VmmClusterOptions log;
  std::uint64_t delay_us = 1000;
  std::uint8_t backups = 1;
  std::uint64_t blocks = 4;
  bool coherent = false;  // with coherent memory, and locks
  WhoSettles who_settles = WhoSettles::kNobody;
  durable::Options durable;
  bool trace = false;  // of that memory
  WholeBug bug = WholeBug::kNone;
};

class WholeCluster {
 public:
  explicit WholeCluster(const WholeOptions& options);

  std::function<void(NodeId, const durable::ReadDone&)> on_read;
  std::function<void(NodeId, const durable::CommitDone&)> on_commit;
  std::function<void(NodeId)> on_end;
  std::function<void(NodeId)> on_declared_dead;  // for the first time, by anybody's log; with coherent memory

  VmmCluster& log() { return log_; }
  WholeMemory* memory() { return memory_ ? &*memory_ : nullptr; }
  WholeLeaves* leaves() { return leaves_ ? &*leaves_ : nullptr; }
  WholeSync* sync() { return sync_ ? &*sync_ : nullptr; }
  std::uint64_t now() const { return log_.now(); }
  std::uint16_t nodes() const { return log_.nodes(); }
  bool up(NodeId node) const { return log_.up(node); }
  // It knows the region, and can read and write it.
  bool serves(NodeId node) const;
  void read(NodeId node, durable::Ticket ticket, std::uint64_t address, std::uint32_t bytes,
            durable::Await await = durable::Await::kWrites);
  void commit(NodeId node, durable::Ticket ticket, std::span<const durable::Item> items);
  std::uint64_t address(std::uint64_t block, std::uint32_t offset) const;

  // Of both directions, or one.
  void cut(NodeId from, NodeId to);
  void mend(NodeId from, NodeId to);
  void mend_all();

  // All nodes have heard of all epochs, everything is at as many nodes as it should be, and nobody is in doubt.
  bool restored();
  // All who joined to stay have taken over their share.
  bool settled();
  std::uint64_t settlings();  // that were brought to their end
  const durable::Core& primary(std::uint64_t block);
  std::string describe(NodeId node);  // for whoever has to find out
  // At rest: nothing open, nothing kept, the same images at all members of each company, and if all settle, these
  // members are those with the highest scores.
  void check_rest();

  std::vector<NodeId> up_nodes() const;
  std::uint64_t digest() const;
  std::uint64_t messages() const { return messages_; }
  std::uint64_t silences() const { return silences_; }

 private:
  struct Frame {
    // kPages: of `memory_`
    enum class Kind : unsigned char { kDurable, kAsk, kAnswer, kClosed, kPages, kSync, kRecall, kFarewell } kind{};
    durable::Message message{};
    std::uint64_t asked_us = 0;
    wire::SyncMessage sync{};
    wire::SyncRecall recall{};
    Epoch epoch{};
  };
  struct Host {
    explicit Host(NodeId self) : lease(self) {}

    std::optional<durable::Core> durable;
    runtime::Lease lease;
    RegionId next_region{1};
    std::set<NodeId> buried;
    bool introducing = false;
    std::uint64_t settles_on_us = 0;  // not before: the log has to answer
    Epoch told_of_deaths{};
    std::vector<std::pair<NodeId, durable::Message>> early;  // before it has heard that it is a member
  };
  struct Link {
    std::deque<Frame> frames;
    std::uint64_t life_from = 0, life_to = 0, last_arrival = 0;
    std::uint64_t cut = 0;  // how often
  };

  Host& host(NodeId node) { return *hosts_[node.value]; }
  void begin_memory();
  void begin_sync();
  void begin_leaves();
  void map_region();
  void started(NodeId node);
  std::vector<NodeId> whom_it_meets(NodeId node);
  void ended(NodeId node);
  void left(NodeId node);
  void followed(NodeId node);
  void follow_with_durable(NodeId node);
  void begin(NodeId node, const vmm::Machine& machine);
  void linked(NodeId node, NodeId other);
  void lost(NodeId node, NodeId other);
  void bury_the_declared(NodeId node);
  void bury(NodeId node, NodeId dead);
  void settle_in(NodeId node);
  std::size_t pages_on(NodeId from, NodeId to) const;
  void settle(NodeId node);
  bool stays(NodeId node) const;
  void tick(NodeId node, std::uint64_t life);
  void ask_for_lease(NodeId node);
  void carry_out(NodeId node);
  void send(NodeId from, NodeId to, Frame frame);
  void enqueue(NodeId from, NodeId to, Frame frame);
  void deliver(NodeId from, NodeId to);
  void arrived(NodeId from, NodeId to, const Frame& frame);

  const WholeOptions options_;
  Prng prng_;
  VmmCluster log_;
  std::optional<WholeMemory> memory_;
  std::optional<WholeSync> sync_;          // with it
  std::optional<WholeLeaves> leaves_;      // also
  std::deque<std::optional<Host>> hosts_;  // of those that are up
  std::set<NodeId> declared_dead_;
  std::map<std::pair<NodeId, NodeId>, Link> links_;
  std::uint64_t digest_ = 0, messages_ = 0, silences_ = 0;
};

}  // namespace gallocy::sim
