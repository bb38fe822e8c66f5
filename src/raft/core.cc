#include "raft/core.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "raft/core_send.h"

namespace gallocy::raft {

Core::Core(const Options& options, const PersistentState& state, std::uint64_t seed, std::uint64_t now)
    : options_(options),
      prng_(seed),
      term_(state.term),
      vote_(state.vote),
      log_(state.snapshot, state.entries),
      snapshot_(state.snapshot),
      commit_(state.snapshot.index),
      durable_index_(log_.last()) {
  CHECK(options.self != kNoServer);
  CHECK(options.batch_bytes <= wire::kMaxRaftBatchBytes, options.batch_bytes);
  CHECK(options.heartbeat_us < options.election_timeout_us, options.heartbeat_us, options.election_timeout_us);
  CHECK(log_.last_term() <= term_, log_.last_term(), term_);
  if (snapshot_.index != LogIndex{}) effects_.restore = snapshot_;
  set_election_deadline(now);
  // What it promised a leader before it was restarted is forgotten: it waits that out. One without a disk promised
  // nothing: it is another server.
  if (options_.storage == Storage::kDurable && !is(Mutant::kNoQuietStart))
    promised_until_ = now + options_.election_timeout_us;
}

void Core::take_office(std::uint64_t now) {
  if (vote_ != options_.self) return;
  CHECK(role_ == Role::kFollower && commit_ == LogIndex{}, vote_, commit_);
  become_leader(now);
}

void Core::tick(std::uint64_t now) {
  if (role_ != Role::kLeader) {
    if (now < election_deadline_) return;
    if (may_campaign()) return campaign(is(Mutant::kNoPreVote) ? Ballot::kVote : Ballot::kPreVote, false, now);
    return set_election_deadline(now);
  }
  // §6.2: a leader that is cut off from the others makes room.
  if (!hears_quorum(now) && !is(Mutant::kNoCheckQuorum)) return become_follower(term_, kNoServer, now);
  if (transfer_to_ != kNoServer && now >= transfer_deadline_) transfer_to_ = kNoServer;
  if (now >= heartbeat_due_) heartbeat(now);
}

std::uint64_t Core::next_deadline() const { return role_ == Role::kLeader ? heartbeat_due_ : election_deadline_; }

bool Core::message(const Message& m, std::uint64_t now) {
  if (m.to != options_.self || m.from == options_.self) return true;
  const auto* vote = std::get_if<VoteRequest>(&m.what);
  // §4.2.3: whoever hears from a leader is deaf to candidates, so that servers that are cut off, or removed without
  // knowing it, depose nobody.
  if (vote != nullptr && !vote->transfer && promised(now)) return true;
  const bool from_leader = std::holds_alternative<Append>(m.what) || std::holds_alternative<SnapshotChunk>(m.what);
  if (m.term > term_) become_follower(m.term, from_leader ? m.from : kNoServer, now);
  if (m.term < term_) {
    // Its sender has to learn the term, else it would go on without an effect.
    if (from_leader) send(m.from, AppendReply{}, now);
    if (vote != nullptr) send(m.from, VoteReply{.ballot = vote->ballot, .for_term = m.term}, now);
    return true;
  }
  if (from_leader && !follow(m.from, now)) return false;
  if (vote != nullptr) return on(m.from, m.term, *vote, now), true;
  if (const auto* what = std::get_if<VoteReply>(&m.what)) return on(m.from, *what, now), true;
  if (const auto* what = std::get_if<Append>(&m.what)) return on(m.from, *what, now);
  if (const auto* what = std::get_if<AppendReply>(&m.what)) return on(m.from, *what, now), true;
  if (const auto* what = std::get_if<SnapshotChunk>(&m.what)) return on(m.from, *what, now);
  if (const auto* what = std::get_if<SnapshotReply>(&m.what)) return on(m.from, *what, now), true;
  return on(m.from, std::get<TimeoutNow>(m.what), now), true;
}

tl::expected<Proposed, Refusal> Core::propose(Bytes data) {
  if (role_ != Role::kLeader) return tl::unexpected(Refusal::kNotLeader);
  if (transfer_to_ != kNoServer) return tl::unexpected(Refusal::kTransferring);
  if (data.size() > wire::kMaxRaftEntryBytes) return tl::unexpected(Refusal::kTooLarge);
  if (log_.last().value - commit_.value >= options_.max_open_entries) return tl::unexpected(Refusal::kTooManyOpen);
  append({term_, EntryKind::kNormal, std::make_shared<const Bytes>(std::move(data))});
  return Proposed{log_.last(), term_};
}

void Core::flush(std::uint64_t now) {
  if (role_ != Role::kLeader) return;
  advance_commit(now);
  if (role_ != Role::kLeader) return;
  if (round_wanted_) begin_round(now);
  for (auto& [server, progress] : followers_) replicate(server, progress, now);
}

Effects Core::take_effects() {
  if (write_open()) {
    Persist& persist = effects_.persist.emplace();
    persist.sequence = sequence_;
    persist.term = term_;
    persist.vote = is(Mutant::kForgetVote) ? kNoServer : vote_;
    if (open_snapshot_) persist.snapshot = snapshot_;
    persist.first = LogIndex{log_.last().value + 1};
    if (open_first_ != LogIndex{}) {
      persist.first = std::max(open_first_, LogIndex{log_.base().value + 1});
      for (LogIndex i = persist.first; i <= log_.last(); ++i.value) persist.entries.push_back(log_.at(i));
    }
    writes_.push_back({sequence_, log_.last()});
    ++sequence_;
    open_hard_ = open_snapshot_ = false;
    open_first_ = LogIndex{};
  }
  return std::exchange(effects_, {});
}

void Core::persisted(std::uint64_t sequence, std::uint64_t now) {
  CHECK(sequence < sequence_, sequence, sequence_);
  durable_ = std::max(durable_, sequence);
  while (!writes_.empty() && writes_.front().sequence <= durable_) {
    durable_index_ = writes_.front().last;
    writes_.pop_front();
  }
  // Those that are released may be for this server itself, and lead to more.
  std::deque<Held> waiting = std::exchange(held_, {});
  for (Held& held : waiting) hold(std::move(held.message), held.after, now);
}

void Core::snapshot_taken(LogIndex index, Bytes state) {
  CHECK(index <= commit_, index, commit_);
  if (index <= snapshot_.index) return;
  snapshot_ = {index, log_.term_at(index), log_.configurations().at(index),
               std::make_shared<const Bytes>(std::move(state))};
  if (index.value > options_.trailing_entries) log_.compact_to(LogIndex{index.value - options_.trailing_entries});
  open_snapshot_ = options_.storage == Storage::kDurable;
}

void Core::hard_state_changed() {
  if (options_.storage == Storage::kVolatile) return;
  open_hard_ = true;
  hard_sequence_ = sequence_;
}

void Core::log_changed(LogIndex first) {
  if (options_.storage == Storage::kVolatile) return;
  open_first_ = open_first_ == LogIndex{} ? first : std::min(open_first_, first);
}

void Core::append(Entry entry) {
  log_.append(std::move(entry));
  log_changed(log_.last());
}

void Core::truncate_from(LogIndex index) {
  CHECK(index > commit_, index, commit_);
  const LogIndex last{index.value - 1};
  log_.truncate_from(index);
  log_changed(index);
  durable_index_ = std::min(durable_index_, last);
  for (Write& write : writes_) write.last = std::min(write.last, last);
}

LogIndex Core::durable_index() const {
  return options_.storage == Storage::kVolatile || is(Mutant::kAcknowledgeEarly) ? log_.last() : durable_index_;
}

void Core::hold(Message message, std::uint64_t after, std::uint64_t now) {
  if (after > durable_) {
    held_.push_back({after, std::move(message)});
  } else if (message.to == options_.self) {
    // A candidate's vote for itself, which counts once it is durable.
    if (message.term == term_) on(message.to, std::get<VoteReply>(message.what), now);
  } else {
    effects_.messages.push_back(std::move(message));
  }
}

void Core::commit_to(LogIndex index) {
  while (commit_ < index) {
    ++commit_.value;
    effects_.committed.push_back({commit_, log_.at(commit_)});
  }
}

}  // namespace gallocy::raft
