// Progress: what a leader knows of one follower, and what it may send to it next (§10.2.1).
//
//            accepted                            next entry compacted away
//   kProbe ------------> kReplicate    kProbe ------------------------------> kSnapshot
//     ^  <-- refused ---     |                                                    |
//     |______________________|__________ installed, or the snapshot is superseded _|
//
// While probing, the leader does not know where the logs part: one message at a time. Replicating, it sends ahead of
// the answers, at most a window of messages and bytes. A lost message shows at the next heartbeat, which is refused.
#pragma once

#include <deque>
#include <optional>

#include "raft/message.h"

namespace gallocy::raft {

struct ProgressOptions {
  std::size_t window_messages = 64;
  std::size_t window_bytes = 1 << 20;
};

struct Progress {
  enum class State : std::uint8_t { kProbe, kReplicate, kSnapshot };

  State state = State::kProbe;
  LogIndex match{};  // the logs agree up to here
  LogIndex next{1};  // the first entry to send
  bool probe_sent = false;
  std::uint64_t probing_after = 0;  // the last message sent when probing began
  LogIndex commit_sent{};
  std::uint64_t last_reply = 0;   // when, microseconds
  std::uint64_t acked_round = 0;  // the latest round of heartbeats that it answered

  // Messages under way: the last index and the size of each.
  struct Sent {
    LogIndex last{};
    std::size_t bytes = 0;
  };
  std::deque<Sent> window;
  std::size_t bytes_under_way = 0;

  // kSnapshot: the one that is sent. It stays the same when the leader takes a newer one meanwhile.
  LogIndex snapshot_index{};
  Term snapshot_term{};
  std::shared_ptr<const Bytes> snapshot_stream;
  std::uint64_t sent_bytes = 0;
  std::uint64_t acked_bytes = 0;

  // §4.2.1: how long the last round of catching up took. A round ends when the follower has what the leader had at
  // its beginning.
  LogIndex catch_up_goal{};
  std::uint64_t catch_up_began = 0;
  bool caught_up = false;

  bool may_send(const ProgressOptions& options) const;
  void sent(LogIndex last, std::size_t bytes);
  // True: more entries are known to be there than before.
  bool accepted(LogIndex index);
  // The follower lacks the entry `prev` of message `number`. `newest`: the last message sent to anybody. What was under
  // way then may be refused too, for the same reason: only messages after it count, or a network that reorders would
  // have each refusal bring forth a window of messages, many of which are refused.
  void refused(LogIndex prev, LogIndex try_next, std::uint64_t number, std::uint64_t newest);
  void begin_snapshot(const Snapshot& snapshot, std::shared_ptr<const Bytes> stream);
  void end_snapshot();
  void note_catch_up(LogIndex leader_last, std::uint64_t now, std::uint64_t election_timeout_us);

 private:
  void probe_from(LogIndex index);
};

}  // namespace gallocy::raft
