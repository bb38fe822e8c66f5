#include "personality/gathering.h"

#include <algorithm>

#include "base/check.h"

namespace gallocy::personality {
namespace {

constexpr double kNsPerSecond = 1e9;
constexpr double kIdle = 0.05;          // fewer threads than that, on average
constexpr double kMostlyWaiting = 0.6;  // of the time that its threads could have worked
// In each direction: at least so much, and so much of what goes the other way. Data that only stream through do not
// count: they would have to travel anyway.
constexpr double kLeastBytesPerSecond = 4e6, kLeastShare = 0.2;
constexpr double kLeastGain = 1.8;  // times what runs now: moving has its price, too
constexpr unsigned kSamplesToAgree = 2;
constexpr std::int64_t kShortestNs = 500'000'000, kLongestNs = 64'000'000'000;
// Who is gathered again so soon was spread in vain.
constexpr std::int64_t kSoonNs = 1'000'000'000;

}  // namespace

Gathering::Gathering(std::vector<unsigned> processors) : processors_(std::move(processors)), places_(spread()) {}

Gathering::Places Gathering::spread() const {
  Places places;
  for (std::uint16_t n = 0; n < processors_.size(); ++n) places.push_back(NodeId{n});
  return places;
}

std::optional<Gathering::Places> Gathering::sample(std::int64_t now_ns, std::span<const SharingTotals> totals) {
  CHECK(totals.size() == processors_.size(), totals.size(), processors_.size());
  const double period = static_cast<double>(now_ns - before_ns_);
  std::vector<Load> loads(totals.size());
  for (std::size_t i = 0; i < loads.size() && !before_.empty(); ++i) {
    const double active = static_cast<double>(totals[i].active_ns - before_[i].active_ns);
    const double worked = static_cast<double>(totals[i].worked_ns - before_[i].worked_ns);
    loads[i] = {.active = active / period, .working = std::max(worked, 0.0) / period};
  }
  std::optional<Places> changed;
  if (gathered_until_ >= 0) {
    if (now_ns >= gathered_until_) {
      gathered_until_ = -1;
      spread_at_ = now_ns;
      changed = places_ = spread();
    }
  } else if (!before_.empty()) {
    const auto group = sharers(loads, totals, period / kNsPerSecond);
    const auto target = worth_gathering(group, loads);
    agreeing_ = target ? agreeing_ + 1 : 0;
    if (agreeing_ == kSamplesToAgree) {
      agreeing_ = 0;
      for (const std::size_t member : group) places_[member] = *target;
      const bool again = lasts_ns_ != 0 && now_ns - spread_at_ < kSoonNs;
      lasts_ns_ = again ? std::min(2 * lasts_ns_, kLongestNs) : kShortestNs;
      gathered_until_ = now_ns + lasts_ns_;
      changed = places_;
    }
  }
  before_.assign(totals.begin(), totals.end());
  before_ns_ = now_ns;
  return changed;
}

bool Gathering::exchange_pages(std::size_t a, std::size_t b, std::span<const SharingTotals> totals,
                               double seconds) const {
  const auto rate = [&](std::size_t to, std::size_t from) {
    return static_cast<double>(totals[to].received_bytes[from] - before_[to].received_bytes[from]) / seconds;
  };
  const double there = rate(b, a), back = rate(a, b);
  return std::min(there, back) >= std::max(kLeastBytesPerSecond, kLeastShare * std::max(there, back));
}

// The nodes that share pages with others so much that they mostly wait: those connected with the first of them.
std::vector<std::size_t> Gathering::sharers(std::span<const Load> loads, std::span<const SharingTotals> totals,
                                            double seconds) const {
  const auto waits = [&](std::size_t i) {
    const double could_work = std::min(loads[i].active, static_cast<double>(processors_[i]));
    return could_work >= kIdle && loads[i].working < (1 - kMostlyWaiting) * could_work;
  };
  std::vector<std::size_t> group;
  for (std::size_t first = 0; first < loads.size() && group.size() < 2; ++first) {
    if (!waits(first)) continue;
    group = {first};
    for (std::size_t known = 0; known < group.size(); ++known) {
      for (std::size_t i = 0; i < loads.size(); ++i) {
        if (waits(i) && std::ranges::find(group, i) == group.end() && exchange_pages(group[known], i, totals, seconds))
          group.push_back(i);
      }
    }
  }
  return group;
}

// The home if it is one of the group, as its first thread does not move; otherwise the one with the most processors. If
// these can do more than all of the group do now.
std::optional<NodeId> Gathering::worth_gathering(std::span<const std::size_t> group,
                                                 std::span<const Load> loads) const {
  if (group.size() < 2) return std::nullopt;
  double active = 0, working = 0;
  constexpr std::size_t kHome = 0;
  std::size_t best = *std::ranges::min_element(group);
  for (const std::size_t member : group) {
    active += loads[member].active;
    working += loads[member].working;
    if (best != kHome && processors_[member] > processors_[best]) best = member;
  }
  const double possible = std::min(active, static_cast<double>(processors_[best]));
  if (possible < kLeastGain * working) return std::nullopt;
  return NodeId{static_cast<std::uint16_t>(best)};
}

}  // namespace gallocy::personality
