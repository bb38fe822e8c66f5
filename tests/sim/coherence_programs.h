// The programs of the simulated threads. Each checks what it can know by itself; that every read sees the latest write
// is checked below them, by the cluster.
#pragma once

#include <cstdint>
#include <vector>

#include "base/prng.h"
#include "coherence_cluster.h"
#include "coherence_program.h"

namespace gallocy::sim {

inline constexpr unsigned kFreeWords = kPageWords / 2;

// Reads and writes anywhere in the pages.
Program random_accesses(Prng prng, std::vector<PageId> pages, unsigned accesses, unsigned writes_percent);
// From page to page, `words` words of each.
Program stream(Prng prng, PageId first, unsigned pages, unsigned words, Access access);
// Reads and then writes the words of a page, in turn with the others that share `turn`.
struct Turn {
  unsigned next = 0, parties = 0;
};
Program migratory(Turn& turn, unsigned me, Address counter, unsigned rounds);
// A consumer sees the items of its producer whole and in order.
Program producer(PageId buffer, PageId flag, unsigned items);
Program consumer(Prng prng, PageId buffer, PageId flag, unsigned items);
// Each thread has its own word of the same pages.
Program own_words(Prng prng, std::vector<PageId> pages, unsigned word, unsigned rounds);
// Adds to shared counters.
Program counting(Prng prng, std::vector<Address> counters, unsigned additions);
// Pins runs of pages, ascending, and accesses them without a fault.
Program pinning(Prng prng, PageId first, unsigned pages, unsigned rounds);

// A ring of pointers: word 0 of cell i's address is the index of the next cell, word 1 its lock. Each round swaps two
// neighbours somewhere (FoundationDB's Cycle workload).
struct Ring {
  std::vector<Address> next;
  std::vector<Address> locks;
};
Program ring_init(const Ring& ring, bool& ready);
Program ring_swaps(Prng prng, const Ring& ring, const bool& ready, unsigned swaps);

}  // namespace gallocy::sim
