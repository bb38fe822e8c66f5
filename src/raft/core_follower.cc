// What a follower does with what its leader sends: entries, snapshots.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "raft/core_send.h"

namespace gallocy::raft {
namespace {

// More than any state machine of ours has; a leader that announces more is not believed.
constexpr std::uint64_t kMaxSnapshotBytes = std::uint64_t{1} << 30;

}  // namespace

// A message of the present term came from its leader. False: the term has another one.
bool Core::follow(ServerId from, std::uint64_t now) {
  if (role_ == Role::kLeader || (leader_ != kNoServer && leader_ != from)) return false;
  if (role_ != Role::kFollower) become_follower(term_, from, now);
  leader_ = from;
  promised_until_ = now + options_.election_timeout_us;
  set_election_deadline(now);
  return true;
}

bool Core::on(ServerId from, const Append& m, std::uint64_t now) {
  const bool unchecked = is(Mutant::kSkipPrevCheck) && m.prev <= log_.last();
  if (m.prev >= log_.base() && !log_.matches(m.prev, m.prev_term) && !unchecked) {
    if (m.prev <= commit_) return false;
    send_when_durable(from, refusal(m), now);
    return true;
  }
  if (!take_entries(m)) return false;
  const LogIndex end{m.prev.value + m.entries.size()};
  commit_to(std::min(m.commit, is(Mutant::kCommitBeyondMatch) ? log_.last() : end));
  // Without entries, in a round that was answered: it tells what is committed, and nobody waits for an answer.
  if (m.entries.empty() && answered_term_ == term_ && answered_round_ == m.round) return true;
  answered_term_ = term_;
  answered_round_ = m.round;
  // What was committed is the same in all logs, whether this message spoke of it or not (§3.6.3).
  send_when_durable(
      from, AppendReply{.accepted = true, .index = std::max(end, commit_), .round = m.round, .number = m.number}, now);
  return true;
}

// §3.5: an entry that conflicts goes, with all that follow. One that is there already stays, and so does what follows
// it: messages may be repeated and come late.
bool Core::take_entries(const Append& m) {
  LogIndex index = m.prev;
  Term before = m.prev_term;
  for (const Entry& entry : m.entries) {
    ++index.value;
    if (entry.term < before || entry.term > term_) return false;
    before = entry.term;
    if (index <= log_.base()) continue;
    if (index <= log_.last()) {
      if (log_.term_at(index) == entry.term) continue;
      if (index <= commit_) return false;
      truncate_from(index);
    }
    // The first entry after a compacted prefix has no entry before it in the message to be measured by.
    if (entry.term < log_.last_term()) return false;
    append(entry);
  }
  if (is(Mutant::kTruncateAlways)) truncate_from(std::max(LogIndex{index.value + 1}, LogIndex{commit_.value + 1}));
  return true;
}

// §3.5, page 21: the leader can leave out all entries of a term at once.
AppendReply Core::refusal(const Append& m) const {
  AppendReply reply{.accepted = false,
                    .index = m.prev,
                    .hint = LogIndex{log_.last().value + 1},
                    .round = m.round,
                    .number = m.number};
  if (log_.has(m.prev)) {
    reply.hint_term = log_.term_at(m.prev);
    reply.hint = log_.first_of_term(m.prev);
  }
  return reply;
}

bool Core::on(ServerId from, const SnapshotChunk& m, std::uint64_t now) {
  if (m.index <= commit_) {
    send_when_durable(from, AppendReply{.accepted = true, .index = commit_, .round = m.round}, now);
    return true;
  }
  if (m.total_bytes > kMaxSnapshotBytes || m.term > term_ || m.offset > m.total_bytes ||
      m.bytes.size() > m.total_bytes - m.offset)
    return false;
  // Another leader may write the same state in another way: its chunks do not fit to those of this one.
  const bool same = incoming_ && incoming_->index == m.index && incoming_->term == m.term &&
                    incoming_->leader_term == term_ && incoming_->total_bytes == m.total_bytes;
  if (!same) incoming_ = Incoming{m.index, m.term, term_, m.total_bytes, {}};
  Bytes& bytes = incoming_->bytes;
  if (m.offset == bytes.size() || is(Mutant::kChunkAnywhere)) bytes.insert(bytes.end(), m.bytes.begin(), m.bytes.end());
  if (bytes.size() < m.total_bytes) {
    send(from, SnapshotReply{m.index, bytes.size(), m.round}, now);
    return true;
  }
  if (!install(*std::exchange(incoming_, std::nullopt))) return false;
  send_when_durable(from, AppendReply{.accepted = true, .index = commit_, .round = m.round}, now);
  return true;
}

// §5.1: the snapshot replaces a log that does not lead up to it; a log that goes beyond it keeps the rest.
bool Core::install(Incoming incoming) {
  wire::ByteReader reader(incoming.bytes);
  auto configuration = Configuration::decode(reader);
  if (!configuration) return false;
  const auto state = reader.get_bytes(reader.left());
  snapshot_ = {incoming.index, incoming.term, *std::move(configuration),
               std::make_shared<const Bytes>(state.begin(), state.end())};
  const bool keeps =
      log_.matches(incoming.index, incoming.term) || (is(Mutant::kSnapshotKeepsLog) && log_.has(incoming.index));
  if (keeps) {
    log_.compact_to(incoming.index);
  } else {
    log_.reset(snapshot_);
    durable_index_ = std::min(durable_index_, incoming.index);
    for (Write& write : writes_) write.last = std::min(write.last, incoming.index);
    log_changed(LogIndex{incoming.index.value + 1});
  }
  commit_ = incoming.index;
  effects_.committed.clear();
  effects_.restore = snapshot_;
  open_snapshot_ = options_.storage == Storage::kDurable;
  return true;
}

}  // namespace gallocy::raft
