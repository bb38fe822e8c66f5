// Runs: which granules of the slice are free. Hands out runs of adjacent granules and takes them back, joining
// neighbours.
//
// Free runs hang in bins by length: exact up to 8 granules, then eight bins to each doubling; two levels of bitmaps
// find the first bin that fits without a search (Masmano, Ripoll, Crespo, Real: "TLSF: a new dynamic memory allocator
// for real-time systems", ECRTS 2004). A run is cut from the front of the shortest that fits, so that memory which had
// been used is used again before fresh memory: a first touch costs a page fault.
//
// Granules that held something since their frames were last discarded are *warm*. Runs with warm granules also hang in
// a queue in the order in which they became free, for tick() to discard what stayed free for long.
//
// Threads: guarded by the heap's mutex.
//
// Invariants
// 1. Free runs do not overlap or touch.
// 2. head_length is nonzero exactly at the first granule of a free run, tail_length exactly at its last.
// 3. A free run is in the bin of its length, and in the age queue exactly if it may hold warm granules.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "heap/host.h"

namespace gallocy::heap {

struct Run {
  std::uint64_t first = 0;
  std::uint64_t granules = 0;
};

class Runs {
 public:
  // All of `granules` are free and cold. False if there is no private memory.
  bool open(std::uint64_t granules, PrivateMemory& memory);

  // The first of `granules` adjacent ones, now used and warm; nothing if no free run is long enough.
  std::optional<std::uint64_t> take(std::uint64_t granules);
  void give_back(Run run, std::uint64_t tick);

  // The run that has been free and warm for longest, if since `tick` or before. It counts as used until give_back_cold.
  std::optional<Run> take_stale(std::uint64_t tick);
  void give_back_cold(Run run);
  // The next warm stretch of `run` at or after granule `from`.
  std::optional<Run> warm_stretch(Run run, std::uint64_t from) const;
  bool warm(std::uint64_t granule) const { return (warm_[granule / 64] >> (granule % 64) & 1) != 0; }

  std::uint64_t granules() const { return granules_; }
  std::uint64_t free_granules() const { return free_granules_; }
  // Granules at and beyond this one were never used.
  std::uint64_t high_water() const { return high_water_; }

  // The free run that begins at `granule`; 0 if none does.
  std::uint64_t free_run_at(std::uint64_t granule) const { return tags_[granule].head_length; }
  void check_invariants() const;

 private:
  // All zero at first. Links are granule + 1; 0: none.
  struct Tag {
    std::uint32_t head_length, tail_length;
    std::uint32_t bin_previous, bin_next;
    std::uint32_t age_previous, age_next;
    std::uint32_t warm;        // of a head: the run is in the age queue
    std::uint32_t freed_tick;  // of a head in the age queue, modulo 2^32
  };
  static_assert(sizeof(Tag) == 32);
  struct FreeRun {
    Run run;
    bool warm;           // may hold warm granules
    std::uint32_t tick;  // when the last of these became free
  };
  static constexpr unsigned kSteps = 8, kDoublings = 30, kBins = kSteps * kDoublings;

  static unsigned bin_of(std::uint64_t granules);
  std::optional<std::uint64_t> find(std::uint64_t granules) const;
  std::optional<unsigned> next_full_bin(unsigned bin) const;
  FreeRun join_neighbours(FreeRun joined);
  void insert(const FreeRun& free);
  void remove(std::uint64_t first);
  void set_warm(Run run, bool warm);

  std::uint64_t granules_ = 0;
  Tag* tags_ = nullptr;
  std::uint64_t* warm_ = nullptr;  // bitmap

  std::uint64_t free_granules_ = 0, high_water_ = 0;
  std::array<std::uint32_t, kBins> bins_{};
  std::array<std::uint64_t, (kBins + 63) / 64> full_bins_{};  // bitmap of bins with runs
  std::uint32_t oldest_ = 0, youngest_ = 0;
};

}  // namespace gallocy::heap
