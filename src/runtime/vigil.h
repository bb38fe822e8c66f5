// Vigil: which peers this node takes for gone. Two signs of life are watched, each with an adaptive bound
// (vmm/suspicion.h):
//   * the peer's machine acknowledges what is sent to it, whatever its processes do; kernels answer in microseconds, so
//     a cut line or a dead machine is suspected within a second (kLeastUnansweredUs);
//   * its process sends heartbeats. A busy machine may keep it from running for long, so it gets kLeastSilenceUs, and
//     more if its heartbeats were irregular lately.
// Both are counted in time that this node was awake: while it was stopped, or starved, its peers may have spoken. A
// process that dies needs no suspicion: its connections break.
//
// Threads: heard() by any; begin() and beat() take a lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "os/mutex.h"
#include "vmm/suspicion.h"

namespace gallocy::runtime {

class Vigil {
 public:
  static constexpr std::uint64_t kBeatUs = 100'000;  // the pace of heartbeats, and of beat()
  // No machine is suspected before: two retransmissions, after 200 and 600 ms, are unanswered then. Lease::kLeaseUs
  // rests on it.
  static constexpr std::uint64_t kLeastUnansweredUs = 700'000;
  static constexpr std::uint64_t kLeastSilenceUs = 5'000'000;

  Vigil(std::uint16_t nodes, std::uint64_t now);

  // There is a link to it from now on.
  void begin(NodeId peer);
  // A frame came of it.
  void heard(NodeId peer, bool heartbeat) {
    Signs& signs = signs_[peer.value];
    if (heartbeat) {
      signs.beats.fetch_add(1, std::memory_order_relaxed);
    } else if (!signs.any.load(std::memory_order_relaxed)) {
      signs.any.store(true, std::memory_order_relaxed);
    }
  }

  struct Suspect {
    NodeId node{};
    std::string reason;
  };
  // At this node's own pace. `unanswered_us`: for how long the peer's machine has left what was sent to it unanswered;
  // 0 if there is nothing to be said against it.
  std::vector<Suspect> beat(std::uint64_t now, const std::vector<NodeId>& peers,
                            const std::function<std::uint64_t(NodeId)>& unanswered_us);

 private:
  struct Signs {
    std::atomic<std::uint32_t> beats{0};
    std::atomic<bool> any{false};
  };
  struct Watched {
    vmm::Suspicion machine, process;
    std::uint32_t beats = 0;  // that were counted
  };

  std::optional<std::string> suspicion(NodeId peer, Watched& watched, std::uint64_t unanswered_us) REQUIRES(mu_);

  std::vector<Signs> signs_;
  os::Mutex mu_;
  vmm::AwakeTime awake_ GUARDED_BY(mu_);
  std::vector<std::optional<Watched>> watched_ GUARDED_BY(mu_);
};

}  // namespace gallocy::runtime
