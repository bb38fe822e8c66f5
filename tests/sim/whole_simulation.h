// One seeded run of whole nodes: clients on all of them use durable memory, while nodes die, come back, join, settle,
// leave, are cut off and cut from each other, and threads use pages of coherent memory, take locks and enter sections.
// In the end everything is mended, and then: no acknowledged transaction or section is lost or torn, what clients saw
// is strictly serializable, nobody waits, everything is at as many nodes as it should be and at those where it should
// be, each page that is not lost with a node is coherent, and no lock had two living holders, or a dead one of whom
// nobody was told.
#pragma once

#include <cstdint>

#include "durable_clients.h"
#include "lock_threads.h"
#include "page_threads.h"
#include "section_threads.h"
#include "whole_cluster.h"

namespace gallocy::sim {

struct WholeWorkload {
  bool crashes = true;
  bool cuts = true;
  bool joins = true;
  bool settles = true;   // those who join take over their share of durable memory, or some do
  bool leaves = true;    // in order, with coherent memory
  bool coherent = true;  // with coherent memory, locks and sections: nodes come back as somebody else; without, in
                         // another life, too
  bool trace = false;    // of that memory
  WholeBug bug = WholeBug::kNone;
};

struct WholeReport : DurableClients::Counters {
  PageThreads::Counters pages;
  WholeMemory::Counters memory;
  LockThreads::Counters waits;
  LockLedger::Counters locks;
  SectionThreads::Counters sections;
  WholeLeaves::Counters leaves;
  std::uint64_t digest = 0, messages = 0, crashes = 0, cuts = 0, silences = 0, joins = 0, deaths = 0, settled = 0;
};

WholeReport run_whole(std::uint64_t seed, const WholeWorkload& workload);

}  // namespace gallocy::sim
