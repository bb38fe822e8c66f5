// WindowSpace: which address ranges of the window are free. First fit, lowest address first, so that every replica of
// the log gives the same region the same address.
//
// Invariant: free ranges are disjoint, not adjacent, not empty, and aligned to kRegionAlignBytes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "vmm/entry.h"

namespace gallocy::vmm {

struct AddressRange {
  std::uint64_t base = 0, bytes = 0;
};

class WindowSpace {
 public:
  explicit WindowSpace(const AddressRange& all = {kWindowBase, kWindowBytes}) { free_.emplace(all.base, all.bytes); }

  // Takes the lowest free range of at least `bytes`; nothing if no free range is long enough.
  std::optional<std::uint64_t> allocate(std::uint64_t bytes);
  // Takes exactly this range; false (and nothing taken) if a part of it is not free.
  bool take(std::uint64_t address, std::uint64_t bytes);
  // Gives back a range that was taken with the same two values.
  void release(std::uint64_t address, std::uint64_t bytes);

  std::uint64_t free_bytes() const;

  // What a region of that many bytes takes of the window.
  static constexpr std::uint64_t span_of(std::uint64_t bytes) {
    return (bytes + kRegionAlignBytes - 1) / kRegionAlignBytes * kRegionAlignBytes;
  }

 private:
  using Ranges = std::map<std::uint64_t, std::uint64_t>;  // address → bytes
  void carve(Ranges::iterator range, std::uint64_t address, std::uint64_t bytes);

  Ranges free_;
};

}  // namespace gallocy::vmm
