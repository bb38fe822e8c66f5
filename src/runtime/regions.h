// Regions: this node's part in the VMM log (vmm/log.h), and what follows from it: regions appear in Memory, durable
// ones in Sections, when the entry that maps them is applied, on every node in the same order. The address space may be
// divided into shards (vmm/shard.h); then there is a log of each.
//
// Files: regions.cc (what its users call); regions_shards.cc (which log a thing is in); regions_following.cc (what
// follows from the logs); regions_everywhere.cc (who has a region already); regions_homes.cc; regions_disk.cc.
//
// Threads: any thread. mu_ may be taken before Memory's lock, never after it.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bounded_event.h"
#include "gallocy/node.h"
#include "net/mesh.h"
#include "os/clock.h"
#include "os/mutex.h"
#include "runtime/durable_service.h"
#include "runtime/log_disk.h"
#include "runtime/memory.h"
#include "runtime/sections.h"
#include "runtime/waiting.h"
#include "vmm/admission.h"
#include "vmm/log.h"

namespace gallocy::runtime {

struct RegionsOptions {
  NodeId self{};
  std::uint16_t nodes = 1;  // there may ever be: NodeIds are below
  // Who begins the cluster, ascending. A node that is admitted later is none of them, and has its life from the log.
  std::vector<NodeId> founders;
  std::uint64_t life = 1;
  bool long_lived = false;    // nodes join and leave: the log is kept by Raft even if one node begins
  std::uint64_t cluster = 0;  // the number of a cluster whose log is on disk, though not at this node
  std::uint32_t shards = 1;   // of the address space: 1 … wire::kMaxShards
  bool settles = false;       // takes over its share of the durable blocks that there are: it is here to stay
};

class Regions {
 public:
  // disk: null if the log is in memory only.
  Regions(RegionsOptions options, net::Mesh* mesh, Memory& memory, Sections& sections, DurableService& durable,
          std::unique_ptr<LogDisk> disk);
  // The log on disk of a node of a launch, in this folder. new_cluster: what its nodes, and no others, call the cluster
  // if it is founded now.
  static Result<std::unique_ptr<LogDisk>> open_disk(const RegionsOptions& options, const std::string& directory,
                                                    std::uint64_t new_cluster);
  // What the node that founds a cluster has at first of the log of each shard.
  static std::vector<raft::PersistentState> founding_states(const RegionsOptions& options);
  void set_waiting(Waiting& waiting) { waiting_ = &waiting; }

  // Founder: proposes this node as a member. Returns when all founders are members in the log, here; of a node that
  // was admitted, when its own admission has arrived here. kPeerLost: a founder of an open cluster is gone before that.
  Result<> join(const std::string& address, std::chrono::milliseconds timeout);
  // Leaving, in this order: waits until no other member is about to leave, and says that this one is; says that it is
  // no member any more, and returns when the log can do without it. Both give the epoch that their entry opened.
  Result<Epoch> announce_leave(std::chrono::milliseconds timeout);
  Result<Epoch> leave(std::chrono::milliseconds timeout);
  Result<> stay();  // after all
  // All members have read that this one has left: what waits here for the next anchor goes there. If they had not, it
  // would come back.
  void pass_on_what_waits();

  // A process asks this node to let it in (vmm/admission.h): `body` is that of kVmmAdmit. The frames of the answer are
  // handed to `answer` once the log has decided, on any thread, under mu_. False: `body` is no such wish.
  using Answer = std::function<void(const vmm::Frame&)>;
  bool admit(std::span<const std::byte> body, Answer answer);
  // Called, in the order of the log, whenever a node has joined, left or died; on any thread, under mu_. With the epoch
  // that this node has got to. Set before join().
  using MemberNews = std::function<void(NodeId, const vmm::Member&, Epoch)>;
  void set_member_news(MemberNews news) { member_news_ = std::move(news); }
  // The same whenever an epoch has begun, with what the log has made of the members.
  using MembershipNews = std::function<void(const vmm::Machine&)>;
  void set_membership_news(MembershipNews news) { membership_news_ = std::move(news); }
  // The same when a member is about to leave, or stays after all.
  using LeaverNews = std::function<void(NodeId, bool leaves, Epoch)>;
  void set_leaver_news(LeaverNews news) { leaver_news_ = std::move(news); }
  std::vector<vmm::Peer> members();
  // The number of the cluster, if its log is on disk; 0: it is in memory.
  std::uint64_t cluster() const { return disk_ != nullptr ? disk_->identity().cluster : options_.cluster; }
  // Tells the log that these blocks have their homes there, as one who gave them away.
  Result<> publish_homes(std::vector<std::pair<BlockId, NodeId>> homes);
  std::uint32_t shards() const { return options_.shards; }
  // f(the log of the first shard, which has the members), under mu_.
  template <typename F>
  void look(F f) {
    const os::MutexLock lock(mu_);
    f(static_cast<const vmm::Log&>(first()));
  }
  // f(log) for that of each shard, under mu_.
  template <typename F>
  void look_at_all(F f) {
    const os::MutexLock lock(mu_);
    for (const ShardLog& shard : shards_) f(shard.log);
  }
  Epoch epoch() const { return Epoch{epoch_.load(std::memory_order_relaxed)}; }

  Result<Region> map(const RegionOptions& options);
  Result<Region> attach(std::string_view name, std::chrono::milliseconds timeout);
  // Entries for the log, in this order and in as few messages as they fit in; at most vmm::kMaxOpenRequests. Returns
  // when this node has applied them: what became of the last, or the first error.
  Result<vmm::Outcome> propose(std::vector<vmm::Entry> entries, std::chrono::milliseconds timeout);
  // What the name stands for, as far as this node's log goes.
  std::optional<std::uint64_t> bound(std::string_view name);

  // An error if the log is kept by a majority, and this node has no connection to one any more.
  Result<> majority();
  // Whether the log can say who is dead. Where one node keeps it, its death is the end of it.
  bool can_decide();

  bool frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body);
  // There is no link to it any more. The log decides whether it is dead: see set_member_news().
  void node_lost(NodeId node);
  // The memory has heard of a death. It believed the dead node to be the home of blocks of which the log knows more.
  void tell_homes_again();
  void peer_up(const vmm::Life& peer);  // there is a link to it now
  void tick();                          // every 100 ms or so
  // The log's timers. They are coarse (tens of milliseconds), and the poller's turns are frequent enough for them: to
  // wake it for them would cost each fault that ends shortly before.
  void housekeeping();

 private:
  static constexpr std::chrono::milliseconds kProposalTimeout{30'000};
  static std::uint64_t now_us() { return static_cast<std::uint64_t>(os::monotonic_us()); }

  struct ShardLog {
    ShardLog(const vmm::LogOptions& options, const vmm::Log::MakeReplication& make, bool starts_again)
        : log(options, make), recalls(starts_again) {}
    vmm::Log log;
    // All nodes start again, and the log has only come to what was before: homes of that time are homes no more.
    bool recalls;
  };
  using Turn = std::vector<vmm::Effects>;  // by shard

  // A thread that waits for proposals with consecutive tickets.
  struct Waiter {
    WaitFlag flag;
    const std::size_t count;
    std::size_t open = count;
    Result<vmm::Outcome> outcome;  // of the last of them, or the first error
  };

  vmm::Log& first() REQUIRES(mu_) { return shards_.front().log; }
  const vmm::Log& first() const REQUIRES(mu_) { return shards_.front().log; }
  const vmm::Region* region(RegionId id) const REQUIRES(mu_);
  const vmm::Region* region_named(std::string_view name) const REQUIRES(mu_);
  void start_logs() REQUIRES(mu_);
  void hand_in(vmm::Entry entry, std::uint64_t ticket, Turn& turn) REQUIRES(mu_);
  void send_all(std::uint32_t shard, const vmm::Effects& effects) REQUIRES(mu_);

  void resolve(vmm::Resolved& resolved) REQUIRES(mu_);
  bool ask_and_wait(const std::function<void()>& ask, WaitFlag& flag, std::int64_t deadline_ns);
  void start_disk(const vmm::MemberJoined& self) REQUIRES(mu_);
  bool life_began(NodeId from, std::span<const std::byte> body) REQUIRES(mu_);
  void propose_lives() REQUIRES(mu_);
  void life_answered(const vmm::Resolved& resolved) REQUIRES(mu_);
  std::uint64_t life_of(NodeId node) const REQUIRES(mu_);
  // The log has come to this life of this node.
  bool has_begun(const vmm::Log& log) const {
    return log.machine().standing({self_, options_.life}) != vmm::Standing::kUnknown;
  }
  // The end of a turn: sends what the logs have gathered, and does what they ask for.
  void carry_out(Turn& turn) REQUIRES(mu_);
  void follow(ShardLog& shard, vmm::Effects& effects) REQUIRES(mu_);
  void follow(const ShardLog& shard, const vmm::Applied& applied) REQUIRES(mu_);
  void take_over(const ShardLog& shard) REQUIRES(mu_);
  void follow_anchors(const vmm::Machine& machine);
  void members_changed() REQUIRES(mu_);
  bool all_founders_joined(const vmm::Log& log) const REQUIRES(mu_);
  void founder_lost(NodeId node) REQUIRES(mu_);
  void note_membership() REQUIRES(mu_);
  bool is_live(NodeId node) const REQUIRES(mu_) { return first().machine().is_member(node) && !dead_[node.value]; }
  bool can_do_without_us(const vmm::Log& log) const;
  NodeId leaver_now();
  bool is_leaver(NodeId node);
  void note_leaver() REQUIRES(mu_);
  bool left_everywhere(const vmm::Life& life) const REQUIRES(mu_);
  void answer_newcomer(const vmm::Resolved& resolved) REQUIRES(mu_);
  void appeared(const vmm::Region& region) REQUIRES(mu_);
  void announce_new_homes() REQUIRES(mu_);
  void settle() REQUIRES(mu_);
  std::vector<vmm::BlockHomes> entries_of(std::vector<std::pair<BlockId, NodeId>> homes) const REQUIRES(mu_);
  bool drop_the_dead(vmm::BlockHomes& homes);
  // A pointer into a region may reach a node before the log does, so map() and attach() return when all nodes have it.
  Result<> wait_until_everywhere(RegionId region, std::int64_t deadline_ns);
  // Who gathers which nodes have a region: the first that is not dead.
  NodeId coordinator() const REQUIRES(mu_);
  void say_it_is_here(RegionId region) REQUIRES(mu_);
  bool region_news(NodeId from, wire::MessageType type, std::span<const std::byte> body) REQUIRES(mu_);
  void region_is_here(NodeId node, RegionId region) REQUIRES(mu_);
  void tell_if_everywhere(RegionId region) REQUIRES(mu_);
  void send_news(NodeId to, wire::MessageType type, RegionId region) REQUIRES(mu_);

  const RegionsOptions options_;
  const NodeId self_;
  net::Mesh* const mesh_;
  Memory& memory_;
  Sections& sections_;
  DurableService& durable_;
  Waiting* waiting_ = nullptr;
  WaitFlag all_joined_;  // or somebody was lost before
  WaitFlag may_go_;
  MemberNews member_news_;
  MembershipNews membership_news_;
  LeaverNews leaver_news_;
  std::atomic<std::uint32_t> epoch_{0};
  std::atomic<std::int64_t> next_due_us_{0};

  os::Mutex mu_;
  std::deque<ShardLog> shards_ GUARDED_BY(mu_);
  bool started_ GUARDED_BY(mu_) = false;
  std::optional<Error> lost_too_soon_ GUARDED_BY(mu_);  // somebody with whom this node was to begin
  BoundedEvent refused_ GUARDED_BY(mu_){LogLevel::kWarn, "vmm_message_refused"};
  std::uint64_t next_ticket_ GUARDED_BY(mu_) = 1;
  std::map<std::uint64_t, Waiter*> waiters_ GUARDED_BY(mu_);  // by the first of their tickets
  std::vector<WaitFlag*> region_waiters_ GUARDED_BY(mu_);     // set when a region appears or is everywhere
  std::vector<RegionId> everywhere_ GUARDED_BY(mu_);
  std::unordered_map<RegionId, std::vector<NodeId>> here_
      GUARDED_BY(mu_);  // coordinator: who has a region that not all have
  struct Admission {
    std::uint64_t newcomer = 0;
    Answer answer;
  };
  std::unordered_map<std::uint64_t, Admission> admissions_ GUARDED_BY(mu_);  // by ticket
  NodeId leaver_ GUARDED_BY(mu_) = kNoNode;  // that was told of, and of whom all shards know
  bool leaver_news_due_ GUARDED_BY(mu_) = false;
  std::int64_t settles_on_us_ GUARDED_BY(mu_) = 0;  // not before: the log has to answer
  std::map<NodeId, Epoch> told_ GUARDED_BY(mu_);    // the news of a member that were told
  std::uint64_t epochs_ GUARDED_BY(mu_) = 0;        // of all logs together, when they were told
  NodeId coordinator_ GUARDED_BY(mu_);
  std::vector<bool> dead_ GUARDED_BY(mu_);
  std::vector<std::uint64_t> lives_ GUARDED_BY(mu_);  // that there were links to; 0: not known yet
  struct Begun {
    vmm::Wish wish;
    std::uint64_t ticket = 0;  // of this node's proposal; 0: none is open
  };
  std::map<NodeId, Begun> begun_ GUARDED_BY(mu_);  // lives with their log on disk
  std::vector<RegionId> mapped_ GUARDED_BY(mu_);   // in Memory
  bool unsaid_ GUARDED_BY(mu_) = false;            // that some of them are here; tick() says it
  const std::unique_ptr<LogDisk> disk_;            // the last: its thread uses the others
};

}  // namespace gallocy::runtime
