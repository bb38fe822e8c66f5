// Core: one server of a company that keeps a replicated log by Raft (Ongaro, "Consensus: bridging theory and practice",
// Stanford 2014; § means its sections). Any number of cores run in one thread: events in, effects out (effects.h).
//
// Pure: no clock, thread, or system call. `now` is the server's own clock in microseconds, which must not go backwards;
// its rate may be off by Options::clock_drift_permille, on which only the lease relies. Chance comes from the seed.
// Not thread-safe. After each event or turn of events the driver calls flush(), takes the effects and carries them out;
// at next_deadline() it calls tick().
//
// Storage. kDurable: what a server promises (its term, its vote, entries) is first made durable: it goes out as
// Effects::persist, and messages that depend on it wait for persisted(). A server that starts again gets what it had as
// PersistentState. kVolatile: nothing is written, and everything counts as durable at once. That is safe only because
// such a server never starts again: a node that does is another server (configuration.h). A company of such servers
// survives the loss of any minority, one after the other with repair between, but not of a majority at once.
//
// Invariants (check_invariants; across servers the simulator's checkers)
// 1. base <= commit <= last; snapshot.index <= commit; terms in the log never exceed the term.
// 2. Entries up to commit are never truncated.
// 3. A leader only appends; its followers' match <= last and next > match.
// 4. At most one change of membership is not committed.
//
// Files: core.cc (driver's side, storage), core_election.cc (votes, terms), core_follower.cc (entries and snapshots
// that arrive), core_leader.cc (replication, commit), core_reads.cc (lease, read index), core_membership.cc (changes,
// transfer).
//
// Example
//   Core core({.self = a}, PersistentState::founding({.voters = {a, b, c}}), seed, now);
//   core.message(*decode(type, body), now);
//   core.flush(now);
//   Effects effects = core.take_effects();
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <tl/expected.hpp>

#include "base/prng.h"
#include "raft/effects.h"
#include "raft/log.h"
#include "raft/mutant.h"
#include "raft/progress.h"

namespace gallocy::raft {

enum class Storage : std::uint8_t { kVolatile, kDurable };
enum class ReadMode : std::uint8_t { kLease, kReadIndex };
enum class Role : std::uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };

struct Options {
  ServerId self{};
  Storage storage = Storage::kVolatile;
  ReadMode reads = ReadMode::kLease;
  // A server that heard from no leader for this long, and up to as long again, tries to become leader.
  std::uint64_t election_timeout_us = 150'000;
  std::uint64_t heartbeat_us = 40'000;
  unsigned clock_drift_permille = 20;  // each server's clock runs by at most so much too fast or too slow
  std::size_t batch_bytes = wire::kMaxRaftBatchBytes;
  ProgressOptions window;
  std::size_t snapshot_window_bytes = 8 * wire::kMaxRaftChunkBytes;
  std::size_t trailing_entries = 1024;   // kept before a snapshot, for followers that are a little behind
  std::size_t max_open_entries = 65536;  // not committed yet; beyond it proposals are refused
  std::size_t max_open_reads = 65536;
#ifdef GALLOCY_RAFT_MUTANTS
  Mutant mutant = Mutant::kNone;
#endif
};

struct Proposed {
  LogIndex index{};
  Term term{};  // if another term's entry is committed at `index`, the proposal is lost
};

class Core {
 public:
  Core(const Options& options, const PersistentState& state, std::uint64_t seed, std::uint64_t now);

  // The first leader of a company whose founding elected it (PersistentState::founding), on a server that starts for
  // the first time: the votes of its term are given once. If others have begun a later term already, as this server was
  // late, it is like any other.
  void take_office(std::uint64_t now);
  // Time passes.
  void tick(std::uint64_t now);
  // The connection to the leader broke: no reason to wait for it longer than what was promised.
  void leader_lost(std::uint64_t now);
  // A message from another server. False: it breaks the protocol (contradicts what is committed, a second leader in a
  // term …) and was ignored; part with its sender. Messages for another life of this node are ignored.
  [[nodiscard]] bool message(const Message& message, std::uint64_t now);
  // Leader: an entry for the log. Its fate shows among the committed entries.
  tl::expected<Proposed, Refusal> propose(Bytes data);
  tl::expected<Proposed, Refusal> change(const Change& change, std::uint64_t now);
  // Leader: passes leadership on to a voter (§3.10). It gives up after an election timeout.
  tl::expected<void, Refusal> transfer(ServerId to, std::uint64_t now);
  // Leader: a read that sees everything committed before (§6.4). The answer comes as an effect.
  void read(Ticket ticket, std::uint64_t now);
  // The write with this number, and all before it, are on stable storage.
  void persisted(std::uint64_t sequence, std::uint64_t now);
  // The state machine as it was after `index`, which has been handed out as committed: the log may forget it.
  void snapshot_taken(LogIndex index, Bytes state);
  // The leader steps down without waiting for anybody: its storage fails, its node stops.
  void resign(std::uint64_t now);
  // The driver has handed in all events that were there: sends what has gathered.
  void flush(std::uint64_t now);

  Effects take_effects();
  std::uint64_t next_deadline() const;

  ServerId self() const { return options_.self; }
  Role role() const { return role_; }
  Term term() const { return term_; }
  ServerId vote() const { return vote_; }
  ServerId leader() const { return leader_; }  // kNoServer: not known
  LogIndex commit() const { return commit_; }
  const Log& log() const { return log_; }
  const Snapshot& snapshot() const { return snapshot_; }
  const Configuration& configuration() const { return log_.configurations().latest(); }
  LogIndex configuration_index() const { return log_.configurations().latest_index(); }
  const std::map<ServerId, Progress>& followers() const { return followers_; }
  bool has_lease(std::uint64_t now) const;

  void check_invariants() const;
  std::uint64_t digest() const;  // of everything that decides what it does next, but times

 private:
  struct Held {
    std::uint64_t after = 0;  // sequence of the write that it waits for
    Message message;
  };
  struct Write {
    std::uint64_t sequence = 0;
    LogIndex last{};
  };
  struct Round {
    std::uint64_t number = 0;
    std::uint64_t began = 0;
  };
  struct OpenRead {
    Ticket ticket{};
    LogIndex index{};
    std::uint64_t round = 0;  // 0: waits for an entry of this term to be committed, or for a round to begin
  };
  struct Incoming {
    LogIndex index{};
    Term term{};
    Term leader_term{};
    std::uint64_t total_bytes = 0;
    Bytes bytes;
  };

#ifdef GALLOCY_RAFT_MUTANTS
  bool is(Mutant mutant) const { return options_.mutant == mutant; }
#else
  static constexpr bool is(Mutant) { return false; }
#endif

  // core.cc: storage and sending
  bool write_open() const { return open_hard_ || open_snapshot_ || open_first_ != LogIndex{}; }
  std::uint64_t latest_write() const { return write_open() ? sequence_ : sequence_ - 1; }
  void hard_state_changed();
  void log_changed(LogIndex first);
  void append(Entry entry);
  void truncate_from(LogIndex index);
  LogIndex durable_index() const;
  template <typename What>
  void send(ServerId to, What what, std::uint64_t now);
  template <typename What>
  void send_when_durable(ServerId to, What what, std::uint64_t now);
  void hold(Message message, std::uint64_t after, std::uint64_t now);
  void commit_to(LogIndex index);

  // core_election.cc
  bool promised(std::uint64_t now) const;
  bool may_campaign() const;
  void set_election_deadline(std::uint64_t now);
  void become_follower(Term term, ServerId leader, std::uint64_t now);
  void campaign(Ballot ballot, bool transfer, std::uint64_t now);
  void become_leader(std::uint64_t now);
  void on(ServerId from, Term term, const VoteRequest& m, std::uint64_t now);
  void on(ServerId from, const VoteReply& m, std::uint64_t now);
  bool grants(ServerId from, Term term, const VoteRequest& m) const;
  void on(ServerId from, const TimeoutNow& m, std::uint64_t now);

  // core_follower.cc
  [[nodiscard]] bool follow(ServerId from, std::uint64_t now);
  bool on(ServerId from, const Append& m, std::uint64_t now);
  bool take_entries(const Append& m);
  AppendReply refusal(const Append& m) const;
  bool on(ServerId from, const SnapshotChunk& m, std::uint64_t now);
  bool install(Incoming incoming);

  // core_leader.cc
  void follow_configuration(std::uint64_t now);
  void replicate(ServerId to, Progress& progress, std::uint64_t now);
  void begin_snapshot(Progress& progress);
  void send_entries(ServerId to, Progress& progress, std::uint64_t now);
  void send_append(ServerId to, Progress& progress, std::vector<Entry> entries, std::uint64_t now);
  void send_snapshot(ServerId to, Progress& progress, std::uint64_t now);
  void heartbeat(std::uint64_t now);
  void on(ServerId from, const AppendReply& m, std::uint64_t now);
  void on(ServerId from, const SnapshotReply& m, std::uint64_t now);
  void advance_commit(std::uint64_t now);
  LogIndex quorum_match() const;
  bool hears_quorum(std::uint64_t now) const;
  std::uint64_t quorum_value(std::uint64_t (*value_of)(const Progress&), std::uint64_t own) const;

  // core_reads.cc
  void begin_round(std::uint64_t now);
  void acknowledged(Progress& progress, std::uint64_t round, std::uint64_t now);
  std::uint64_t lease_us() const;
  bool term_begun() const;
  void release_reads(std::uint64_t now);
  void refuse_reads();

  // core_membership.cc
  void continue_transfer(std::uint64_t now);
  void step_down_if_removed(std::uint64_t now);

  Options options_;
  Prng prng_;

  // Persistent (§3.3).
  Term term_{};
  ServerId vote_{};
  Log log_;
  Snapshot snapshot_;

  // Any role.
  Role role_ = Role::kFollower;
  ServerId leader_{};
  LogIndex commit_{};
  std::uint64_t election_deadline_ = 0;
  std::uint64_t promised_until_ = 0;  // no vote for anybody else before (§4.2.3)
  std::set<ServerId> votes_;
  Term answered_term_{};  // of the leader's last round that was answered
  std::uint64_t answered_round_ = 0;
  bool forced_ = false;  // candidate: the leader told it to
  std::optional<Incoming> incoming_;

  // Leader.
  std::map<ServerId, Progress> followers_;
  LogIndex term_start_{};  // its first entry
  LogIndex followed_{};    // the configuration that followers_ is made from
  std::uint64_t heartbeat_due_ = 0;
  std::uint64_t round_ = 0;
  std::uint64_t appends_ = 0;  // messages sent
  std::deque<Round> rounds_;   // those that a quorum may still have to answer, and the last that it has
  bool round_wanted_ = false;
  std::deque<OpenRead> reads_;
  bool lease_void_ = false;  // for the rest of the term
  ServerId transfer_to_{};
  std::uint64_t transfer_deadline_ = 0;
  bool timeout_sent_ = false;

  // The write that is being gathered, and what waits for writes.
  std::uint64_t sequence_ = 1;
  std::uint64_t durable_ = 0;
  std::uint64_t hard_sequence_ = 0;  // the write that has the present term and vote
  bool open_hard_ = false;
  bool open_snapshot_ = false;
  LogIndex open_first_{};
  std::deque<Write> writes_;
  LogIndex durable_index_{};
  std::deque<Held> held_;

  Effects effects_;
};

}  // namespace gallocy::raft
