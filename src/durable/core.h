// Core: one node's share in durable memory: as coordinator of its own transactions, and as primary and backup of the
// blocks that it keeps. docs/durable.md explains the protocol and why it is right.
//
// Pure: events in, effects out (effects.h). No clock, thread or system call. Not thread-safe. After each event or turn
// of events the driver takes the effects and carries them out; now and then it calls flush().
//
// What the driver provides
// * epoch(), map_region(): from the log, in its order, on every node.
// * Messages between two nodes arrive in order; when a node dies, each other gets some beginning of what was sent.
// * A node of which the log says that it is no member has stopped telling its callers anything before: set_lease().
//
// Invariants (check_invariants; across nodes the simulator's checkers)
// 1. Of a primary's prepared records no two conflict.
// 2. A transaction of which a caller was told kDone is recorded by all members of all its companies, or applied there.
// 3. All members of a company that is settled and complete have the same image, but for what is not applied yet.
// 4. A record is forgotten only when all members of all companies of its transaction have applied it.
//
// Files: core.cc (driver's side, epochs), core_coordinator.cc, core_primary.cc (prepare, commit, reads),
// core_backup.cc, core_recovery.cc (settling a company, transactions of dead coordinators), core_restore.cc (images for
// new members, and for whom they free), core_journal.cc (what is on disk).
#pragma once

#include <deque>
#include <functional>
#include <unordered_map>

#include "durable/block.h"
#include "durable/effects.h"
#include "durable/mutant.h"
#include "durable/numbered.h"

namespace gallocy::durable {

struct DurableRegion {
  BlockId first{};
  std::uint64_t blocks = 0;
  unsigned backups = 1;  // at most kMaxBackups
  Epoch founded{};       // in which it was mapped
};

struct Options {
  // Pages that are under way to new members of companies: enough to keep a link busy, and few enough to let commits by.
  unsigned pages_in_flight = 256;
  // Messages to one node that nobody waits for, before they go.
  std::size_t most_put_off = 32;
  bool keep = false;  // the journal: give notes of what changes
#ifdef GALLOCY_DURABLE_MUTANTS
  Mutant mutant = Mutant::kNone;
#endif
};

enum class Lease : std::uint8_t { kHeld, kLapsed };

class Core {
 public:
  // A node in its present state of the log: `regions` were mapped before. What it should have of them is restored by
  // the others.
  Core(NodeId self, const History& history, std::span<const DurableRegion> regions, const Options& options);

  // A node that starts again with what its journal has, in the epoch of the last note. `regions`: those of that epoch.
  Core(NodeId self, const History& history, std::span<const DurableRegion> regions, const Options& options, Kept kept);

  // The log: these are the members now.
  void epoch(Membership membership);
  // The log: a region was mapped; founded in the present epoch, all zero.
  void map_region(BlockId first, std::uint64_t blocks, unsigned backups);
  // Whether this node may be sure that it is a member. While it may not, take_effects() gives nothing.
  void set_lease(Lease lease) { lease_ = lease; }

  // What was committed last at these bytes, which lie in one block.
  void read(Ticket ticket, std::uint64_t address, std::uint32_t bytes, Await await = Await::kWrites);
  // All the writes, if all comparisons hold, at one moment; or nothing.
  void commit(Ticket ticket, std::span<const Item> items);
  // False: it breaks the protocol and was ignored; part with its sender.
  [[nodiscard]] bool message(NodeId from, const Message& message);
  // Tells the others what nobody waits for: which records they may let go, and what has been applied. When some have
  // gathered, and in time.
  void flush();
  // Transactions of this node that are over and of which the others have not been told.
  std::uint64_t unforgotten() const { return transactions_.first() - forgotten_; }
  Effects take_effects();
  // Of all that it has, in place of all notes so far. Those in its effects must have been taken before.
  void note_all(const std::function<void(const Note&)>& f) const;

  NodeId self() const { return self_; }
  Epoch epoch() const { return history_.latest(); }
  const History& history() const { return history_; }
  const std::vector<DurableRegion>& regions() const { return regions_; }
  Company company(BlockId block) const;
  // What this node has of a block; null: it keeps it and nobody used it, or it does not keep it.
  const Block* block(BlockId block) const;
  std::size_t kept() const { return blocks_.size(); }
  std::size_t records() const;  // of transactions that are not over
  std::size_t open() const { return transactions_.count() + reads_.count(); }
  // Blocks that this node leads and that are not at all members of their companies yet; without those that are lost.
  std::size_t unrestored() const;
  // This node is about to leave: what it keeps is at others in its stead.
  bool may_leave() const;
  // This node is settling: everything is where it should be in this epoch, and the next step may open the one after it.
  bool may_go_on_settling() const;

  void check_invariants() const;
  std::uint64_t digest() const;  // of everything that decides what it does next

 private:
  // Coordinator
  enum class Decision : std::uint8_t { kNone, kCommit, kAbort };
  struct Participant {
    BlockId block{};
    Part part;
    Company::Members awaiting = 0;  // who has not said in this epoch that it has the record
    bool done = false;              // all its members have applied or dropped it
  };
  struct Transaction {
    Ticket ticket{};
    Decision decision = Decision::kNone;
    std::vector<Participant> participants;
  };
  struct Read {
    Ticket ticket{};
    BlockId block{};
    std::uint32_t offset = 0, length = 0;
    Await await = Await::kWrites;
  };
  struct Owed {
    NodeId node{};
    std::uint64_t last = 0;  // of the transactions that it has records of
  };

  // Primary
  struct Restore {
    BlockId block{};
    NodeId member{};
    std::uint32_t next_page = 0;
  };
  struct Forgotten {
    Epoch life{};
    std::uint64_t below = 0;
  };

#ifdef GALLOCY_DURABLE_MUTANTS
  bool is(Mutant mutant) const { return options_.mutant == mutant; }
#else
  static constexpr bool is(Mutant) { return false; }
#endif

  // core.cc
  const DurableRegion* region_of(BlockId block) const;
  Block* find_block(BlockId block);
  Block* kept_block(BlockId block);  // null: this node does not keep it
  Block* led_block(BlockId block);   // null: this node does not lead its company
  Block& add_block(BlockId block, const Company& company, bool complete);
  bool alive(const TransactionId& id) const { return history_.joined(id.coordinator) == id.life; }
  void send(NodeId to, Message message);
  void send_in_time(NodeId to, Message message);
  void send_put_off(NodeId to);
  void send_to(Company::Members members, const Block& block, const Message& message);
  bool is_early(const Message& m) const;
  [[nodiscard]] bool dispatch(NodeId from, const Message& m);
  void drain();
  void begin_epoch(Epoch before);
  Block* adopt(BlockId block, const DurableRegion& region, Epoch before);  // null: it need not be settled here
  void give_up(BlockId block);
  static void follow_from_now_on(Block& block);
  void deliver_deferred();

  // core_journal.cc
  void note(Note note);
  void add_record(Block& block, const TransactionId& id, const Part& part);
  bool erase(Block& block, const TransactionId& id);
  template <typename F>
  void erase_if(Block& block, F f) {
    for (const Record& record : block.records) {
      if (f(record)) note_erased(block, record);
    }
    std::erase_if(block.records, f);
  }
  void note_erased(const Block& block, const Record& record);

  // core_coordinator.cc
  TransactionId id_of(std::uint64_t sequence) const;
  void send_read(std::uint64_t number, const Read& read);
  void send_prepare(std::uint64_t sequence, Participant& participant);
  void send_decision(std::uint64_t sequence, const Transaction& transaction, const Participant& participant);
  void begin_coordinator_epoch();
  void lose_all();
  bool on_read_reply(NodeId from, const Message& m);
  bool on_prepared(NodeId from, const Message& m);
  bool on_refused(NodeId from, const Message& m);
  bool on_done(NodeId from, const Message& m);
  Participant* find_participant(const Message& m);
  void decide(std::uint64_t sequence, Decision decision, Outcome outcome, BlockId block);
  void finish_if_done(std::uint64_t sequence);
  void send_forget();

  // core_primary.cc
  bool on_read(NodeId from, const Message& m);
  bool on_prepare(NodeId from, const Message& m);
  bool on_commit(NodeId from, const Message& m);
  bool on_abort(NodeId from, const Message& m);
  bool on_resolved(NodeId from, const Message& m);
  bool awaits_news(const Block& block, const Part& part) const;
  Outcome validate(const Block& block, const Part& part) const;
  void record(Block& block, const Message& prepare);
  void apply(Block& block, Record& record);
  void commit_record(Block& block, const TransactionId& id);
  void drop_record(Block& block, const TransactionId& id);
  void resolved(Block& block, const TransactionId& id);
  void serve_reads(Block& block);

  // core_backup.cc
  bool on_replicate(NodeId from, const Message& m);
  bool on_apply(NodeId from, const Message& m);
  bool on_drop(NodeId from, const Message& m);
  bool on_sync(NodeId from, const Message& m);
  bool on_forget(NodeId from, const Message& m);
  bool is_forgotten(const TransactionId& id) const;

  // core_recovery.cc
  void begin_sync(Block& block);
  bool on_synced(NodeId from, const Message& m);
  void settle(Block& block);
  void serve_unsettled(Block& block);
  void recover(Block& block, const TransactionId& id);
  void tell_status(const Block& block, const Record& record, Status status);
  bool on_status(NodeId from, const Message& m);
  void decide_for_dead(Block& block, const TransactionId& id);

  // core_restore.cc
  void continue_restores();
  void say_released();
  bool on_pages(NodeId from, const Message& m);
  bool on_pages_taken(const Message& m);
  bool on_restored(NodeId from, const Message& m);
  bool on_released(NodeId from);

  NodeId self_;
  Options options_;
  History history_;
  Lease lease_ = Lease::kHeld;
  bool expelled_ = false;  // the log says that this node is no member any more

  std::vector<DurableRegion> regions_;
  std::deque<Block> blocks_;  // those that this node keeps and that were used, or that it has to restore
  std::unordered_map<BlockId, std::size_t> places_;  // in blocks_; never iterated
  struct Cached {
    BlockId block{};
    Company company;
  };
  static constexpr std::size_t kCachedCompanies = 1024;
  mutable std::vector<Cached> companies_;  // of other blocks, in this epoch

  Numbered<Transaction> transactions_;
  Numbered<Read> reads_;
  std::vector<Owed> owed_;       // who has to hear which transactions are over
  std::uint64_t forgotten_ = 1;  // below are those of which they have

  std::vector<std::pair<TransactionId, BlockId>> retained_;  // committed records, and some that are gone
  std::vector<Forgotten> forgotten_by_;                      // by coordinator
  std::deque<Restore> restores_;
  unsigned pages_in_flight_ = 0;
  // In this epoch: who leads nothing that is not whole, which this node has to know to leave or to settle; and whether
  // this node has told so to others.
  std::vector<NodeId> released_by_;
  bool released_ = false;

  // From nodes that are further in the log: of a later epoch, or of a region that this node has not heard of. Bounded
  // by what their senders may have open: none of it is answered before.
  std::vector<std::pair<NodeId, Message>> deferred_;
  std::vector<Message> local_;  // to this node itself
  // What nobody waits for goes ahead of the next message to its node, or when many have gathered: it would wake that
  // node for little. Between two nodes the order stays.
  struct PutOff {
    NodeId to{};
    std::vector<Message> messages;
  };
  std::vector<PutOff> put_off_;
  Effects effects_;
};

}  // namespace gallocy::durable
