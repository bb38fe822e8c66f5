// One seeded run: clients on all nodes transfer money between accounts, look at all of them at once, and write
// registers, while nodes die, join and leave; then everything has to come to rest.
#pragma once

#include <cstdint>

#include "durable/mutant.h"
#include "durable_clients.h"
#include "journal_disk.h"

namespace gallocy::sim {

struct DurableWorkload {
  bool crashes = true;
  bool joins = true;
  bool leaves = true;
  bool settles = true;     // those who joined take over their share of the blocks
  bool restarts = false;   // all nodes at once, with what is on their disks
  bool bystanders = true;  // in one schedule of three
  durable::Mutant mutant = durable::Mutant::kNone;
  raft::StoreMutant store_mutant = raft::StoreMutant::kNone;  // of the journals
  bool trace = false;
};

struct DurableReport : DurableClients::Counters {
  std::uint64_t digest = 0, messages = 0, epochs = 0, crashes = 0, joins = 0, leaves = 0, restarts = 0, settled = 0;
  std::uint64_t bystanders_died = 0, bystanders_left = 0, bystanders_committed = 0;
  JournalDisk::Counters disks;
};

DurableReport run_durable(std::uint64_t seed, const DurableWorkload& workload);

}  // namespace gallocy::sim
