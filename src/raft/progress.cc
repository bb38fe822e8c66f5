#include "raft/progress.h"

#include <algorithm>
#include <utility>

namespace gallocy::raft {

bool Progress::may_send(const ProgressOptions& options) const {
  if (state == State::kProbe) return !probe_sent;
  return state == State::kReplicate && window.size() < options.window_messages &&
         bytes_under_way < options.window_bytes;
}

void Progress::sent(LogIndex last, std::size_t bytes) {
  if (state == State::kProbe) {
    probe_sent = true;
    return;
  }
  next = LogIndex{last.value + 1};
  window.push_back({last, bytes});
  bytes_under_way += bytes;
}

bool Progress::accepted(LogIndex index) {
  while (!window.empty() && window.front().last <= index) {
    bytes_under_way -= window.front().bytes;
    window.pop_front();
  }
  const bool news = index > match;
  match = std::max(match, index);
  next = std::max(next, LogIndex{match.value + 1});
  if (state == State::kSnapshot) {
    if (match >= snapshot_index) end_snapshot();
  } else if (state == State::kProbe && (news || index.value + 1 == next.value)) {
    state = State::kReplicate;
    probe_sent = false;
  }
  return news;
}

void Progress::refused(LogIndex prev, LogIndex try_next, std::uint64_t number, std::uint64_t newest) {
  if (state == State::kSnapshot || prev <= match || number <= probing_after) return;
  probe_from(std::clamp(try_next, LogIndex{match.value + 1}, prev));
  probing_after = newest;
}

void Progress::probe_from(LogIndex index) {
  state = State::kProbe;
  next = index;
  probe_sent = false;
  window.clear();
  bytes_under_way = 0;
}

void Progress::begin_snapshot(const Snapshot& snapshot, std::shared_ptr<const Bytes> stream) {
  probe_from(next);
  state = State::kSnapshot;
  snapshot_index = snapshot.index;
  snapshot_term = snapshot.term;
  snapshot_stream = std::move(stream);
  sent_bytes = acked_bytes = 0;
}

void Progress::end_snapshot() {
  snapshot_stream.reset();
  probe_from(LogIndex{match.value + 1});
}

void Progress::note_catch_up(LogIndex leader_last, std::uint64_t now, std::uint64_t election_timeout_us) {
  if (match < catch_up_goal) return;
  caught_up = now - catch_up_began < election_timeout_us;
  catch_up_goal = leader_last;
  catch_up_began = now;
}

}  // namespace gallocy::raft
