// A small cluster of Logs in one thread: links that keep order and have random delays, as net/mesh.h promises, and
// optionally lose and repeat messages, which it does not.
#include "vmm/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "vmm/random_entry.h"

namespace gallocy::vmm {
namespace {

using testing::HasSubstr;

constexpr NodeId kKeeper{0};

NodeId node(std::size_t i) { return NodeId{static_cast<std::uint16_t>(i)}; }

enum class Kind { kOneKeeper, kRaft };

constexpr std::uint64_t kStepUs = 2'000;

struct NetworkOptions {
  Kind kind = Kind::kOneKeeper;
  std::uint64_t seed = 1;
  std::size_t nodes = 5;
  std::uint64_t max_delay_ticks = 10;
  std::uint64_t one_lost_in = 0;      // 0: none
  std::uint64_t one_repeated_in = 0;  // 0: none
  std::size_t tail_records = 4096;
};

class Network {
 public:
  explicit Network(const NetworkOptions& options) : options_(options), random_(options.seed) {
    for (std::size_t i = 0; i < options.nodes; ++i) add_node();
  }

  // One that was admitted through the keeper.
  NodeId add_newcomer() {
    const auto ticket = propose(kKeeper, MemberJoined{kNoNode, "late", 0, 1 + nodes_.size()});
    settle();
    EXPECT_EQ((*outcome(ticket))->node, node(nodes_.size()));
    return add_node();
  }

  NodeId add_node() {
    const NodeId self = node(nodes_.size());
    nodes_.push_back(std::make_unique<Node>(self, options_.kind == Kind::kRaft ? raft(self) : keeper(self)));
    event(self, [&](Log& log, Effects& effects) { log.start(time(), effects); });
    return self;
  }

  Log& log(NodeId id) { return nodes_[id.value]->log; }

  Ticket propose(NodeId from, Entry entry) {
    const Ticket ticket{++last_ticket_};
    event(from, [&](Log& log, Effects& effects) { log.propose(std::move(entry), ticket, time(), effects); });
    return ticket;
  }

  // What became of a proposal; null: nothing yet.
  const Result<Outcome>* outcome(Ticket ticket) const {
    const auto found = outcomes_.find(ticket);
    return found == outcomes_.end() ? nullptr : &found->second;
  }

  // One step of time: what has arrived by now is delivered, turns end.
  void step() {
    ++now_;
    for (auto& [link, messages] : links_) {
      while (!messages.empty() && messages.front().arrives <= now_) {
        const Message message = std::move(messages.front());
        messages.pop_front();
        if (down_.contains(link.first) || down_.contains(link.second)) continue;
        event(link.second, [&](Log& log, Effects& effects) {
          const auto taken = log.message(link.first, message.type, message.body, time(), effects);
          EXPECT_TRUE(taken) << taken.error().message;
        });
      }
    }
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (down_.contains(node(i))) continue;
      event(node(i), [&](Log& log, Effects& effects) {
        if (log.next_deadline() <= time()) log.tick(time(), effects);
        log.flush(time(), effects);
      });
    }
  }

  // Raft never falls silent.
  bool settled() const {
    for (const auto& [link, messages] : links_) {
      if (options_.kind == Kind::kOneKeeper && !messages.empty()) return false;
    }
    const Log* first = nullptr;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (down_.contains(node(i))) continue;
      const Log& log = nodes_[i]->log;
      if (first == nullptr) first = &log;
      if (log.open_proposals() > 0) return false;
      if (options_.kind == Kind::kRaft && log.machine().applied() != first->machine().applied()) return false;
    }
    return true;
  }

  void settle() {
    for (int i = 0; i < 10'000 && !settled(); ++i) step();
    EXPECT_TRUE(settled()) << "seed " << options_.seed;
  }

  // Everything that is sent while `f` runs is lost.
  template <typename F>
  void losing_all(F f) {
    losing_all_ = true;
    f();
    losing_all_ = false;
  }

  // From now on nothing is lost. What was lost shows when the next message comes.
  void heal() {
    losing_ = false;
    propose(kKeeper, UnbindName{"no such name"});
    settle();
    for (int i = 0; i < 100; ++i) step();
    settle();
  }

  void kill(NodeId victim) {
    down_.insert(victim);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (!down_.contains(node(i)))
        event(node(i), [&](Log& log, Effects& effects) { log.peer_down({victim, 1}, time(), effects); });
    }
  }

  void expect_agreement() {
    for (auto& each : nodes_) {
      EXPECT_EQ(each->log.machine().applied(), log(kKeeper).machine().applied()) << "seed " << options_.seed;
      EXPECT_EQ(each->log.digest(), log(kKeeper).digest()) << "seed " << options_.seed;
    }
  }

  std::size_t resolved_twice() const { return resolved_twice_; }
  std::size_t snapshots_restored() const { return restored_; }
  std::size_t sends() const { return sends_; }

 private:
  std::uint64_t time() const { return now_ * kStepUs; }

  Log::MakeReplication keeper(NodeId self) const {
    return keeper_log(
        {.self = self, .keeper = kKeeper, .tail_records = options_.tail_records, .subscribe_us = 20 * kStepUs});
  }

  Log::MakeReplication raft(NodeId self) const {
    RaftOptions o{.self = self,
                  .seed = options_.seed * 100 + self.value,
                  .now = time(),
                  .snapshot_bytes = 50 * options_.tail_records};
    o.core.trailing_entries = options_.tail_records;
    for (std::size_t i = 0; i < options_.nodes; ++i) o.founders.push_back(node(i));
    return raft_log(o);
  }

  struct Node {
    Node(NodeId self, const Log::MakeReplication& make) : log({.self = self, .retry_us = 50 * kStepUs}, make) {}
    Log log;
    LogIndex followed{};  // by the driver, through `applied` and `restored`
  };
  struct Message {
    std::uint64_t arrives;
    wire::MessageType type;
    Bytes body;
  };

  template <typename F>
  void event(NodeId at, F f) {
    Effects effects;
    f(log(at), effects);
    log(at).check_invariants();
    follow(*nodes_[at.value], effects);
    for (const Send& send : effects.sends) {
      for (NodeId to : send.to) deliver(at, to, send);
    }
    for (const Resolved& resolved : effects.resolved) {
      resolved_twice_ += !outcomes_.emplace(resolved.ticket, resolved.outcome).second;
    }
  }

  void follow(Node& at, const Effects& effects) {
    if (effects.restored) {
      ++restored_;
      EXPECT_TRUE(effects.applied.empty());
      at.followed = at.log.machine().applied();
    }
    for (const Applied& applied : effects.applied) {
      EXPECT_GT(applied.index, at.followed);
      at.followed = applied.index;
    }
  }

  void deliver(NodeId from, NodeId to, const Send& send) {
    ++sends_;
    ASSERT_LE(send.body.size(), wire::kMaxBodyBytes);
    if (to.value >= nodes_.size()) return;  // admitted, and not started yet
    if (losing_all_) return;
    if (losing_ && options_.one_lost_in != 0 && random_.one_in(options_.one_lost_in)) return;
    auto& link = links_[{from, to}];
    const std::uint64_t earliest = link.empty() ? 0 : link.back().arrives;
    const std::uint64_t arrives = std::max(earliest, now_ + 1 + random_.below(options_.max_delay_ticks));
    link.push_back({arrives, send.type, send.body});
    if (options_.one_repeated_in != 0 && random_.one_in(options_.one_repeated_in))
      link.push_back({arrives, send.type, send.body});
  }

  const NetworkOptions options_;
  Prng random_;
  bool losing_ = true;
  bool losing_all_ = false;
  std::uint64_t now_ = 0;
  std::uint64_t last_ticket_ = 0;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<std::pair<NodeId, NodeId>, std::deque<Message>> links_;
  std::set<NodeId> down_;
  std::map<Ticket, Result<Outcome>> outcomes_;
  std::size_t resolved_twice_ = 0, restored_ = 0, sends_ = 0;
};

void join_all(Network& network, std::size_t nodes) {
  for (std::size_t i = 0; i < nodes; ++i) network.propose(node(i), MemberJoined{node(i), "here"});
  network.settle();
}

class LogOfKind : public testing::TestWithParam<Kind> {};

INSTANTIATE_TEST_SUITE_P(All, LogOfKind, testing::Values(Kind::kOneKeeper, Kind::kRaft),
                         [](const auto& kind) { return kind.param == Kind::kOneKeeper ? "keeper" : "raft"; });

TEST(Log, a_cluster_of_one_answers_at_once) {
  Network network({.nodes = 1});
  network.propose(kKeeper, MemberJoined{kKeeper, "here"});
  const auto ticket = network.propose(kKeeper, MapRegion{"r", 1, {}});
  ASSERT_NE(network.outcome(ticket), nullptr);
  EXPECT_EQ((*network.outcome(ticket))->address, kWindowBase);
}

TEST_P(LogOfKind, all_nodes_that_map_a_name_get_one_region) {
  Network network({.kind = GetParam(), .nodes = 5});
  join_all(network, 5);
  std::vector<Ticket> tickets;
  for (std::size_t i = 0; i < 5; ++i) tickets.push_back(network.propose(node(i), MapRegion{"grid", 4096, {}}));
  network.settle();
  for (Ticket ticket : tickets) {
    ASSERT_TRUE(network.outcome(ticket)->has_value());
    EXPECT_EQ((*network.outcome(ticket))->address, kWindowBase);
  }
  network.expect_agreement();
}

TEST_P(LogOfKind, the_proposer_has_applied_its_entry_when_it_learns_the_outcome) {
  Network network({.kind = GetParam(), .nodes = 3});
  join_all(network, 3);
  const auto ticket = network.propose(node(2), MapRegion{"r", 1, {}});
  while (network.outcome(ticket) == nullptr) network.step();
  EXPECT_NE(network.log(node(2)).machine().region_named("r"), nullptr);
}

TEST_P(LogOfKind, a_rejected_or_malformed_entry_comes_back_with_its_reason) {
  Network network({.kind = GetParam(), .nodes = 3});
  join_all(network, 3);
  const auto malformed = network.propose(node(1), MapRegion{"", 1, {}});
  ASSERT_NE(network.outcome(malformed), nullptr) << "needs no message";
  EXPECT_EQ(network.outcome(malformed)->error().code, ErrorCode::kInvalidArgument);
  const auto rejected = network.propose(node(1), UnbindName{"nothing"});
  network.settle();
  EXPECT_EQ(network.outcome(rejected)->error().code, ErrorCode::kNotFound);
}

TEST(Log, proposals_of_one_turn_leave_the_keeper_in_one_message_per_node) {
  Network network({.nodes = 4});
  join_all(network, 4);
  const std::size_t before = network.sends();
  for (int i = 0; i < 50; ++i) network.propose(kKeeper, BindName{"n" + std::to_string(i), 1});
  network.settle();
  network.step();
  EXPECT_EQ(network.sends() - before, 3u);
}

struct Chaos {
  const char* name;
  Kind kind;
  std::uint64_t one_lost_in, one_repeated_in;
  std::size_t tail_records;
};

class LogUnderChaos : public testing::TestWithParam<Chaos> {};

TEST_P(LogUnderChaos, five_nodes_agree_and_every_ticket_is_resolved_once) {
  const Chaos& chaos = GetParam();
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Prng random(seed * 1000);
    Network network({.kind = chaos.kind,
                     .seed = seed,
                     .nodes = 5,
                     .one_lost_in = chaos.one_lost_in,
                     .one_repeated_in = chaos.one_repeated_in,
                     .tail_records = chaos.tail_records});
    join_all(network, 5);
    std::vector<Ticket> tickets;
    for (int round = 0; round < 100; ++round) {
      Entry entry = random_entry(random);
      if (entry.index() <= 2 || std::holds_alternative<MemberMissed>(entry))
        entry = BindName{"member", random.below(9)};  // all five stay members
      tickets.push_back(network.propose(node(random.below(5)), std::move(entry)));
      if (random.one_in(2)) network.step();
    }
    network.settle();
    for (Ticket ticket : tickets) ASSERT_NE(network.outcome(ticket), nullptr) << "seed " << seed;
    EXPECT_EQ(network.resolved_twice(), 0u) << "seed " << seed;
    network.heal();
    network.expect_agreement();
  }
}

INSTANTIATE_TEST_SUITE_P(All, LogUnderChaos,
                         testing::Values(Chaos{"keeper_delays", Kind::kOneKeeper, 0, 0, 4096},
                                         Chaos{"keeper_repeats", Kind::kOneKeeper, 0, 4, 4096},
                                         Chaos{"keeper_losses", Kind::kOneKeeper, 10, 0, 4096},
                                         Chaos{"keeper_losses_and_short_tail", Kind::kOneKeeper, 10, 5, 3},
                                         Chaos{"raft_delays", Kind::kRaft, 0, 0, 4096},
                                         Chaos{"raft_repeats", Kind::kRaft, 0, 4, 4096},
                                         Chaos{"raft_losses", Kind::kRaft, 10, 0, 4096},
                                         Chaos{"raft_losses_and_short_tail", Kind::kRaft, 10, 5, 3}),
                         [](const auto& chaos) { return std::string(chaos.param.name); });

// Node 1 binds names, node 2 unbinds each as soon as it sees it. A proposal to bind that is repeated because its answer
// was lost, and carried out again, would leave its name bound.
TEST_P(LogOfKind, a_repeated_proposal_is_carried_out_once) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Network network({.kind = GetParam(), .seed = seed, .nodes = 3, .one_lost_in = 3, .one_repeated_in = 3});
    join_all(network, 3);
    std::vector<Ticket> tickets;
    for (int i = 0; i < 20; ++i) {
      const std::string name = "n" + std::to_string(i);
      tickets.push_back(network.propose(node(1), BindName{name, 1}));
      for (int step = 0; step < 10'000 && network.log(node(2)).machine().binding(name) == nullptr; ++step) {
        if (step % 50 == 49) network.propose(kKeeper, UnbindName{"shows what was lost"});
        network.step();
      }
      tickets.push_back(network.propose(node(2), UnbindName{name}));
    }
    network.settle();
    for (Ticket ticket : tickets) {
      ASSERT_NE(network.outcome(ticket), nullptr);
      EXPECT_TRUE(network.outcome(ticket)->has_value())
          << "seed " << seed << ": " << network.outcome(ticket)->error().message;
    }
    for (int i = 0; i < 20; ++i)
      EXPECT_EQ(network.log(kKeeper).machine().binding("n" + std::to_string(i)), nullptr) << "seed " << seed;
    EXPECT_EQ(network.resolved_twice(), 0u);
  }
}

TEST(Log, an_answer_may_come_with_a_snapshot) {
  Effects joined, proposed, lost, subscribed, caught_up;
  Log keeper({.self = kKeeper}, keeper_log({.self = kKeeper, .keeper = kKeeper, .tail_records = 0}));
  Log other({.self = node(1)}, keeper_log({.self = node(1), .keeper = kKeeper}));
  keeper.propose(MemberJoined{kKeeper, "here"}, Ticket{1}, 0, joined);
  keeper.propose(MemberJoined{node(1), "there"}, Ticket{2}, 0, joined);
  other.propose(MapRegion{"r", 1, {}}, Ticket{3}, 0, proposed);
  ASSERT_TRUE(keeper.message(node(1), wire::kVmmPropose, proposed.sends.at(0).body, 0, lost));
  keeper.flush(0, lost);
  other.start(0, subscribed);
  ASSERT_TRUE(keeper.message(node(1), wire::kVmmSubscribe, subscribed.sends.at(0).body, 0, subscribed));
  ASSERT_EQ(subscribed.sends.at(1).type, wire::kVmmSnapshot);
  ASSERT_TRUE(other.message(kKeeper, wire::kVmmSnapshot, subscribed.sends.at(1).body, 0, caught_up));
  EXPECT_TRUE(caught_up.restored);
  ASSERT_EQ(caught_up.resolved.size(), 1u);
  EXPECT_EQ(caught_up.resolved[0].ticket, Ticket{3});
  EXPECT_EQ(caught_up.resolved[0].outcome->address, kWindowBase);
  EXPECT_EQ(other.digest(), keeper.digest());
}

TEST_P(LogOfKind, a_late_joiner_catches_up_from_the_tail) {
  Network network({.kind = GetParam(), .nodes = 3});
  join_all(network, 3);
  for (int i = 0; i < 20; ++i) network.propose(node(i % 3), MapRegion{"r" + std::to_string(i), 1, {}});
  network.settle();
  network.add_newcomer();
  network.settle();
  EXPECT_EQ(network.snapshots_restored(), 0u);
  network.expect_agreement();
}

TEST_P(LogOfKind, a_late_joiner_catches_up_from_a_snapshot_of_many_chunks_and_the_tail) {
  Network network({.kind = GetParam(), .nodes = 3, .tail_records = 10});
  join_all(network, 3);
  for (int i = 0; i < 300; ++i)
    network.propose(node(static_cast<std::size_t>(i) % 3), BindName{std::string(200, 'x') + std::to_string(i), 1});
  network.settle();
  const NodeId late = network.add_newcomer();
  const auto bound = network.propose(late, BindName{"by the newcomer", 1});
  for (int i = 0; i < 40; ++i) {
    network.propose(node(1), BindName{"while joining " + std::to_string(i), 1});
    network.step();
  }
  network.settle();
  EXPECT_EQ(network.snapshots_restored(), 1u);
  EXPECT_TRUE(network.outcome(bound)->has_value());
  network.expect_agreement();
}

TEST(Log, the_keepers_death_fails_all_tickets) {
  Network network({.nodes = 3});
  join_all(network, 3);
  const auto open = network.propose(node(1), MapRegion{"r", 1, {}});
  network.kill(kKeeper);
  ASSERT_NE(network.outcome(open), nullptr);
  EXPECT_EQ(network.outcome(open)->error().code, ErrorCode::kPeerLost);
  EXPECT_THAT(network.outcome(open)->error().message, HasSubstr("node 0"));
  const auto later = network.propose(node(2), MapRegion{"r", 1, {}});
  EXPECT_EQ(network.outcome(later)->error().code, ErrorCode::kPeerLost);
}

TEST_P(LogOfKind, another_nodes_death_fails_nothing) {
  Network network({.kind = GetParam(), .nodes = 3});
  join_all(network, 3);
  const auto open = network.propose(node(1), MapRegion{"r", 1, {}});
  network.kill(node(2));
  network.propose(kKeeper, MemberDied{node(2)});
  network.settle();
  EXPECT_TRUE(network.outcome(open)->has_value());
  EXPECT_FALSE(network.log(node(1)).machine().is_member(node(2)));
}

TEST(Log, what_was_handed_in_to_a_dead_leader_is_not_dealt_out_to_it) {
  constexpr int kLeastStepsOfElection = 60;  // more than three messages take
  int leaders = 0;
  for (std::size_t victim = 0; victim < 3; ++victim) {
    Network network({.kind = Kind::kRaft, .nodes = 3});
    join_all(network, 3);
    const NodeId proposer = node((victim + 1) % 3);
    const auto open = network.propose(proposer, MapRegion{"r", 1 << 20, {}});
    network.kill(node(victim));
    int steps = 0;
    for (; network.outcome(open) == nullptr && steps < 10'000; ++steps) network.step();
    network.settle();
    ASSERT_TRUE(network.outcome(open) != nullptr && network.outcome(open)->has_value());
    if (steps < kLeastStepsOfElection) continue;
    ++leaders;
    const Region* const region = network.log(proposer).machine().region_named("r");
    EXPECT_THAT(region->spread, testing::Not(testing::Contains(node(victim))));
  }
  EXPECT_EQ(leaders, 1);
}

TEST_P(LogOfKind, too_many_open_proposals_are_refused_at_once) {
  Network network({.kind = GetParam(), .nodes = 2});
  Ticket last{};
  for (std::size_t i = 0; i <= kMaxOpenRequests; ++i) last = network.propose(node(1), UnbindName{"x"});
  ASSERT_NE(network.outcome(last), nullptr);
  EXPECT_EQ(network.outcome(last)->error().code, ErrorCode::kOutOfMemory);
  network.settle();
}

// The nodes keep the answers to a bounded number of requests: a proposer must not run further ahead of its oldest open
// one.
TEST_P(LogOfKind, proposals_after_one_that_is_lost_wait_for_it) {
  Network network({.kind = GetParam(), .nodes = 2});
  join_all(network, 2);
  std::vector<Ticket> tickets;
  const auto propose = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) tickets.push_back(network.propose(node(1), UnbindName{"x"}));
  };
  network.losing_all([&] { propose(1); });
  propose(kMaxOpenRequests - 2);
  while (network.outcome(tickets.back()) == nullptr) network.step();
  ASSERT_EQ(network.outcome(tickets.front()), nullptr) << "it was to be late";
  propose(kMaxOpenRequests / 2);
  network.settle();
  for (const Ticket ticket : tickets) EXPECT_EQ(network.outcome(ticket)->error().code, ErrorCode::kNotFound);
}

TEST(Log, messages_that_make_no_sense_are_refused_and_change_nothing) {
  Effects effects;
  Log keeper({.self = kKeeper}, keeper_log({.self = kKeeper, .keeper = kKeeper}));
  Log other({.self = NodeId{1}}, keeper_log({.self = NodeId{1}, .keeper = kKeeper}));
  keeper.propose(MemberJoined{kKeeper, "here"}, Ticket{1}, 0, effects);
  const auto digest = keeper.digest();
  Prng random(5);
  std::size_t refused = 0;
  for (int round = 0; round < 5000; ++round) {
    Bytes body(random.below(60));
    for (std::byte& byte : body) byte = random.one_in(2) ? std::byte{0} : std::byte(random.below(256));
    const wire::MessageType type{static_cast<std::uint16_t>(0x300 + random.below(5))};
    refused += !keeper.message(NodeId{1}, type, body, 0, effects);
    refused += !other.message(kKeeper, type, body, 0, effects);
  }
  EXPECT_GT(refused, 5000u);
  EXPECT_EQ(keeper.digest(), digest);
  EXPECT_EQ(other.machine().applied(), LogIndex{0});
}

TEST(Log, nobody_proposes_in_anothers_name) {
  Effects effects;
  Log keeper({.self = kKeeper}, keeper_log({.self = kKeeper, .keeper = kKeeper}));
  Bytes body;
  wire::ByteWriter writer(body);
  writer.put(wire::VmmPropose{});
  writer.put_bytes(encode({NodeId{2}, RequestId{1}, RequestId{1}, MemberJoined{NodeId{2}, "x"}}));
  EXPECT_FALSE(keeper.message(NodeId{1}, wire::kVmmPropose, body, 0, effects));
  EXPECT_TRUE(keeper.message(NodeId{2}, wire::kVmmPropose, body, 0, effects));
}

}  // namespace
}  // namespace gallocy::vmm
