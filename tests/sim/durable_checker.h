// Whether what clients saw of transactions is strictly serializable (Papadimitriou, "The serializability of concurrent
// database updates", JACM 1979; with real time: Herlihy and Wing's linearizability of whole transactions).
//
// Every value written is the number of its transaction, and whoever writes a cell has compared it. So the order of the
// versions of each cell is known, from the last back to 0, and what depends on what is a graph: it must have no circle.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace gallocy::sim {

struct DurableTransaction {
  static constexpr std::uint64_t kNever = ~std::uint64_t{0};
  enum class Fate : std::uint8_t { kUnknown, kHappened, kDidNotHappen };

  std::uint64_t number = 0;  // not 0; different for each; its writes' value
  Fate fate = Fate::kUnknown;
  std::map<std::uint32_t, std::uint64_t> reads;  // cell -> value that was read and compared
  std::vector<std::uint32_t> writes;             // cells, all of them read too
  std::uint64_t called = 0;                      // moments, all different
  std::uint64_t returned = kNever;
};

// Nothing, if the history is strictly serializable and ends with these values of the cells; otherwise what is wrong.
std::optional<std::string> find_violation(const std::vector<DurableTransaction>& history,
                                          const std::vector<std::uint64_t>& last);

}  // namespace gallocy::sim
