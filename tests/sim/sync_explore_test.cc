// Every interleaving of small configurations: from each state, every message that can arrive, every call that a thread
// can make next, and (once, where allowed) the death of every node with every prefix of its messages surviving. States
// seen before, by the digest of cores, network and threads, are not entered again.
#include <gtest/gtest.h>

#include <unordered_set>
#include <vector>

#include "sync_world.h"

namespace gallocy::sim {
namespace {

using sync::Core;
using sync::Effects;
using sync::LockMode;

enum class Op : std::uint8_t {
  kLock,
  kTryLock,  // unlock does nothing if it failed
  kUnlock,
  kWaitForFlag,  // as long as the flag is not set; under the mutex
  kSetFlag,
  kNotify,
  kLockShared,
  kUnlockShared,
  kLockExclusive,
  kUnlockExclusive,
};
using Script = std::vector<Op>;  // of the one thread of a node

const SyncId kMutex = sync::unnamed_id(NodeId{0}, 1);
const SyncId kCondition = sync::unnamed_id(NodeId{1}, 1);
const SyncId kShared = sync::unnamed_id(NodeId{0}, 2);
constexpr WaiterId kWaiter{1};

struct ThreadState {
  unsigned next = 0;  // op
  bool waiting = false;
  bool holding = false;  // mutex
  bool reading = false, writing = false;
};

struct State {
  std::vector<Core> cores;
  Network<wire::SyncMessage> network;
  std::vector<ThreadState> threads;
  bool flag = false;
  bool died_holding = false;  // and nobody was told yet
  bool crashed = false;
};

class Explorer {
 public:
  Explorer(std::vector<Script> scripts, unsigned crashes) : scripts_(std::move(scripts)), may_crash_(crashes > 0) {}

  // The number of different states; 0 if one of them was wrong.
  std::size_t run() {
    const auto nodes = static_cast<std::uint16_t>(scripts_.size());
    State start{.network = Network<wire::SyncMessage>(nodes, 0)};
    for (std::uint16_t i = 0; i < nodes; ++i) {
      start.cores.emplace_back(sync::Options{.self = NodeId{i}, .nodes = nodes, .most_local_turns = 1});
    }
    start.threads.resize(nodes);
    explore(start);
    return failed_ ? 0 : seen_.size();
  }

 private:
  void explore(const State& state) {
    if (failed_ || !seen_.insert(digest_of(state)).second) return;
    bool anything = false;
    for (std::uint16_t i = 0; i < scripts_.size(); ++i) {
      if (!runnable(state, NodeId{i})) continue;
      anything = true;
      State next = state;
      call(next, NodeId{i});
      explore(next);
    }
    for (std::uint16_t from = 0; from < scripts_.size(); ++from) {
      for (std::uint16_t to = 0; to < scripts_.size(); ++to) {
        if (state.network.pending(NodeId{from}, NodeId{to}) == 0) continue;
        anything = true;
        State next = state;
        deliver(next, NodeId{from}, NodeId{to});
        explore(next);
      }
    }
    if (!anything) check_end(state);
    if (may_crash_ && !state.crashed) crash_each(state);
  }

  bool runnable(const State& state, NodeId node) const {
    const ThreadState& thread = state.threads[node.value];
    return state.network.alive(node) && !thread.waiting && thread.next < scripts_[node.value].size();
  }

  void call(State& state, NodeId node) {
    ThreadState& thread = state.threads[node.value];
    Core& core = state.cores[node.value];
    Effects effects;
    Outcome outcome = Outcome::kGranted;
    switch (scripts_[node.value][thread.next]) {
      case Op::kLock:
        outcome = core.lock(kMutex, kWaiter, effects);
        break;
      case Op::kTryLock:
        outcome = core.try_lock(kMutex, kWaiter, effects);
        break;
      case Op::kUnlock:
        if (thread.holding) outcome = core.unlock(kMutex, effects);
        thread.holding = false;
        break;
      case Op::kWaitForFlag:
        if (state.flag || state.crashed) break;
        outcome = core.wait(kCondition, kMutex, kWaiter, effects);
        thread.holding = false;
        break;
      case Op::kSetFlag:
        state.flag = true;
        break;
      case Op::kNotify:
        outcome = core.notify(kCondition, sync::Notify::kOne, effects);
        break;
      case Op::kLockShared:
        outcome = core.rw_lock(kShared, LockMode::kShared, kWaiter, effects);
        break;
      case Op::kLockExclusive:
        outcome = core.rw_lock(kShared, LockMode::kExclusive, kWaiter, effects);
        break;
      case Op::kUnlockShared:
        outcome = core.rw_unlock(kShared, LockMode::kShared, effects);
        thread.reading = false;
        break;
      case Op::kUnlockExclusive:
        outcome = core.rw_unlock(kShared, LockMode::kExclusive, effects);
        thread.writing = false;
        break;
    }
    thread.waiting = outcome == Outcome::kPending;
    if (!thread.waiting) finish(state, node, outcome);
    carry_out(state, node, effects);
  }

  // The op of the thread has ended with this outcome.
  void finish(State& state, NodeId node, Outcome outcome) {
    ThreadState& thread = state.threads[node.value];
    thread.waiting = false;
    const bool got = sync::succeeded(outcome) || outcome == Outcome::kPeerLost;
    switch (scripts_[node.value][thread.next]) {
      case Op::kLock:
        require(sync::succeeded(outcome), "lock");
        [[fallthrough]];
      case Op::kTryLock:
        thread.holding = got;
        if (got) entered(state, outcome);
        break;
      case Op::kWaitForFlag:
        require(got, "wait");
        if (!thread.holding) {
          thread.holding = true;
          if (!state.flag || outcome != Outcome::kGranted) entered(state, outcome);
        }
        if (!state.flag && !state.crashed) return;  // looks again
        break;
      case Op::kLockShared:
        thread.reading = true;
        break;
      case Op::kLockExclusive:
        thread.writing = true;
        break;
      default:
        require(got, "call");
    }
    ++thread.next;
    check_exclusion(state);
  }

  void entered(State& state, Outcome outcome) {
    require(!state.died_holding || outcome == Outcome::kOwnerDied || outcome == Outcome::kPeerLost, "not told");
    require(outcome != Outcome::kOwnerDied || state.crashed, "told without a death");
    if (outcome == Outcome::kOwnerDied) state.died_holding = false;
  }

  void check_exclusion(const State& state) {
    unsigned holding = 0, reading = 0, writing = 0;
    for (std::uint16_t i = 0; i < scripts_.size(); ++i) {
      if (!state.network.alive(NodeId{i})) continue;
      holding += state.threads[i].holding;
      reading += state.threads[i].reading;
      writing += state.threads[i].writing;
    }
    require(holding <= 1, "two holders");
    require(writing <= 1 && (writing == 0 || reading == 0), "a writer is not alone");
  }

  void deliver(State& state, NodeId from, NodeId to) {
    const auto delivery = state.network.deliver(from, to);
    Effects effects;
    Core& core = state.cores[to.value];
    if (delivery.message) {
      core.message(from, *delivery.message, effects);
    } else {
      core.node_died(from, effects);
    }
    require(core.counters().refused == 0, "refused");
    carry_out(state, to, effects);
  }

  void carry_out(State& state, NodeId node, const Effects& effects) {
    for (const sync::Effect& effect : effects) {
      if (effect.kind == sync::Effect::Kind::kSend) {
        state.network.send(node, effect.node, effect.message);
      } else {
        require(state.threads[node.value].waiting, "woken twice");
        finish(state, node, effect.outcome);
      }
    }
    state.cores[node.value].check_invariants();
  }

  void crash_each(const State& state) {
    for (std::uint16_t i = 0; i < scripts_.size(); ++i) {
      // Counts through all combinations of surviving prefixes, one digit per receiver.
      std::vector<std::size_t> survive(scripts_.size(), 0);
      for (bool more = true; more;) {
        State next = state;
        next.crashed = true;
        next.died_holding = state.threads[i].holding;
        next.network.kill(NodeId{i}, [&](NodeId receiver, std::size_t) { return survive[receiver.value]; });
        explore(next);
        more = false;
        for (std::uint16_t to = 0; to < scripts_.size() && !more; ++to) {
          more = to != i && survive[to] < state.network.pending(NodeId{i}, NodeId{to});
          survive[to] = more ? survive[to] + 1 : 0;
        }
      }
    }
  }

  void check_end(const State& state) {
    for (std::uint16_t i = 0; i < scripts_.size(); ++i) {
      if (!state.network.alive(NodeId{i})) continue;
      require(state.threads[i].next == scripts_[i].size(), "a thread waits for ever");
      require(!state.cores[i].recovering(), "recovery did not end");
    }
  }

  std::uint64_t digest_of(const State& state) const {
    std::uint64_t digest = mix(state.flag, state.crashed * 2u + state.died_holding);
    for (std::uint16_t i = 0; i < scripts_.size(); ++i) {
      const ThreadState& t = state.threads[i];
      const bool alive = state.network.alive(NodeId{i});
      digest = mix(digest, alive ? state.cores[i].digest() : 0);
      digest = mix(digest, t.next * 32u + t.waiting * 16u + t.holding * 8u + t.reading * 4u + t.writing * 2u + alive);
      for (std::uint16_t to = 0; to < scripts_.size(); ++to) {
        for (const auto& message : state.network.in_flight(NodeId{i}, NodeId{to})) {
          digest = mix(digest, message ? sync::digest_of(*message) : 1);
        }
        digest = mix(digest, 2);
      }
    }
    return digest;
  }

  void require(bool condition, const char* what) {
    if (condition || failed_) return;
    failed_ = true;
    ADD_FAILURE() << what << " (after " << seen_.size() << " states)";
  }

  std::vector<Script> scripts_;
  bool may_crash_;
  bool failed_ = false;
  std::unordered_set<std::uint64_t> seen_;
};

void explore(std::vector<Script> scripts, unsigned crashes) {
  const std::size_t states = Explorer(std::move(scripts), crashes).run();
  EXPECT_GT(states, 0u);
  std::printf("%zu states\n", states);
  testing::Test::RecordProperty("states", static_cast<int>(states));
}

using enum Op;
const Script kOnce{kLock, kUnlock}, kTwice{kLock, kUnlock, kLock, kUnlock}, kTries{kTryLock, kUnlock};

TEST(SyncExplore, three_nodes_lock_twice) { explore({kTwice, kTwice, kTwice}, 0); }
TEST(SyncExplore, three_nodes_lock_twice_and_one_dies) { explore({kTwice, kTwice, kTwice}, 1); }
TEST(SyncExplore, tries_among_locks) { explore({kTries, {kLock, kUnlock, kTryLock, kUnlock}, kTwice}, 0); }
TEST(SyncExplore, tries_among_locks_and_one_dies) { explore({kTries, kOnce, {kTryLock, kUnlock, kLock, kUnlock}}, 1); }
TEST(SyncExplore, wait_and_notify) {
  explore({{kLock, kWaitForFlag, kNotify, kUnlock},
           {kLock, kWaitForFlag, kNotify, kUnlock},
           {kLock, kSetFlag, kNotify, kUnlock}},
          0);
}
TEST(SyncExplore, wait_and_notify_and_one_dies) {
  explore({{}, {kLock, kWaitForFlag, kUnlock}, {kLock, kSetFlag, kNotify, kUnlock}}, 1);
}

const Script kReads{kLockShared, kUnlockShared}, kWrites{kLockExclusive, kUnlockExclusive};
TEST(SyncExplore, readers_and_writers) {
  explore({{kLockShared, kUnlockShared, kLockExclusive, kUnlockExclusive},
           {kLockExclusive, kUnlockExclusive, kLockShared, kUnlockShared},
           {kLockShared, kUnlockShared, kLockExclusive, kUnlockExclusive}},
          0);
}
TEST(SyncExplore, readers_and_writers_and_one_dies) { explore({kReads, kWrites, kReads}, 1); }

}  // namespace
}  // namespace gallocy::sim
