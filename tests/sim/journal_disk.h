// JournalDisk: a node's disk with the journal of its durable memory. The notes become records, segments and snapshots,
// and are found again, by what does it in a node (runtime/durable_journal.h, raft/store.h); only the files and the time
// that a write takes are the simulation's. As runtime/disk_writer.h does it, all that comes during one write is the
// next.
#pragma once

#include <optional>
#include <vector>

#include "base/prng.h"
#include "raft/testing/torn_files.h"
#include "runtime/durable_journal.h"

namespace gallocy::sim {

struct JournalDiskOptions {
  raft::StoreOptions store;
  runtime::DurableJournalOptions journal;
};

class JournalDisk {
 public:
  // What shows that the disk was as bad as it can be.
  struct Counters {
    std::uint64_t torn = 0;         // ends of writes that were cut off
    std::uint64_t anew = 0;         // ends in the midst of writing everything anew
    std::uint64_t interrupted = 0;  // ends in the midst of a recovery
  };

  // `seed`: of what becomes of it. Chance is its own, so that a disk changes nothing for whoever has none.
  JournalDisk(NodeId self, const JournalDiskOptions& options, std::uint64_t seed)
      : self_(self), options_(options), prng_(seed) {}

  // The node starts: what it had. Its epoch is 0 if there is nothing.
  durable::Kept start();
  std::uint64_t write(std::span<const durable::Note> notes) { return write(journal_->append(notes)); }
  std::uint64_t write_anew(const durable::Core& core) { return write(journal_->anew(core)); }
  bool has_grown() const { return journal_->has_grown(); }

  bool is_busy() const { return !waiting_.empty() || !under_way_.empty(); }
  bool is_writing_anew() const;
  // Begins a write, or ends it. The number of the last that is on disk.
  std::uint64_t go_on();
  // The node ends, wherever the write is that is under way.
  void end();

  const Counters& counters() const { return counters_; }

 private:
  // How a node ends: its process alone, whose writes are in the page cache; or the machine with it.
  enum class Ending : std::uint8_t { kProcess, kPower };

  std::uint64_t write(raft::Persist persist);
  Result<> open(raft::PersistentState& found, std::vector<std::string>& said);
  void ends(Ending ending);

  NodeId self_;
  JournalDiskOptions options_;
  Prng prng_;
  raft::TornFiles files_{raft::TornFiles::Counts::kCalls};
  std::optional<raft::Store> store_;
  std::optional<runtime::DurableJournal> journal_;
  std::vector<raft::Persist> waiting_, under_way_;
  std::uint64_t written_ = 0;
  Counters counters_;
};

}  // namespace gallocy::sim
