// A server's disk in simulations.
#pragma once

#include <algorithm>

#include "base/check.h"
#include "raft/effects.h"

namespace gallocy::sim {

// What a disk has after a write.
inline void write(raft::PersistentState& disk, const raft::Persist& persist) {
  disk.term = persist.term;
  disk.vote = persist.vote;
  LogIndex first{disk.snapshot.index.value + 1};
  if (persist.snapshot) {
    const std::uint64_t gone = persist.snapshot->index.value - disk.snapshot.index.value;
    disk.entries.erase(disk.entries.begin(),
                       disk.entries.begin() + static_cast<std::ptrdiff_t>(std::min(gone, disk.entries.size())));
    disk.snapshot = *persist.snapshot;
    first = LogIndex{disk.snapshot.index.value + 1};
  }
  // Entries that the snapshot stands for need not be written.
  std::size_t skip = 0;
  if (persist.first < first) skip = std::min(first.value - persist.first.value, persist.entries.size());
  const std::uint64_t kept = std::max(persist.first, first).value - first.value;
  CHECK(kept <= disk.entries.size(), "a gap on the disk", kept, disk.entries.size());
  disk.entries.resize(kept);
  disk.entries.insert(disk.entries.end(), persist.entries.begin() + static_cast<std::ptrdiff_t>(skip),
                      persist.entries.end());
}

}  // namespace gallocy::sim
