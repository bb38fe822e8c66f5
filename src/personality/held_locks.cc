#include "personality/held_locks.h"

#include <cstddef>

#include "personality/guest_entry.h"

namespace gallocy::personality {

// What preload/held_locks.c relies on.
static_assert(HeldLocks::kCounts == 4096 && HeldLocks::kWanted == 1u << 31 && kReleaseCall == 0x6c71);
static_assert(HeldLocks::kMostOfThread == 7 && kPageBytes == 1 << 12);
static_assert(offsetof(GuestThread, lock_counts) == 88 && offsetof(GuestThread, held_count) == 96);
static_assert(offsetof(GuestThread, held_pages) == 104);

bool HeldLocks::keeps(std::uint64_t page) {
  auto& locks = count(page);
  std::uint32_t seen = locks.load();
  do {
    if ((seen & ~kWanted) == 0 || (seen & kWanted) != 0) return false;
  } while (!locks.compare_exchange_weak(seen, seen | kWanted));
  return true;
}

bool HeldLocks::released(std::uint64_t page) {
  std::uint32_t wanted = kWanted;
  return count(page).compare_exchange_strong(wanted, 0);
}

}  // namespace gallocy::personality
