// Gathering: which threads of the program should run on fewer nodes for a while, since they share so much that they
// spend most of their time waiting for each other's pages. (Thread placement by observed sharing: Thitikamol and
// Keleher, "Thread migration and communication minimization in DSM systems", Proc. IEEE 87(3), 1999.)
//
// Sampled regularly. Nodes whose threads mostly wait for pages, and which take these from each other in both
// directions, are gathered on one of them when its processors can do more than what is done now. As a program changes,
// they are spread again after a time, which doubles when that turns out to have been wrong.
//
// Pure. Threads: one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"

namespace gallocy::personality {

// Of one node, since the start.
struct SharingTotals {
  std::int64_t active_ns = 0;  // summed over its threads of the program: lifetime but for blocking system calls
  std::int64_t worked_ns = 0;  // processor time of these threads outside of page faults
  std::vector<std::uint64_t> received_bytes;  // by the node it came from
};

class Gathering {
 public:
  // Where threads that belong on node i run: by default on i.
  using Places = std::vector<NodeId>;

  explicit Gathering(std::vector<unsigned> processors);

  // At a time in ns, which grows. The places, if they have changed.
  std::optional<Places> sample(std::int64_t now_ns, std::span<const SharingTotals> totals);

 private:
  struct Load {
    double active = 0, working = 0;  // threads, on average over the period
  };

  bool exchange_pages(std::size_t a, std::size_t b, std::span<const SharingTotals> totals, double seconds) const;
  std::vector<std::size_t> sharers(std::span<const Load> loads, std::span<const SharingTotals> totals,
                                   double seconds) const;
  std::optional<NodeId> worth_gathering(std::span<const std::size_t> group, std::span<const Load> loads) const;
  Places spread() const;

  const std::vector<unsigned> processors_;
  std::vector<SharingTotals> before_;
  std::int64_t before_ns_ = 0;
  Places places_;
  unsigned agreeing_ = 0;             // samples in a row that say so
  std::int64_t gathered_until_ = -1;  // -1: spread
  std::int64_t spread_at_ = 0, lasts_ns_ = 0;
};

}  // namespace gallocy::personality
