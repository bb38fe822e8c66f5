// ZeroedPages: pages that were zeroed (Memory::zero_here) lose their frames and so their mappings, and each faults once
// more although the protocol has it mapped. Which of them to map along with one that did: when several of a block were
// used, all of it is, in whatever order the program touches them (so many small pages become a large one, as in
// Navarro et al., "Practical, transparent operating system support for superpages", OSDI 2002). What is mapped in vain
// is at most fifteen times what was used; huge pages (transparent_hugepage=always) are as generous.
//
// Pure. Threads: one at a time.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>

#include "base/ids.h"
#include "coherence/page_set.h"

namespace gallocy::runtime {

class ZeroedPages {
 public:
  static constexpr unsigned kFaultsAlone = 4;  // in a block

  // [first, + pages) was zeroed. Only the last kMostRanges are remembered.
  void zeroed(PageId first, std::uint64_t pages);
  // The page faulted although it is mapped. Which pages of its block to map: it, and maybe others that were zeroed and
  // did not fault since.
  coherence::PageSet faulted(PageId page);

 private:
  static constexpr std::size_t kMostRanges = 16;
  struct Range {
    std::uint64_t first = 0, end = 0;
  };

  const Range* range_of(PageId page) const;

  std::array<Range, kMostRanges> ranges_{};
  std::size_t next_ = 0;
  std::unordered_map<BlockId, coherence::PageSet> faulted_;  // since they were zeroed
};

}  // namespace gallocy::runtime
