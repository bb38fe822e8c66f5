// Linearizability of operations on registers (Herlihy and Wing, "Linearizability: a correctness condition for
// concurrent objects", TOPLAS 1990): whether each operation can be given a moment between its call and its return so
// that every result is that of a register in one place.
//
// The search is Wing and Gong's with memory (Lowe, "Testing for linearizability", 2017), register by register, since
// linearizability is local. It knows nothing of Raft: a history of real processes will do too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gallocy::sim {

struct RegisterOperation {
  enum class Kind : std::uint8_t { kRead, kWrite, kCompareAndSet };
  static constexpr std::uint64_t kNever = ~std::uint64_t{0};

  Kind kind = Kind::kRead;
  std::uint32_t reg = 0;
  std::uint64_t value = 0;     // kRead: what it returned; kWrite, kCompareAndSet: what it wrote
  std::uint64_t expected = 0;  // kCompareAndSet: wrote only if the register had this
  bool success = false;        // kCompareAndSet
  std::uint64_t called = 0;
  std::uint64_t returned = kNever;  // never: nobody knows whether it happened, or when
};

// Nothing if the history is linearizable, registers beginning at 0; otherwise what is wrong with it.
std::optional<std::string> find_violation(const std::vector<RegisterOperation>& history);

}  // namespace gallocy::sim
