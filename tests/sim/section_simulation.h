// One seeded run: clients on all nodes enter sections of durable locks, load and store cells there, and commit or roll
// back, while nodes die at any step. In some runs nothing else happens, and locks pass on only as they should: then no
// section may have a conflict. In others locks pass on while their holders live, and transactions go past them: then
// sections may have conflicts. In all of them what happened is strictly serializable.
#pragma once

#include <cstdint>

#include "durable/mutant.h"

namespace gallocy::sim {

// Bugs of the driver of sections.
enum class SectionMisuse : std::uint8_t {
  kNone,
  kLateTwin,      // the first store to a page is made before its twin
  kCommitByPage,  // the pages are committed one by one
  kKeepPages,     // what a section fetched is there for the next one of the same node
  kPassEarly,     // the lock passes on before the commit has been acknowledged
  kPassInEpoch,   // the lock of a dead node passes on before the log says that it is dead
  kCommitAnyway,  // what is rolled back is committed
};

struct SectionWorkload {
  bool crashes = true;
  bool restarts = false;  // nodes start again, with what is on their disks
  bool orderly = true;    // nothing but sections, and locks as they should be
  durable::Mutant mutant = durable::Mutant::kNone;
  SectionMisuse misuse = SectionMisuse::kNone;
  bool trace = false;
};

struct SectionReport {
  std::uint64_t digest = 0, messages = 0, epochs = 0, crashes = 0, restarts = 0;
  std::uint64_t committed = 0, several = 0, conflicts = 0, rolled_back = 0;  // several: in more than one company
  std::uint64_t unknown = 0;                                                 // the node died before the answer
  std::uint64_t cut_off = 0;                                                 // the node died within it
  std::uint64_t owner_died = 0;                                              // entered after that
  std::uint64_t transactions = 0;                                            // that went past the locks
};

SectionReport run_sections(std::uint64_t seed, const SectionWorkload& workload);

}  // namespace gallocy::sim
