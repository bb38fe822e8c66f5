#include "personality/held_locks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "personality/guest_entry.h"

asm(".section .rodata\n"
    ".globl gallocy_preload, gallocy_preload_end\n"
    ".balign 16\n"
    "gallocy_preload: .incbin \"" GALLOCY_PRELOAD_IMAGE
    "\"\n"
    "gallocy_preload_end:\n"
    ".text\n");
extern "C" const std::byte gallocy_preload[], gallocy_preload_end[];

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

std::span<const std::byte> preload_image() { return {gallocy_preload, gallocy_preload_end}; }

std::string_view preload_path() { return GALLOCY_PRELOAD_PATH; }

std::vector<std::string> with_preload(std::vector<std::string> environment) {
  constexpr std::string_view kName = "LD_PRELOAD=";
  const auto found =
      std::ranges::find_if(environment, [&](const std::string& variable) { return variable.starts_with(kName); });
  if (found == environment.end()) {
    environment.push_back(fmt::format("{}{}", kName, preload_path()));
  } else {
    const std::string others = found->substr(kName.size());
    *found = fmt::format("{}{}{}{}", kName, preload_path(), others.empty() ? "" : ":", others);
  }
  return environment;
}

}  // namespace gallocy::personality
