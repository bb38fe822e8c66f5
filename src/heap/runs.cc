#include "heap/runs.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace gallocy::heap {

bool Runs::open(std::uint64_t granules, PrivateMemory& memory) {
  CHECK(granules > 0 && granules < (std::uint64_t{1} << 32) - 1, granules);
  granules_ = granules;
  tags_ = static_cast<Tag*>(memory.reserve(granules * sizeof(Tag)));
  warm_ = static_cast<std::uint64_t*>(memory.reserve((granules + 63) / 64 * 8));
  if (tags_ == nullptr || warm_ == nullptr) return false;
  insert({{0, granules}, false, 0});
  return true;
}

// Bins of a doubling divide it into kSteps equal parts; below kSteps each length has its own.
unsigned Runs::bin_of(std::uint64_t granules) {
  if (granules < kSteps) return static_cast<unsigned>(granules);
  const auto doubling = static_cast<unsigned>(std::bit_width(granules)) - 3;  // 8 … 15: 1
  return doubling * kSteps + static_cast<unsigned>(granules >> (doubling - 1)) % kSteps;
}

std::optional<unsigned> Runs::next_full_bin(unsigned bin) const {
  for (unsigned w = bin / 64; w < full_bins_.size(); ++w) {
    const std::uint64_t from = w == bin / 64 ? ~std::uint64_t{0} << (bin % 64) : ~std::uint64_t{0};
    if (const std::uint64_t full = full_bins_[w] & from; full != 0) {
      return w * 64 + static_cast<unsigned>(std::countr_zero(full));
    }
  }
  return {};
}

std::optional<std::uint64_t> Runs::find(std::uint64_t granules) const {
  // Runs in the bin of this very length may be shorter than it. They are searched first, a few of them, for a close
  // fit, and all of them before giving up.
  constexpr unsigned kCloseFitSearch = 8;
  const unsigned own = bin_of(granules);
  const auto search_own = [&](unsigned most) -> std::uint32_t {
    std::uint32_t link = bins_[own];
    while (link != 0 && most-- != 0 && tags_[link - 1].head_length < granules) link = tags_[link - 1].bin_next;
    return link != 0 && tags_[link - 1].head_length >= granules ? link : 0;
  };
  if (const auto link = search_own(kCloseFitSearch); link != 0) return link - 1;
  if (const auto bin = next_full_bin(own + 1); bin) return bins_[*bin] - 1;
  if (const auto link = search_own(~0u); link != 0) return link - 1;
  return {};
}

std::optional<std::uint64_t> Runs::take(std::uint64_t granules) {
  const auto first = find(granules);
  if (!first) return {};
  const Tag tag = tags_[*first];
  remove(*first);
  if (tag.head_length > granules) {
    insert({{*first + granules, tag.head_length - granules}, tag.warm != 0, tag.freed_tick});
  }
  set_warm({*first, granules}, true);
  high_water_ = std::max(high_water_, *first + granules);
  return first;
}

void Runs::give_back(Run run, std::uint64_t tick) {
  insert(join_neighbours({run, true, static_cast<std::uint32_t>(tick)}));
}

void Runs::give_back_cold(Run run) {
  set_warm(run, false);
  insert(join_neighbours({run, false, 0}));
}

std::optional<Run> Runs::take_stale(std::uint64_t tick) {
  if (oldest_ == 0) return {};
  const std::uint64_t first = oldest_ - 1;
  if (static_cast<std::int32_t>(static_cast<std::uint32_t>(tick) - tags_[first].freed_tick) < 0) return {};
  const Run run{first, tags_[first].head_length};
  remove(first);
  return run;
}

std::optional<Run> Runs::warm_stretch(Run run, std::uint64_t from) const {
  const std::uint64_t end = std::min(run.first + run.granules, high_water_);
  while (from < end && !warm(from)) {
    from = (warm_[from / 64] >> (from % 64)) == 0 ? (from / 64 + 1) * 64 : from + 1;
  }
  if (from >= end) return {};
  std::uint64_t last = from;
  while (last < end && warm(last)) ++last;
  return Run{from, last - from};
}

Runs::FreeRun Runs::join_neighbours(FreeRun joined) {
  const auto join = [&](std::uint64_t first) {
    const Tag tag = tags_[first];
    remove(first);
    joined.run = {std::min(joined.run.first, first), joined.run.granules + tag.head_length};
    if (tag.warm == 0) return;
    if (!joined.warm || static_cast<std::int32_t>(tag.freed_tick - joined.tick) > 0) joined.tick = tag.freed_tick;
    joined.warm = true;
  };
  const std::uint64_t left_end = joined.run.first, right = joined.run.first + joined.run.granules;
  if (left_end > 0 && tags_[left_end - 1].tail_length != 0) join(left_end - tags_[left_end - 1].tail_length);
  if (right < granules_ && tags_[right].head_length != 0) join(right);
  return joined;
}

void Runs::insert(const FreeRun& free) {
  const auto [run, warm, tick] = free;
  const auto link = static_cast<std::uint32_t>(run.first + 1);
  const auto length = static_cast<std::uint32_t>(run.granules);
  const unsigned bin = bin_of(length);
  Tag& head = tags_[run.first];
  tags_[run.first + length - 1].tail_length = length;
  head.head_length = length;
  head.bin_previous = 0;
  head.bin_next = bins_[bin];
  if (head.bin_next != 0) tags_[head.bin_next - 1].bin_previous = link;
  bins_[bin] = link;
  full_bins_[bin / 64] |= std::uint64_t{1} << (bin % 64);
  free_granules_ += length;

  head.warm = warm ? 1 : 0;
  head.freed_tick = tick;
  head.age_next = 0;
  head.age_previous = warm ? youngest_ : 0;
  if (!warm) return;
  (youngest_ != 0 ? tags_[youngest_ - 1].age_next : oldest_) = link;
  youngest_ = link;
}

void Runs::remove(std::uint64_t first) {
  Tag& head = tags_[first];
  const unsigned bin = bin_of(head.head_length);
  (head.bin_previous != 0 ? tags_[head.bin_previous - 1].bin_next : bins_[bin]) = head.bin_next;
  if (head.bin_next != 0) tags_[head.bin_next - 1].bin_previous = head.bin_previous;
  if (bins_[bin] == 0) full_bins_[bin / 64] &= ~(std::uint64_t{1} << (bin % 64));
  if (head.warm != 0) {
    (head.age_previous != 0 ? tags_[head.age_previous - 1].age_next : oldest_) = head.age_next;
    (head.age_next != 0 ? tags_[head.age_next - 1].age_previous : youngest_) = head.age_previous;
  }
  free_granules_ -= head.head_length;
  tags_[first + head.head_length - 1].tail_length = 0;
  head.head_length = 0;
  head.warm = 0;
}

void Runs::set_warm(Run run, bool warm) {
  const std::uint64_t end = warm ? run.first + run.granules : std::min(run.first + run.granules, high_water_);
  for (std::uint64_t g = run.first; g < end;) {
    const std::uint64_t count = std::min<std::uint64_t>(64 - g % 64, end - g);
    const std::uint64_t bits = (count == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1) << (g % 64);
    warm_[g / 64] = warm ? warm_[g / 64] | bits : warm_[g / 64] & ~bits;
    g += count;
  }
}

void Runs::check_invariants() const {
  std::uint64_t free = 0, in_bins = 0, previous_end = ~std::uint64_t{0};
  for (std::uint64_t g = 0; g < granules_;) {
    const Tag& tag = tags_[g];
    if (tag.head_length == 0) {
      CHECK(tag.tail_length == 0, g);
      ++g;
      continue;
    }
    CHECK(g + tag.head_length <= granules_ && previous_end != g, g);
    CHECK(tags_[g + tag.head_length - 1].tail_length == tag.head_length, g);
    for (std::uint64_t inside = g + 1; inside < std::min(g + tag.head_length, high_water_); ++inside) {
      CHECK(tags_[inside].head_length == 0 && tags_[inside - 1].tail_length == 0, inside);
      CHECK(tag.warm != 0 || !warm(inside), inside);
    }
    free += tag.head_length;
    g += tag.head_length;
    previous_end = g;
  }
  for (unsigned bin = 0; bin < kBins; ++bin) {
    CHECK((bins_[bin] != 0) == ((full_bins_[bin / 64] >> (bin % 64) & 1) != 0), bin);
    for (auto link = bins_[bin]; link != 0; link = tags_[link - 1].bin_next) {
      CHECK(bin_of(tags_[link - 1].head_length) == bin, bin, link);
      in_bins += tags_[link - 1].head_length;
    }
  }
  CHECK(free == free_granules_ && in_bins == free, free, free_granules_, in_bins);
}

}  // namespace gallocy::heap
