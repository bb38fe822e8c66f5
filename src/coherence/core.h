// Core: sequential coherence of the pages of all regions, as one node sees it. Single writer or many readers per page,
// home-based directory, three-hop transfers (Li and Hudak, "Memory coherence in shared virtual memory systems", TOCS
// 1989; directory and transient states after Laudon and Lenoski, "The SGI Origin", ISCA 1997).
//
// Pure: events in (fault, message, tick, node_died …), effects out (effects.h). No clock, thread or system call; `now`
// is the driver's clock in microseconds. Not thread-safe: the driver calls it under one lock and carries the effects
// out before the next event. docs/protocol.md has the message table and the state diagrams.
//
// Invariants (checked by check_invariants and, across nodes, by the simulator)
// 1. A page mapped writable on one node is mapped on no other.
// 2. mapped <= right; a page with a right has its bytes in the frame (or is a hole that reads as zero).
// 3. At its home a page is either busy (exactly one open transaction names it) or the directory entry tells the truth,
//    except that nodes in a copyset may have dropped their copy silently.
// 4. Each request is answered for each of its pages exactly once: Data, Decline or HandOver.
// 5. Messages between two nodes are delivered in order; nothing is assumed about the order across pairs.
//
// Files: core.cc (set-up, the lists of the driver), core_cache.cc (what a node does as requester, reader, owner),
// core_history.cc (which pages it asks for together), core_home.cc (what it does as home), core_move.cc (homes that
// move), core_budget.cc (eviction and spilling), core_failure.cc (death of a node), core_leave.cc (nodes that come and
// go).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/ids.h"
#include "coherence/effects.h"
#include "coherence/region_pages.h"
#include "coherence/stream_detector.h"

namespace gallocy::coherence {

struct Options {
  NodeId self{};
  std::uint16_t nodes = 1;        // numbers are below that
  std::vector<NodeId> present{};  // at first, with this one; empty: all. Others come by node_joined()
  // A page that a thread waited for stays at least this long, so that the thread gets to make its access before another
  // node takes the page (Fleisch and Popek, "Mirage: a coherent distributed shared memory design", SOSP 1989). It is
  // reckoned from the arrival of the page; a driver that knows when the thread comes back for it says so with
  // about_to_access(), and lets this be long.
  std::uint64_t minimum_hold_us = 10;
  // A page with a lock that a thread of this node holds stays until the lock is released, or for so long: who wants the
  // page wants the lock, and would find it taken.
  std::uint64_t lock_hold_us = 200;
  unsigned longest_run = kBlockPages;  // pages asked for at once in a stream; 1: no prefetching
  bool predict_migratory = true;       // grant exclusive on a read of a page whose readers always write next
  // The home of a block moves to a node after it got this many write grants in a row (0: never).
  unsigned move_home_after = 128;
  // Pages of a block that were taken from this node at least so long ago are asked for together when one of them is
  // touched again. ~0: never.
  std::uint64_t revisit_after_us = 1000;
  std::uint64_t budget_pages = ~std::uint64_t{0};
};

// The bytes of pages, for the few places where the protocol looks at them.
class Frames {
 public:
  virtual ~Frames() = default;
  virtual std::uint64_t checksum(PageId page) = 0;
  // Whether in the page, which this node owns, lies a lock that one of its threads holds. The core will hear of its
  // release (Core::unlocked).
  virtual bool locked(PageId) { return false; }
};

struct Counters {
  std::uint64_t read_faults = 0, write_faults = 0, local_faults = 0;
  std::uint64_t pages_received = 0, pages_sent = 0;
  std::uint64_t invalidations = 0, prefetched = 0, declined = 0;
  std::uint64_t evicted = 0, spilled = 0, homes_moved = 0;
  std::uint64_t predictions = 0, predictions_wrong = 0;
  std::uint64_t deferred = 0, refused = 0;
  std::uint64_t again = 0, again_wrong = 0;  // pages asked for along with one that was lost; known to have been in vain
};

enum class FaultOutcome : std::uint8_t {
  kResolved,  // after the effects, the access succeeds
  kPending,   // wait for kWake of the page, then fault again
  kLost,      // the only copy died with a node
};

class Core {
 public:
  Core(const Options& options, Frames& frames);

  // Regions do not overlap and stay until remove_region; every node adds each before it handles a message for it.
  void add_region(const RegionSpec& spec);
  void remove_region(PageId first_page);
  bool knows(BlockId block) const { return find(first_page(block)) != nullptr; }
  // Nodes whose log is ahead of this one's may send it such messages about regions that it does not know yet. They wait
  // with the driver, in order, until it does.
  static bool may_be_early(wire::MessageType type, const wire::PageMessage& m) {
    const bool fence = type == wire::MessageType::kPageInvalidate && (m.flags & wire::kPageFence) != 0;
    return type == wire::MessageType::kPageRequest || fence;
  }

  // A thread of this node wants `want` on the page. hold_us: its minimum hold, if longer than usual (a thread that lost
  // the page again and again before it could make its access).
  // line: which 64 bytes of the page it touched, for the sharing report.
  FaultOutcome fault(PageId page, Access want, std::uint64_t now, Effects& effects, std::uint64_t hold_us = 0,
                     unsigned line = 0);

  // The thread that waited for the page makes its access now: the page stays for hold_us more, not longer. True: others
  // wait for that, and tick() is due then.
  bool about_to_access(PageId page, std::uint64_t now, std::uint64_t hold_us);

  // From now on until thaw() the bytes of these pages do not leave this node. When every node has frozen them and what
  // was sent before has arrived, they can be changed behind the protocol's back, on all nodes alike.
  void freeze(PageId first, std::uint64_t pages) { frozen_.emplace_back(first, PageId{first.value + pages}); }
  void thaw(PageId first, std::uint64_t pages, std::uint64_t now, Effects& effects);

  // The lock in the page, if there is one, is released: what waits for it gets on.
  void unlocked(PageId page, std::uint64_t now, Effects& effects);

  // A message from a live node. False: it makes no sense and was ignored (its sender breaks the protocol).
  bool message(NodeId from, wire::MessageType type, const wire::PageMessage& m, std::span<const DirectoryEntry> tail,
               std::uint64_t now, Effects& effects);
  // Which of m.carried are to be received into their frames. The others are thrown away.
  // Their frames are kept until the message itself comes, or its sender dies.
  PageSet payload_wanted(NodeId from, wire::MessageType type, const wire::PageMessage& m);

  // Which of the pages have no frame yet.
  PageSet without_frames(BlockId block, PageSet pages) const;

  // Time passes. To be called at next_deadline() or later (~0: not needed); deferred messages are looked at again.
  void tick(std::uint64_t now, Effects& effects);
  std::uint64_t next_deadline() const { return deadline_; }

  // While pinned (counted), a page that is here is not given away. The pinning thread faults it in first.
  void pin(PageId page) { ++pins_[page]; }
  void unpin(PageId page, std::uint64_t now, Effects& effects);

  // The node has come: from now on messages are sent to it. A number comes once.
  void node_joined(NodeId node);
  // The node is about to leave: it is given nothing more. Or it stays after all.
  void node_leaves(NodeId node, bool leaves = true) { leaves_[node.value] = leaves; }
  // The node is dead, or has left in order: nothing more comes from it.
  void node_died(NodeId node, std::uint64_t now, Effects& effects);
  // What this node has to give up before it leaves: blocks whose home it is, and those of which it owns pages.
  std::vector<BlockId> blocks_kept();
  std::string why_kept(BlockId block);  // for people
  // Does the next step with such a block; `heir` is to be its home, if this node is. True: nothing of it is left here.
  bool give_up(BlockId block, NodeId heir, std::uint64_t now, Effects& effects);
  // Where the blocks are that had their home here once, as far as this node knows.
  std::vector<std::pair<BlockId, NodeId>> given_homes();
  // The same, as another node said it that is about to leave.
  void home_given(BlockId block, NodeId from, NodeId to);
  // Requests for blocks that nobody used, and of which this node would become the home, wait until another node is the
  // anchor.
  void keep_untouched() { keeps_untouched_ = true; }
  void give_untouched(std::uint64_t now, Effects& effects);  // again: it stays
  // The anchors of a region, as the VMM log has them: others than before when a node has left that was one.
  void anchors_are(PageId first_page, const std::vector<NodeId>& anchors, std::uint64_t now, Effects& effects);
  // If this node is the home of a block that somebody uses, `to` becomes its home. False: something of it is under way.
  bool give_home(BlockId block, NodeId to, std::uint64_t now, Effects& effects);
  // What the VMM log says about the home of a block; used where nothing better is known.
  void home_hint(BlockId block, NodeId home);
  // Room that another node announced, in pages: where pages are spilled to.
  void set_room(NodeId node, std::uint64_t pages) { room_[node.value] = pages; }
  std::uint64_t room(NodeId node) const { return room_[node.value]; }
  // The contents of [first, + pages) will not be read before they are written: where only this node, the home, has a
  // page, its frame is given back.
  void release(PageId first, std::uint64_t pages, std::uint64_t now, Effects& effects);
  // Gives back all frames whose bytes this node has no right to any more.
  void trim(std::uint64_t now, Effects& effects);
  std::uint64_t frames_in_use() const { return frames_in_use_; }
  // So much of the budget is for something else from now on; a part of it is always left for frames.
  void reserve(std::uint64_t pages, std::uint64_t now, Effects& effects);
  std::uint64_t budget() const;      // of frames, in pages
  std::uint64_t kept_pages() const;  // that would be lost with this node: as it is their home, or owns them
  // The other nodes have no room either and this one is over its budget.
  bool exhausted() const { return exhausted_; }

  Access mapped(PageId page) const;
  NodeId home_of(BlockId block) const;
  const std::deque<BlockId>& blocks_with_frames() const { return blocks_with_frames_; }
  bool touched(BlockId block) const;  // false: nobody used it, as far as this node knows
  const Counters& counters() const { return counters_; }
  std::size_t metadata_bytes() const;
  const Options& options() const { return options_; }

  // Pages that this node granted for writing to alternating nodes, most hand-overs first.
  struct SharedPage {
    struct Writer {
      NodeId node = kNoNode;
      std::uint64_t lines = 0;  // bit i: it faulted on the i-th 64 bytes
    };
    PageId page;
    std::uint32_t hand_overs = 0;
    std::array<Writer, 4> writers{};  // the first four
  };
  std::vector<SharedPage> most_handed_over(std::size_t most) const;

  void check_invariants() const;
  std::string describe(PageId page) const;  // one line, for logs and failed checks
  std::uint64_t digest() const;             // of the state of all used pages; for the simulator

 private:
  friend class CoreInspector;  // tests/sim/coherence_inspector.h: checkers compare the states of all nodes

  static constexpr std::uint64_t kAskAgainUs = 200'000;

  struct Ack {
    NodeId node;
    PageSet pages = 0;
  };
  // A transaction of the home: pages of one block on their way to one requester.
  struct Transaction {
    PageSet pages = 0;
    PageSet held = 0;
    NodeId requester{};
    NodeId owner = kNoNode;         // forwarded to it
    unsigned demand = 0, line = 0;  // where the requester faulted
    Access access = Access::kNone;
    std::uint8_t flags = 0;
    bool await_write_back = false, await_done = false;
    std::uint32_t id = 0;     // so that an answer that a death made void is not taken for one to a later Forward
    bool queried = false;     // after the owner's death; see query()
    bool lent = false;        // nobody asked: the requester is to keep pages for which this node has no room
    std::vector<Ack> acks{};  // invalidations not acknowledged yet
  };
  struct Activity {
    std::vector<Transaction> open;
    std::deque<wire::PageMessage> queue;  // requests whose demanded page was busy or held, in order of arrival
    bool empty() const { return open.empty() && queue.empty(); }
  };
  struct Deferred {
    NodeId from;
    wire::MessageType type;
    wire::PageMessage message;
  };
  // Pages whose bytes are on their way into their frames; the message that tells of them has not been handed in.
  struct Receiving {
    BlockId block;
    PageSet pages = 0;
  };
  struct Held {
    BlockId block;
    PageSet pages = 0;
    std::uint64_t until = 0;
  };

  // core.cc
  RegionPages* find(PageId page) const;
  RegionPages& region(BlockId block) const;
  LocalPage& local(PageId page) const { return region(block_of(page)).local(page); }
  DirectoryEntry& entry(PageId page) const { return region(block_of(page)).entry(page); }
  BlockState& block_state(BlockId block) const { return region(block).block(block); }
  PageId page_at(BlockId block, unsigned index) const { return PageId{first_page(block).value + index}; }
  bool is_home(BlockId block) const { return home_of(block) == options_.self; }
  bool exact_copysets() const { return exact_copysets_; }
  bool alive(NodeId node) const { return node.value < options_.nodes && alive_[node.value]; }
  bool stays(NodeId node) const { return alive(node) && !leaves_[node.value]; }
  void note_presence(NodeId node, bool alive);
  void send(NodeId to, wire::MessageType type, const wire::PageMessage& m);
  void wake(BlockId block, PageSet pages);
  // Changes the mapping of each page to `to`, one effect per present mapping.
  void protect(BlockId block, PageSet pages, Access to);
  // The same for those of the pages that are mapped with more than `most`.
  void restrict(BlockId block, PageSet pages, Access most);
  void set_right(BlockId block, PageSet pages, Access right);
  void take_frames(BlockId block, PageSet pages);
  void learn_home(BlockId block, NodeId home, std::uint32_t version);
  PageSet stuck(BlockId block, PageSet pages) const;  // of the mapped ones: those pinned or in their minimum hold
  void hold(PageId page, std::uint64_t least_us);     // or longer, if a thread asked for it
  void hold_all(BlockId block, PageSet pages, std::uint64_t us);
  PageSet locked(BlockId block, PageSet pages);  // those that wait for the release of a lock
  PageSet stuck_or_locked(BlockId block, PageSet pages);
  PageSet frozen(BlockId block) const;
  // Those of the message's pages that may leave now. The others are looked at again later.
  PageSet defer_stuck(NodeId from, wire::MessageType type, const wire::PageMessage& m);
  void retry_deferred();
  void look_again_at(std::uint64_t when) { deadline_ = when < deadline_ ? when : deadline_; }

  // core_cache.cc
  void map_run(PageId page, Access want, unsigned pages);
  void request(PageId page, Access want, PageSet pages, unsigned line);
  void read_ahead(PageId next, Access want, unsigned blocks);
  void install(BlockId block, PageSet pages, Access access, std::uint8_t flags);
  void accept(BlockId block, const wire::PageMessage& m, PageSet wanted);
  PageSet forget_pending(BlockId block, PageSet pages);
  bool on_data(NodeId from, const wire::PageMessage& m);
  bool on_decline(const wire::PageMessage& m);
  bool owner_lost(BlockId block, const wire::PageMessage& m);
  bool on_forward(NodeId from, const wire::PageMessage& m);
  bool on_invalidate(NodeId from, const wire::PageMessage& m);
  bool prediction_was_wrong(BlockId block, PageSet pages);

  // core_history.cc
  static constexpr unsigned kHistoryClockShift = 6;
  bool looks_back() const { return options_.longest_run > 1 && options_.revisit_after_us != ~std::uint64_t{0}; }
  void note_loss(BlockId block, LocalPage& p);
  void forget_history(BlockId block, PageSet pages);
  void stamp(LocalPage& p) const { p.changed_at = static_cast<std::uint16_t>(now_ >> kHistoryClockShift); }
  bool was_used_for(const LocalPage& p, Access want) const;
  PageSet revisited(PageId page, Access want);
  static void grow_again(BlockState& state, Access access);

  // core_home.cc
  void initialise(BlockId block);
  void serve(const wire::PageMessage& request);
  PageSet served_with(const wire::PageMessage& request, Access access);
  bool predicts_write(const DirectoryEntry& e, const wire::PageMessage& request) const;
  void decline(BlockId block, NodeId requester, PageSet pages, std::uint8_t flags);
  void grant_read(BlockId block, PageSet pages, NodeId requester);
  void revoke_then_grant_write(BlockId block, PageSet pages, const wire::PageMessage& request, std::uint8_t flags);
  void grant_write(BlockId block, const Transaction& t);
  void forward_to_owner(BlockId block, PageSet pages, const wire::PageMessage& request, Access access,
                        std::uint8_t flags);
  void note_writer(BlockId block, const Transaction& t);
  void note_hand_over(PageId page, NodeId before, NodeId writer, std::uint64_t lines);
  void transfer_done(BlockId block, Transaction& t);
  Transaction* transaction_of(BlockId block, PageSet pages);
  void close(BlockId block, Transaction* t);
  Transaction* split_off(BlockId block, Transaction* t, PageSet pages);
  bool grant_acknowledged(BlockId block, Transaction* t);
  void grant_thawed();
  void serve_queue(BlockId block);
  bool on_request(NodeId from, const wire::PageMessage& m);
  bool on_write_back(NodeId from, const wire::PageMessage& m);
  bool on_invalidate_ack(NodeId from, const wire::PageMessage& m);
  bool on_done(NodeId from, const wire::PageMessage& m);

  // core_move.cc
  void hand_over_untouched(const wire::PageMessage& request);
  void consider_move(BlockId block, NodeId writer);
  bool may_move(BlockId block) const;
  void fence_then_hand_over(BlockId block, NodeId to);
  void hand_over(BlockId block, NodeId to);
  bool on_hand_over(NodeId from, const wire::PageMessage& m, std::span<const DirectoryEntry> tail);

  // core_budget.cc
  void list_block(BlockId block);
  void keep_budget();
  std::uint64_t evict_block(BlockId block, std::uint64_t most);
  std::uint64_t drop_stale_frames(BlockId block);
  PageSet being_received(BlockId block) const;
  void discard(BlockId block, PageSet pages);
  std::uint64_t spill_block(BlockId block, std::uint64_t most);
  bool on_put(NodeId from, const wire::PageMessage& m);
  bool on_put_ack(NodeId from, const wire::PageMessage& m);
  bool on_lend(NodeId from, const wire::PageMessage& m);

  // core_leave.cc
  bool keeps_here(RegionPages& r, BlockId block) const;
  void serve_those_who_wait();
  NodeId heir_of(BlockId block, NodeId former) const;

  // core_failure.cc
  void lose(BlockId block, PageSet pages, NodeId node);
  NodeId reachable_home(BlockId block);
  void transactions_without(NodeId node);
  bool settle_one_without(BlockId block, NodeId node);
  void without_owner(BlockId block, Transaction* t);
  void query(BlockId block, Transaction& t);
  bool on_query_answer(NodeId from, const wire::PageMessage& m);
  bool repeats(const wire::PageMessage& m);
  void puts_without(NodeId node);
  void ask_again(bool give_up);
  PageSet waiting_at_home(BlockId block) const;
  void ask_again_later();

  Options options_;
  Frames& frames_;
  std::vector<std::unique_ptr<RegionPages>> regions_;  // by first page
  mutable RegionPages* last_region_ = nullptr;
  StreamDetector streams_;
  std::unordered_map<BlockId, Activity> activity_;       // blocks for which this node, as home, has something open
  std::unordered_map<BlockId, PageSet> pending_;         // pages this node asked for
  std::unordered_map<PageId, std::uint64_t> checksums_;  // of pages owned by prediction, at arrival
  std::unordered_map<PageId, unsigned> pins_;
  std::vector<std::pair<PageId, PageId>> frozen_;  // first and end
  // How long a page is kept for its lock at most, 0: not any more; until it leaves.
  std::unordered_map<PageId, std::uint64_t> locked_until_;
  std::unordered_map<PageId, SharedPage> hand_overs_;
  std::vector<Deferred> deferred_;
  std::array<Held, 64> held_{};  // the most recent minimum holds; more at once than threads that can be waiting
  unsigned next_held_ = 0;
  std::uint32_t next_transaction_ = 0;
  std::unordered_map<PageId, std::uint64_t> longer_hold_us_;  // of pages that a thread lost again and again
  std::optional<PageId> faulting_;  // during fault(): it must not leave before the thread has had its access
  std::deque<BlockId> blocks_with_frames_;
  std::uint64_t frames_in_use_ = 0, reserved_pages_ = 0;
  std::uint64_t evicting_ = 0;         // pages sent home by Put and not acknowledged
  std::unordered_set<BlockId> homes_;  // blocks in use whose home this node is
  std::unordered_set<BlockId> given_;  // blocks whose home it was, or might have become
  // home_given(): who gave a block away before it left, and to whom.
  std::unordered_map<BlockId, std::vector<std::pair<NodeId, NodeId>>> heirs_;
  std::vector<std::uint64_t> room_;
  PageSet arrived_ = 0;               // of the present message's carried pages: those whose bytes are in the frames
  std::vector<Receiving> receiving_;  // by sender
  std::vector<bool> alive_, leaves_;
  std::uint16_t numbers_ = 0;  // all nodes that ever were here have numbers below that
  bool exact_copysets_ = true;
  bool keeps_untouched_ = false;
  std::vector<wire::PageMessage> for_the_next_anchor_;
  bool any_death_ = false;
  bool exhausted_ = false;
  std::uint64_t last_death_ = 0;
  std::uint64_t ask_again_at_ = ~std::uint64_t{0};  // after a death
  std::uint64_t puts_not_before_ = 0;               // after a refused Put
  std::unordered_map<BlockId, NodeId> puts_;        // to whom this node has sent Puts that are not acknowledged
  std::uint64_t deadline_ = ~std::uint64_t{0};
  std::uint64_t now_ = 0;
  Effects* effects_ = nullptr;  // during a step
  Counters counters_;
};

}  // namespace gallocy::coherence
