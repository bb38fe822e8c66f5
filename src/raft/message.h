// Message: what one server says to another. encode() and decode() are its form on the wire (wire/raft.h).
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "raft/types.h"
#include "wire/frame.h"
#include "wire/raft.h"

namespace gallocy::raft {

enum class Ballot : std::uint8_t {
  kVote,     // in the term of the message
  kPreVote,  // would you vote for me in the next term? Changes nothing (§9.6)
};

struct VoteRequest {
  Ballot ballot = Ballot::kVote;
  bool transfer = false;  // the leader told the candidate to (§3.10)
  LogIndex last_index{};
  Term last_term{};
};

struct VoteReply {
  Ballot ballot = Ballot::kVote;
  bool granted = false;
  Term for_term{};
};

// AppendEntries (§3.5); without entries also the heartbeat.
struct Append {
  LogIndex prev{};
  Term prev_term{};
  LogIndex commit{};
  std::uint64_t round = 0;
  std::uint64_t number = 0;  // of the message; the reply repeats it
  std::vector<Entry> entries;
};

struct AppendReply {
  bool accepted = false;
  LogIndex index{};  // accepted: up to where the logs agree; refused: the `prev` of the request
  LogIndex hint{};
  Term hint_term{};
  std::uint64_t round = 0;
  std::uint64_t number = 0;
};

// InstallSnapshot (§5.3): a part of the encoded configuration followed by the state.
struct SnapshotChunk {
  LogIndex index{};
  Term term{};
  std::uint64_t total_bytes = 0;
  std::uint64_t offset = 0;
  std::uint64_t round = 0;
  Bytes bytes;
};

struct SnapshotReply {
  LogIndex index{};
  std::uint64_t received = 0;
  std::uint64_t round = 0;
};

struct TimeoutNow {};

struct Message {
  ServerId from{};
  ServerId to{};
  Term term{};  // of the sender
  std::variant<VoteRequest, VoteReply, Append, AppendReply, SnapshotChunk, SnapshotReply, TimeoutNow> what;
};

wire::MessageType type_of(const Message& message);
Bytes encode(const Message& message);
// Nothing, if these bytes are no message.
std::optional<Message> decode(wire::MessageType type, std::span<const std::byte> body);

// What an entry adds to a batch.
inline std::size_t bytes_on_wire(const Entry& entry) { return sizeof(wire::RaftEntry) + entry.bytes().size(); }

}  // namespace gallocy::raft
