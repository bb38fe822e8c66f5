// Bugs that the tests build into the core and the store, to see that they are found. Only tests/sim compiles the layer
// with GALLOCY_RAFT_MUTANTS; everywhere else the conditions vanish.
#pragma once

namespace gallocy::raft {

#ifdef GALLOCY_RAFT_MUTANTS
constexpr bool kHasMutants = true;
#else
constexpr bool kHasMutants = false;
#endif

enum class Mutant : unsigned char {
  kNone,
  kCommitOlderTerm,      // counts replicas of entries of former terms (Figure 3.7; Figure 8 of the paper)
  kVoteForShorterLog,    // leaves out the check of §3.6.1
  kVoteTwice,            // forgets whom it voted for in this term
  kForgetVote,           // the vote is not made durable
  kAcknowledgeEarly,     // promises before they are durable
  kChangeBeforeNoOp,     // begins a change before an entry of its term is committed
  kChangeWhilePending,   // begins a change while another is not committed
  kCommitWithoutQuorum,  // half is enough
  kTruncateAlways,       // an Append cuts off whatever follows its entries (reordering!)
  kSkipPrevCheck,        // takes entries whatever is before them
  kLearnerCounts,        // learners' acknowledgements count for the commit
  kLeaseTooLong,         // the lease leaves the drift of clocks out of account, and more
  kLeaseFromReply,       // the lease begins with the answer, not with the question
  kLeaseAfterTransfer,   // a leader that sent TimeoutNow trusts its lease
  kNoQuietStart,         // a restarted server forgets what it promised the leader, and votes
  kReadWithoutRound,     // reads of a leader that does not ask whether it is leader
  kReadBeforeNoOp,       // reads of a new leader that does not know what is committed
  kCommitBeyondMatch,    // a follower takes the leader's commit index for its own log
  kSnapshotKeepsLog,     // installs a snapshot and keeps entries that contradict it
  kChunkAnywhere,        // puts chunks of snapshots together in the order of arrival
  kNoCheckQuorum,        // a leader that hears nobody stays
  kNoPreVote,            // whoever hears nothing raises the term
};

// Of the log on disk (store.h). The simulation of durable memory has them, whose journal is such a log.
enum class StoreMutant : unsigned char {
  kNone,
  kNoChecksum,   // a record's checksum is not looked at
  kTrustCache,   // what is found is taken for durable
  kPastTear,     // recovery goes on behind a record that is torn
  kStopEarly,    // it takes the batch before a torn record for torn, too
  kHalfBatch,    // it takes what there is of a batch that has no end
  kKeepTear,     // the torn end is left in the file, and the next write comes after it
  kNoSync,       // a write returns before its bytes are durable
  kNoNameSync,   // or before it is durable that its file is there
  kEarlyName,    // a snapshot gets its name before its bytes are durable
  kForgetEarly,  // the snapshot before is removed before the new one is durable
  kForgetMany,   // segments that a snapshot stands for are removed in any order
};

}  // namespace gallocy::raft
