// StateDigest: sums up the state of a core, so that tests can tell whether two states are the same.
#pragma once

#include <cstdint>

#include "base/prng.h"
#include "sync/cell_pool.h"
#include "wire/sync.h"

namespace gallocy::sync {

class StateDigest {
 public:
  template <typename... Values>
  void add(Values... values) {
    (add_one(static_cast<std::uint64_t>(values)), ...);
  }
  void add_queue(const CellPool& cells, const Queue& queue) {
    cells.each(queue, [this](const Cell& c) { add(c.waiter, c.object, c.ticket, c.count, c.node.value, c.mode, 1); });
    add(0x55);
  }
  std::uint64_t value() const { return value_; }

 private:
  void add_one(std::uint64_t value) { value_ = Prng(value_ ^ (value * 0xff51afd7ed558ccd))(); }
  std::uint64_t value_ = 0;
};

inline std::uint64_t digest_of(const wire::SyncMessage& m) {
  StateDigest digest;
  digest.add(m.object, m.view, m.ticket, m.other, m.count, m.node, m.verb, m.mode);
  return digest.value();
}

}  // namespace gallocy::sync
