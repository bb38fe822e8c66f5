// Which pages hold mutexes that threads of this node have or are taking. A page that another node wants stays until
// they are released (Core::locked): it would be of no use there, and come back for the release.
//
// The notes are the program's own: preload/held_locks.c, around the C library's functions. They say when a page should
// leave, not whether a lock is taken, so a wrong one costs time only.
//
// Threads: any. A thread notes its own locks; others may ask.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "base/ids.h"

namespace gallocy::personality {

// By page number modulo kCounts: the taken locks, and kWanted once another node has asked.
class HeldLocks {
 public:
  static constexpr std::size_t kCounts = 4096;
  static constexpr std::uint32_t kWanted = 1u << 31;
  static constexpr std::size_t kMostOfThread = 7;

  // Another node wants the page. True: it should stay until released() is due. A page that was wanted before during the
  // same locks has waited its time.
  bool keeps(std::uint64_t page);
  // The locks of a page were released: true if another node waits for that.
  bool released(std::uint64_t page);

  void add(std::uint64_t page) { count(page).fetch_add(1, std::memory_order_relaxed); }
  // True if the page was wanted and this was its last lock.
  bool take_out(std::uint64_t page) { return count(page).fetch_sub(1, std::memory_order_relaxed) - 1 == kWanted; }

  std::atomic<std::uint32_t>* counts() { return counts_.data(); }

 private:
  std::atomic<std::uint32_t>& count(std::uint64_t page) { return counts_[page % kCounts]; }

  std::array<std::atomic<std::uint32_t>, kCounts> counts_{};
};

// The system call of the preloaded library when the last lock of a wanted page is released; its argument is the page's
// number. Not one of Linux.
inline constexpr int kReleaseCall = 0x6c71;

}  // namespace gallocy::personality
