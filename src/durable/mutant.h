// Bugs that can be built into the core and into sections, to see whether the simulations find them. Only where
// GALLOCY_DURABLE_MUTANTS is defined, which tests/sim does for its own copy of the layer.
#pragma once

namespace gallocy::durable {

enum class Mutant : unsigned char {
  kNone,
  kAcknowledgeEarly,     // the caller is told before the last member has the record
  kKeepVotes,            // votes of the epoch before count
  kAcceptStale,          // messages of an older epoch are taken
  kSkipCompare,          // comparisons are not made
  kNoSharedLocks,        // what a transaction compares may be written before it is decided
  kNoLocks,              // a prepare does not look for other transactions
  kReadThroughLock,      // reads do not wait for the decision
  kUnlockEarly,          // the writes are applied as soon as they are prepared
  kForgetPrepared,       // a new primary forgets what is not decided
  kKeepOrphans,          // a backup keeps records that its new primary does not have
  kNotSettled,           // a new primary refuses and answers before its company has its records
  kCommitAlone,          // of a dead coordinator: commits without asking the other companies
  kAbortOnDeath,         // of a dead coordinator: aborts without asking the other companies
  kForgetEarly,          // the coordinator lets records be forgotten when it has decided
  kForgetWhenCommitted,  // of a dead coordinator: forgets when the others know the decision, but not yet their backups
  kDoneEarly,            // a primary says that all have applied when it has
  kSyncWithoutRecords,   // a new member of a company gets no records
  kApplyAgain,           // a backup applies what it had applied and forgotten
  kKeepApplied,          // what was applied to an image that is being restored is not applied again
  kRestoredEarly,        // a member takes its image for complete after the first page
  kNoRestore,            // a new member of a company gets no image
  kReleaseEarly,         // a member that leaves is let go before what it keeps is at another
  kSettleEarly,          // a member that settles goes on before all images are complete
  kBlindSection,         // a section compares nothing
  kReadPastComparisons,  // no read waits for comparisons
  kRefuseUnheard,        // a prepare does not wait for news of a record of an epoch before
  kReadUnsettled,        // a section reads before the company has its new primary's records
  kForgetReadPages,      // a section compares only the pages that it may write
  kNoteNoRecords,        // what was prepared is not in the journal
  kNoteNoErasure,        // nor that a record is gone
  kBystanderKeeps,       // (the driver) nobody is told who keeps no blocks
  kTellUnwritten,        // (the driver) what follows from a note is told before that is on disk
};

}  // namespace gallocy::durable
