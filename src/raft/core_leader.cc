// What a leader does: replication, heartbeats, commit.
#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "base/check.h"
#include "raft/core_send.h"

namespace gallocy::raft {

// The followers are those of the configuration in force.
void Core::follow_configuration(std::uint64_t now) {
  if (followed_ == configuration_index() && !followers_.empty()) return;
  followed_ = configuration_index();
  std::erase_if(followers_, [&](const auto& follower) { return !configuration().has(follower.first); });
  for (const auto* servers : {&configuration().voters, &configuration().learners}) {
    for (const ServerId server : *servers) {
      if (server == options_.self || followers_.contains(server)) continue;
      Progress& progress = followers_[server];
      progress.next = LogIndex{std::max(term_start_, commit_).value};
      progress.last_reply = now;
      progress.catch_up_goal = log_.last();
      progress.catch_up_began = now;
    }
  }
}

void Core::replicate(ServerId to, Progress& progress, std::uint64_t now) {
  // Whether its window is full or not: what is under way may be lost, and no heartbeat can show it any more.
  if (progress.state != Progress::State::kSnapshot && progress.next <= log_.base()) begin_snapshot(progress);
  while (progress.next <= log_.last() && progress.may_send(options_.window)) send_entries(to, progress, now);
  if (progress.state == Progress::State::kSnapshot) return send_snapshot(to, progress, now);
  // Nothing else tells a follower soon that what it has is committed.
  if (progress.state == Progress::State::kReplicate && progress.commit_sent < std::min(commit_, progress.match))
    send_append(to, progress, {}, now);
}

void Core::begin_snapshot(Progress& progress) {
  Bytes stream = snapshot_.configuration.encode();
  stream.insert(stream.end(), snapshot_.state->begin(), snapshot_.state->end());
  progress.begin_snapshot(snapshot_, std::make_shared<const Bytes>(std::move(stream)));
}

void Core::send_entries(ServerId to, Progress& progress, std::uint64_t now) {
  std::vector<Entry> entries;
  std::size_t bytes = 0;
  for (LogIndex i = progress.next; i <= log_.last(); ++i.value) {
    const std::size_t more = bytes_on_wire(log_.at(i));
    if (!entries.empty() && bytes + more > options_.batch_bytes) break;
    bytes += more;
    entries.push_back(log_.at(i));
  }
  const LogIndex last{progress.next.value + entries.size() - 1};
  send_append(to, progress, std::move(entries), now);
  progress.sent(last, bytes);
}

// After the entry before progress.next; if that is compacted away, a heartbeat that fits any log.
void Core::send_append(ServerId to, Progress& progress, std::vector<Entry> entries, std::uint64_t now) {
  LogIndex prev{progress.next.value - 1};
  if (prev < log_.base()) prev = LogIndex{};
  const Term prev_term = prev == LogIndex{} ? Term{} : log_.term_at(prev);
  progress.commit_sent = std::min(commit_, LogIndex{prev.value + entries.size()});
  send(to, Append{prev, prev_term, commit_, round_, ++appends_, std::move(entries)}, now);
}

void Core::send_snapshot(ServerId to, Progress& progress, std::uint64_t now) {
  const Bytes& stream = *progress.snapshot_stream;
  while (progress.sent_bytes < stream.size() &&
         progress.sent_bytes - progress.acked_bytes < options_.snapshot_window_bytes) {
    const auto rest = std::span(stream).subspan(progress.sent_bytes);
    const auto chunk = rest.first(std::min<std::size_t>(rest.size(), options_.batch_bytes));
    send(to,
         SnapshotChunk{progress.snapshot_index, progress.snapshot_term, stream.size(), progress.sent_bytes, round_,
                       Bytes(chunk.begin(), chunk.end())},
         now);
    progress.sent_bytes += chunk.size();
  }
}

// Also the time to repeat what may have been lost.
void Core::heartbeat(std::uint64_t now) {
  heartbeat_due_ = now + options_.heartbeat_us;
  for (auto& [server, progress] : followers_) {
    progress.probe_sent = false;
    progress.sent_bytes = progress.acked_bytes;
  }
  begin_round(now);
}

void Core::on(ServerId from, const AppendReply& m, std::uint64_t now) {
  if (role_ != Role::kLeader || !followers_.contains(from) || m.index > log_.last()) return;
  Progress& progress = followers_.at(from);
  acknowledged(progress, m.round, now);
  if (m.accepted) {
    progress.accepted(m.index);
    progress.note_catch_up(log_.last(), now, options_.election_timeout_us);
    return;
  }
  // Entries of later terms than the follower has at `index` cannot be where the logs part.
  LogIndex next = m.hint;
  if (m.hint_term != Term{} && m.index > log_.base()) {
    const LogIndex same = log_.last_up_to_term(LogIndex{m.index.value - 1}, m.hint_term);
    next = LogIndex{same.value + 1};
    if (log_.term_at(same) != m.hint_term) next = std::min(next, m.hint);
  }
  if (m.index != LogIndex{}) progress.refused(m.index, next, m.number, appends_);
}

void Core::on(ServerId from, const SnapshotReply& m, std::uint64_t now) {
  if (role_ != Role::kLeader || !followers_.contains(from)) return;
  Progress& progress = followers_.at(from);
  acknowledged(progress, m.round, now);
  if (progress.state != Progress::State::kSnapshot || m.index != progress.snapshot_index ||
      m.received > progress.snapshot_stream->size())
    return;
  progress.acked_bytes = m.received;
  progress.sent_bytes = std::max(progress.sent_bytes, m.received);
}

// The value that a quorum of the voters reaches; `own` is this server's.
std::uint64_t Core::quorum_value(std::uint64_t (*value_of)(const Progress&), std::uint64_t own) const {
  std::array<std::uint64_t, kMaxVoters + std::size_t{1}> values{};
  std::size_t count = 0;
  for (const ServerId server : configuration().voters)
    values[count++] = server == options_.self ? own : value_of(followers_.at(server));
  std::sort(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count), std::greater<>());
  const std::size_t needed =
      is(Mutant::kCommitWithoutQuorum) ? std::max<std::size_t>(1, count / 2) : configuration().quorum();
  return values[needed - 1];
}

LogIndex Core::quorum_match() const {
  const auto match = [](const Progress& p) { return p.match.value; };
  LogIndex quorum{quorum_value(match, durable_index().value)};
  if (is(Mutant::kLearnerCounts)) {
    for (const ServerId learner : configuration().learners) {
      if (learner != options_.self) quorum = std::max(quorum, followers_.at(learner).match);
    }
  }
  return quorum;
}

bool Core::hears_quorum(std::uint64_t now) const {
  const auto last_reply = [](const Progress& p) { return p.last_reply; };
  return quorum_value(last_reply, now) + options_.election_timeout_us > now;
}

// §3.6.2: an entry of a former term is committed only along with one of this term: that a majority has it does not mean
// that a later leader has (Figure 3.7).
void Core::advance_commit(std::uint64_t now) {
  const LogIndex index = quorum_match();
  if (index > commit_ && (log_.term_at(index) == term_ || is(Mutant::kCommitOlderTerm))) {
    const bool began = term_begun();
    commit_to(index);
    if (!began && term_begun() && !reads_.empty()) round_wanted_ = true;
  }
  continue_transfer(now);
  step_down_if_removed(now);
}

}  // namespace gallocy::raft
