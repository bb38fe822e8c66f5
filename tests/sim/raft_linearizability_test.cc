// The checker of registers against a naive twin, which tries all orders.
#include "raft_linearizability.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/prng.h"

namespace gallocy::sim {
namespace {

using History = std::vector<RegisterOperation>;
using Kind = RegisterOperation::Kind;

bool is_known(const RegisterOperation& o) { return o.returned != RegisterOperation::kNever; }

// Whether every result is that of one register, if they happen in this order. Who is not known may come last.
bool explains(const History& history, const std::vector<std::size_t>& order) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const RegisterOperation& o = history[order[i]];
    for (std::size_t later = i + 1; later < order.size(); ++later) {
      if (history[order[later]].returned < o.called) return false;
    }
    const bool success = o.kind != Kind::kCompareAndSet || value == o.expected;
    if (is_known(o) && o.kind == Kind::kRead && o.value != value) return false;
    if (is_known(o) && o.kind == Kind::kCompareAndSet && o.success != success) return false;
    if (o.kind != Kind::kRead && success) value = o.value;
  }
  return true;
}

bool is_linearizable(const History& history) {
  std::vector<std::size_t> order(history.size());
  std::iota(order.begin(), order.end(), 0u);
  do {
    if (explains(history, order)) return true;
  } while (std::ranges::next_permutation(order).found);
  return false;
}

// A few values, so that results are right by chance as often as not.
History some_history(Prng& prng) {
  History history;
  const std::uint64_t count = 1 + prng.below(6);
  const bool compares = prng.one_in(2);
  for (std::uint64_t i = 0; i < count; ++i) {
    RegisterOperation o{.kind = static_cast<Kind>(prng.below(compares ? 3 : 2)), .value = prng.below(4)};
    o.expected = prng.below(3);
    o.success = prng.one_in(2);
    o.called = 1 + prng.below(20);
    if (!prng.one_in(3)) o.returned = o.called + 1 + prng.below(10);
    history.push_back(o);
  }
  return history;
}

TEST(RaftLinearizability, finds_what_a_naive_search_finds) {
  std::size_t right = 0, wrong = 0;
  for (std::uint64_t seed = 1; seed <= 20'000; ++seed) {
    Prng prng(seed);
    const History history = some_history(prng);
    const bool expected = is_linearizable(history);
    ++(expected ? right : wrong);
    const auto violation = find_violation(history);
    ASSERT_EQ(!violation, expected) << "seed " << seed << violation.value_or("");
  }
  EXPECT_GT(right, 5000u);
  EXPECT_GT(wrong, 5000u);
}

TEST(RaftLinearizability, is_not_slow_where_much_is_not_known) {
  History history;
  for (std::uint64_t i = 1; i <= 60; ++i) history.push_back({.kind = Kind::kWrite, .value = i, .called = i});
  for (std::uint64_t i = 1; i <= 60; ++i)
    history.push_back({.kind = Kind::kRead, .value = i % 2 == 0 ? 1u : 2u, .called = 1000 + i, .returned = 1001 + i});
  EXPECT_TRUE(find_violation(history)) << "1 and 2 were written once, and seen in turns";
}

}  // namespace
}  // namespace gallocy::sim
