#include "runtime/vigil.h"

#include <fmt/format.h>

#include "runtime/lease.h"

namespace gallocy::runtime {
namespace {

static_assert(Lease::kLeaseUs < Vigil::kLeastUnansweredUs && Lease::kLeaseUs < Vigil::kLeastSilenceUs);

// Of a pause of this node no more counts: it has lost a few beats, and knows nothing of the rest.
constexpr std::uint64_t kLongestPauseUs = 3 * Vigil::kBeatUs;

// The machine's signs are looked at once a beat, so a silence seems up to two beats shorter than it is.
constexpr vmm::Suspicion::Options kMachine{.expected_us = Vigil::kBeatUs,
                                           .floor_us = Vigil::kLeastUnansweredUs - 2 * Vigil::kBeatUs};
constexpr vmm::Suspicion::Options kProcess{.expected_us = Vigil::kBeatUs, .floor_us = Vigil::kLeastSilenceUs};

}  // namespace

Vigil::Vigil(std::uint16_t nodes, std::uint64_t now) : signs_(nodes), awake_(now, kLongestPauseUs), watched_(nodes) {}

void Vigil::begin(NodeId peer) {
  const os::MutexLock lock(mu_);
  watched_[peer.value].emplace(vmm::Suspicion(kMachine, awake_.now()), vmm::Suspicion(kProcess, awake_.now()),
                               signs_[peer.value].beats.load(std::memory_order_relaxed));
}

std::vector<Vigil::Suspect> Vigil::beat(std::uint64_t now, const std::vector<NodeId>& peers,
                                        const std::function<std::uint64_t(NodeId)>& unanswered_us) {
  std::vector<Suspect> suspects;
  const os::MutexLock lock(mu_);
  awake_.beat(now);
  for (const NodeId peer : peers) {
    auto& watched = watched_[peer.value];
    if (!watched) continue;
    if (auto reason = suspicion(peer, *watched, unanswered_us(peer))) suspects.push_back({peer, *std::move(reason)});
  }
  return suspects;
}

std::optional<std::string> Vigil::suspicion(NodeId peer, Watched& watched, std::uint64_t unanswered_us) {
  const std::uint64_t now = awake_.now();
  Signs& signs = signs_[peer.value];
  const std::uint32_t beats = signs.beats.load(std::memory_order_relaxed);
  const bool any = signs.any.exchange(false, std::memory_order_relaxed);
  if (beats != watched.beats) {
    watched.process.heard(now);
  } else if (any) {
    watched.process.noticed(now);
  }
  watched.beats = beats;
  if (unanswered_us == 0) watched.machine.heard(now);
  if (unanswered_us >= kLeastUnansweredUs && watched.machine.suspected(now))
    return fmt::format("its machine has not answered for {} ms", unanswered_us / 1000);
  if (watched.process.suspected(now))
    return fmt::format("it has been silent for {:.1f} seconds",
                       static_cast<double>(watched.process.silence(now)) / 1e6);
  return std::nullopt;
}

}  // namespace gallocy::runtime
