// The messages of Raft (src/raft), between the servers of one company. Each body is a RaftHead, then the struct of its
// type, then for some types a tail. docs/protocol.md has the table of who sends which to whom, and when.
#pragma once

#include <cstdint>

#include "wire/frame.h"

namespace gallocy::wire {

inline constexpr MessageType kRaftVote{0x800};           // RaftVote
inline constexpr MessageType kRaftVoteReply{0x801};      // RaftVoteReply
inline constexpr MessageType kRaftAppend{0x802};         // RaftAppend, then `count` times (RaftEntry, its bytes)
inline constexpr MessageType kRaftAppendReply{0x803};    // RaftAppendReply
inline constexpr MessageType kRaftSnapshot{0x804};       // RaftSnapshot, then a chunk of the snapshot
inline constexpr MessageType kRaftSnapshotReply{0x805};  // RaftSnapshotReply
inline constexpr MessageType kRaftTimeoutNow{0x806};     // nothing but the head

struct RaftHead {
  std::uint64_t from = 0;  // ServerId
  std::uint64_t to = 0;    // ServerId: another life of the receiver's node is not meant
  std::uint64_t term = 0;  // of the sender
};
static_assert(sizeof(RaftHead) == 24);

struct RaftVote {
  std::uint64_t last_index = 0;  // of the candidate's log
  std::uint64_t last_term = 0;
  std::uint32_t pre = 0;       // 1: would you vote for me in the next term?
  std::uint32_t transfer = 0;  // 1: the leader told me to
};
static_assert(sizeof(RaftVote) == 24);

struct RaftVoteReply {
  std::uint64_t for_term = 0;  // in which the vote is given
  std::uint32_t pre = 0;
  std::uint32_t granted = 0;
};
static_assert(sizeof(RaftVoteReply) == 16);

struct RaftAppend {
  std::uint64_t prev = 0;  // LogIndex of the entry before the first one
  std::uint64_t prev_term = 0;
  std::uint64_t commit = 0;  // of the leader
  std::uint64_t round = 0;   // of heartbeats; comes back with the reply
  std::uint64_t number = 0;  // of the message in its term; comes back too
  std::uint32_t count = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(RaftAppend) == 48);

struct RaftEntry {
  std::uint64_t term = 0;
  std::uint32_t bytes = 0;
  std::uint32_t kind = 0;  // raft::EntryKind
};
static_assert(sizeof(RaftEntry) == 16);

struct RaftAppendReply {
  std::uint64_t index = 0;      // accepted: the logs agree up to here; otherwise: the `prev` that was refused
  std::uint64_t hint = 0;       // refused: first index of hint_term here, or of nothing at all
  std::uint64_t hint_term = 0;  // refused: the term here at `prev`; 0: the log is shorter
  std::uint64_t round = 0;
  std::uint64_t number = 0;
  std::uint32_t accepted = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(RaftAppendReply) == 48);

struct RaftSnapshot {
  std::uint64_t index = 0;  // LogIndex of the last entry that it contains
  std::uint64_t term = 0;   // of that entry
  std::uint64_t total_bytes = 0;
  std::uint64_t offset = 0;  // of this chunk
  std::uint64_t round = 0;
};
static_assert(sizeof(RaftSnapshot) == 40);

struct RaftSnapshotReply {
  std::uint64_t index = 0;
  std::uint64_t received = 0;  // bytes, without a gap
  std::uint64_t round = 0;
};
static_assert(sizeof(RaftSnapshotReply) == 24);

// An entry travels whole in the body of one frame, as the only one of a RaftAppend if need be.
inline constexpr std::uint32_t kMaxRaftBatchBytes = kMaxBodyBytes - sizeof(RaftHead) - sizeof(RaftAppend);
inline constexpr std::uint32_t kMaxRaftEntryBytes = kMaxRaftBatchBytes - sizeof(RaftEntry);
inline constexpr std::uint32_t kMaxRaftChunkBytes = kMaxBodyBytes - sizeof(RaftHead) - sizeof(RaftSnapshot);

}  // namespace gallocy::wire
