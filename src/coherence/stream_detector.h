// StreamDetector: recognises sequential access in a sequence of faults and says how many pages to ask for at once.
//
// A run is doubled each time the access goes on exactly where the last run ended, from the third fault in a row on (1,
// 1, 2, 4 … longest): two faults on neighbours are common by chance (the edge of a part that another node works on),
// and a page fetched in vain is taken from somebody. So what is fetched in vain is at most as much as what was used.
// Reads and writes are told apart. Runs of at least kReadAheadPages are followed by asynchronous ones, as in Linux's
// read-ahead (Fengguang Wu et al., "Linux readahead: less tricks for more", OLS 2007): one block, and another for each
// that the stream went on into, up to kMostAhead, so that the node that sends never waits for the next request.
#pragma once

#include <array>
#include <cstdint>

#include "base/ids.h"
#include "gallocy/access.h"

namespace gallocy::coherence {

class StreamDetector {
 public:
  static constexpr unsigned kReadAheadPages = 16;
  static constexpr unsigned kMostAhead = 3;  // blocks

  explicit StreamDetector(unsigned longest) : longest_(longest) {}

  struct Advice {
    unsigned pages = 1;         // from the faulting page on
    unsigned blocks_ahead = 0;  // ask for so many blocks behind those too
  };
  // marker: the page is the first of a run that was asked for ahead, so a fault on it continues the stream. A fault on
  // the first page of another run does not: that page was lost again and comes alone.
  Advice fault(PageId page, Access access, bool marker);
  // What was really asked for: [first, first + pages). The next fault of the stream is expected behind it.
  void extend(PageId first, std::uint64_t pages);

 private:
  struct Stream {
    std::uint64_t begin = 0, next = 0;  // what was asked for and not accessed yet lies in [begin, next)
    unsigned window = 0;                // 0: free
    unsigned faults = 0;                // in a row
    unsigned ahead = 1;                 // blocks
    Access access = Access::kNone;
    std::uint64_t used = 0;
  };
  Stream* stream_of(std::uint64_t page, Access access, bool marker);

  // More concurrent streams than threads of one node usually have; a linear search over 16 costs some nanoseconds.
  std::array<Stream, 16> streams_{};
  Stream* current_ = nullptr;
  std::uint64_t clock_ = 0;
  unsigned longest_;
};

}  // namespace gallocy::coherence
