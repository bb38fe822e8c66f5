// DurableJournal: the journal of durable memory (durable/journal.h) as what a raft::Store writes and finds: entries are
// pieces of notes, and a snapshot is the notes of all that there is. Pure.
#pragma once

#include <cstdint>
#include <span>

#include "durable/core.h"
#include "raft/effects.h"
#include "raft/types.h"
#include "wire/raft.h"

namespace gallocy::runtime {

struct DurableJournalOptions {
  std::size_t piece_bytes = wire::kMaxRaftEntryBytes;  // of notes that one entry has at most
  // Of notes that are worth writing everything anew for: so many, and so many times what was written anew last.
  std::size_t least_bytes = 64 << 20, least_times = 2;
};

class DurableJournal {
 public:
  explicit DurableJournal(NodeId self, const DurableJournalOptions& options = {}) : self_(self), options_(options) {}

  // Goes on after what the store has found. What that tells; its epoch is 0 if it is nothing. kProtocol: these are no
  // notes.
  Result<durable::Kept> recover(const raft::PersistentState& found);
  // To be written, after what was before. Their numbers (Persist::sequence) are 1, 2 …
  raft::Persist append(std::span<const durable::Note> notes);
  // In place of all that was before: that of the core, all of whose notes came before.
  raft::Persist anew(const durable::Core& core);
  bool has_grown() const;

 private:
  raft::Persist next();
  void append(const durable::Bytes& notes, raft::Persist& persist);

  NodeId self_;
  DurableJournalOptions options_;
  LogIndex last_{};
  std::uint64_t sequence_ = 0;
  std::size_t bytes_ = 0, bytes_anew_ = 0;  // since it was written anew; of that
};

}  // namespace gallocy::runtime
