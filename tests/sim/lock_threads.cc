#include "lock_threads.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/check.h"

namespace gallocy::sim {
namespace {

using sync::LockMode;
using sync::Outcome;

constexpr std::size_t kThreadsOfNode = 3;
constexpr std::uint64_t kThinkUs = 100, kInsideUs = 5'000, kLongInsideUs = 500'000, kPatienceUs = 300'000;

}  // namespace

LockThreads::LockThreads(Prng& prng, VmmCluster& log, WholeSync& sync, LockLedger& ledger, std::uint16_t most_nodes)
    : prng_(prng), log_(log), sync_(sync), ledger_(ledger) {
  for (std::uint16_t n = 0; n < most_nodes; ++n) {
    for (std::size_t i = 0; i < kThreadsOfNode; ++i)
      threads_.push_back({.node = NodeId{n}, .number = threads_.size() + 1});
  }
  mutexes_ = 1 + prng_.below(4);
  shared_ = 1 + prng_.below(2);
}

void LockThreads::woken(NodeId node, sync::WaiterId waiter, Outcome outcome) {
  Thread& thread = threads_[waiter.value - 1];
  CHECK(thread.node == node && thread.waits, "a wake for nobody", node, waiter);
  answered(thread, outcome);
}

std::size_t LockThreads::working() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(threads_, [](const Thread& thread) { return !thread.wishes.empty(); }));
}

bool LockThreads::works_on(NodeId node) const {
  return std::ranges::any_of(threads_,
                             [node](const Thread& each) { return each.node == node && !each.wishes.empty(); });
}

void LockThreads::node_ended(NodeId node) {
  for (Thread& thread : threads_) {
    if (thread.node != node) continue;
    ++thread.turn;
    thread.wishes.clear();
    thread.waits = false;
  }
}

void LockThreads::begin_work() {
  Thread& thread = threads_[prng_.below(log_.nodes() * kThreadsOfNode)];
  if (!thread.wishes.empty() || !sync_.is_introduced(thread.node)) return;
  if (log_.leaving(thread.node)) return;
  choose(thread);
  step(thread);
}

// All in one order, or threads would wait for each other.
void LockThreads::choose(Thread& thread) {
  thread.held = 0;
  thread.gives_up = false;
  std::set<std::uint64_t> which;
  for (std::uint64_t i = 1 + prng_.below(3); i > 0; --i) which.insert(prng_.below(mutexes_ + shared_));
  for (const std::uint64_t i : which) {
    const bool is_shared = i >= mutexes_;
    thread.wishes.push_back({.lock = sync::named_id(fmt::format("lock {}", i)),
                             .is_shared = is_shared,
                             .mode = is_shared && prng_.one_in(2) ? LockMode::kShared : LockMode::kExclusive,
                             .way = prng_.one_in(3) ? (prng_.one_in(2) ? Way::kTry : Way::kWaitAWhile) : Way::kWait});
  }
}

void LockThreads::go_on_in(Thread& thread, std::uint64_t us) {
  log_.at(us, [this, &thread, turn = ++thread.turn] {
    if (thread.turn == turn) step(thread);
  });
}

void LockThreads::step(Thread& thread) {
  if (thread.gives_up || thread.held == thread.wishes.size()) return let_go(thread);
  take(thread);
}

void LockThreads::take(Thread& thread) {
  const Wish& wish = thread.wishes[thread.held];
  const sync::WaiterId waiter{thread.number};
  thread.waits = true;
  thread.since = log_.now();
  ++thread.turn;
  const Outcome outcome = sync_.call(thread.node, [&](sync::Core& core, sync::Effects& effects) {
    if (!wish.is_shared)
      return wish.way == Way::kTry ? core.try_lock(wish.lock, waiter, effects) : core.lock(wish.lock, waiter, effects);
    return wish.way == Way::kTry ? core.try_rw_lock(wish.lock, wish.mode, waiter, effects)
                                 : core.rw_lock(wish.lock, wish.mode, waiter, effects);
  });
  if (outcome != Outcome::kPending) return answered(thread, outcome);
  if (wish.way == Way::kWaitAWhile) wait_no_longer_than(thread, prng_.below(kPatienceUs));
}

void LockThreads::wait_no_longer_than(Thread& thread, std::uint64_t us) {
  log_.at(us, [this, &thread, turn = thread.turn] {
    if (thread.turn != turn || !thread.waits) return;
    const sync::SyncId lock = thread.wishes[thread.held].lock;
    const Outcome outcome = sync_.call(thread.node, [&](sync::Core& core, sync::Effects& effects) {
      return core.cancel(lock, sync::WaiterId{thread.number}, effects);
    });
    if (outcome != Outcome::kPending) answered(thread, outcome);
  });
}

// Perhaps in the midst of a step of the core: what comes of it, comes later.
void LockThreads::answered(Thread& thread, Outcome outcome) {
  const Wish& wish = thread.wishes[thread.held];
  thread.waits = false;
  counters_.longest_wait_us = std::max(counters_.longest_wait_us, log_.now() - thread.since);
  const bool refused = outcome == Outcome::kWouldBlock, timeout = outcome == Outcome::kTimeout;
  CHECK((!refused || wish.way == Way::kTry) && (!timeout || wish.way == Way::kWaitAWhile), "an answer to nothing",
        wish.lock, thread.node);
  counters_.refused += refused;
  counters_.timeouts += timeout;
  thread.gives_up = refused || timeout;
  if (!thread.gives_up) {
    ledger_.granted(wish.lock, wish.mode, {thread.node, thread.number}, outcome);
    ++thread.held;
  }
  const bool inside = thread.held == thread.wishes.size();
  go_on_in(thread, prng_.below(!inside ? kThinkUs : prng_.one_in(8) ? kLongInsideUs : kInsideUs));
}

void LockThreads::let_go(Thread& thread) {
  while (thread.held > 0) {
    const Wish& wish = thread.wishes[--thread.held];
    ledger_.released(wish.lock, {thread.node, thread.number});
    const Outcome outcome = sync_.call(thread.node, [&](sync::Core& core, sync::Effects& effects) {
      return wish.is_shared ? core.rw_unlock(wish.lock, wish.mode, effects) : core.unlock(wish.lock, effects);
    });
    CHECK(outcome == Outcome::kGranted, "it was not held", wish.lock, thread.node);
  }
  thread.wishes.clear();
}

std::string LockThreads::describe() const {
  std::string text;
  for (const Thread& thread : threads_) {
    if (thread.wishes.empty()) continue;
    text += fmt::format("\n thread {} of node {} {} for {} µs: has {} of {} locks", thread.number, thread.node,
                        thread.waits ? "waits" : "works", log_.now() - thread.since, thread.held, thread.wishes.size());
    if (thread.waits) text += fmt::format(", wants {:x}", thread.wishes[thread.held].lock.value);
  }
  return text;
}

}  // namespace gallocy::sim
