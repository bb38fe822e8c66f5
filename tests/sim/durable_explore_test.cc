// Every history of one or two transactions in two companies, with every timing of messages and news, and the death of
// one node at any step.
//
// What a dead node had sent is lost in the moment of its death: that a receiver gets some of it afterwards is the same
// as having got it before.
#include <gtest/gtest.h>

#include <cstdio>
#include <optional>
#include <set>
#include <vector>

#include "base/check.h"
#include "durable/core.h"
#include "durable_cluster.h"

namespace gallocy::sim {
namespace {

using durable::Core;
using durable::Message;
using durable::Mutant;
using durable::Outcome;

struct Configuration {
  const char* name;
  std::uint16_t nodes = 3;
  std::vector<unsigned> writers;  // nodes that commit a transaction each, of both blocks
  bool crash = true;
  Mutant mutant = Mutant::kNone;
  std::vector<NodeId> bystanders{};
};

void PrintTo(const Configuration& configuration, std::ostream* out) { *out << configuration.name; }

struct State {
  std::vector<std::optional<Core>> cores;
  Network<Message> network;
  std::vector<NodeId> members;
  bool crashed = false;
  std::vector<std::optional<Outcome>> outcomes;  // of the writers
};

class Explorer {
 public:
  explicit Explorer(const Configuration& configuration) : configuration_(configuration), first_(find_blocks()) {}

  // False: some history ends badly.
  bool run() {
    State state{std::vector<std::optional<Core>>(configuration_.nodes),
                Network<Message>(configuration_.nodes, 1),
                members(),
                !configuration_.crash,
                {}};
    state.outcomes.resize(configuration_.writers.size());
    for (const NodeId node : state.members) {
      Core& core =
          state.cores[node.value].emplace(node, history(), std::span<const durable::DurableRegion>(),
                                          durable::Options{.most_put_off = 1, .mutant = configuration_.mutant});
      core.map_region(first_, 2, 1);
    }
    for (std::size_t i = 0; i < configuration_.writers.size(); ++i) begin(state, i);
    explore(state);
    return good_;
  }

  std::size_t states() const { return seen_.size(); }
  std::size_t ends() const { return ends_; }

 private:
  std::vector<NodeId> members() const {
    std::vector<NodeId> result;
    for (std::uint16_t n = 0; n < configuration_.nodes; ++n) result.push_back(NodeId{n});
    return result;
  }
  durable::Membership membership(Epoch epoch, const std::vector<NodeId>& nodes) const {
    std::vector<NodeId> bystanders;
    std::ranges::set_intersection(nodes, configuration_.bystanders, std::back_inserter(bystanders));
    if (configuration_.mutant == Mutant::kBystanderKeeps) bystanders.clear();
    return {.epoch = epoch, .nodes = nodes, .bystanders = std::move(bystanders)};
  }
  durable::History history() const { return durable::History(membership(Epoch{1}, members())); }

  // Two neighbours whose primaries are different.
  BlockId find_blocks() const {
    const durable::History all = history();
    for (BlockId block{64};; ++block.value) {
      const auto a = all.company(block, 1, Epoch{1}), b = all.company(BlockId{block.value + 1}, 1, Epoch{1});
      if (a.primary() == NodeId{1} && b.primary() == NodeId{2}) return block;
    }
  }

  std::uint64_t value_of(std::size_t writer) const { return 7 + writer; }

  void begin(State& state, std::size_t writer) {
    static constexpr std::uint64_t kZero = 0;
    const std::uint64_t value = value_of(writer);
    std::vector<durable::Item> items;
    for (const std::uint64_t b : {0, 1}) {
      const std::uint64_t address = address_of(first_page(BlockId{first_.value + b}));
      items.push_back({durable::ItemKind::kCompare, address, std::as_bytes(std::span(&kZero, 1))});
      items.push_back({durable::ItemKind::kWrite, address, std::as_bytes(std::span(&value, 1))});
    }
    step(state, configuration_.writers[writer], [&](Core& core) { core.commit(durable::Ticket{writer}, items); });
  }

  template <typename F>
  void step(State& state, unsigned node, F f) {
    Core& core = *state.cores[node];
    f(core);
    core.flush();
    core.check_invariants();
    if (std::ranges::binary_search(configuration_.bystanders, core.self())) {
      for (const std::uint64_t b : {0, 1})
        expect(core.block(BlockId{first_.value + b}) == nullptr, "a bystander keeps a block");
    }
    durable::Effects effects = core.take_effects();
    for (auto& [to, message] : effects.messages)
      state.network.send(NodeId(static_cast<std::uint16_t>(node)), to, std::move(message));
    for (const auto& done : effects.commits) state.outcomes[done.ticket.value] = done.outcome;
  }

  std::uint64_t digest(const State& state) const {
    std::uint64_t sum = state.crashed;
    for (const auto& core : state.cores) sum = mix(sum, core ? core->digest() : 1);
    for (std::uint16_t a = 0; a < configuration_.nodes; ++a) {
      for (std::uint16_t b = 0; b < configuration_.nodes; ++b) {
        for (const auto& message : state.network.in_flight(NodeId{a}, NodeId{b}))
          sum = mix(sum, message ? durable::digest(*message) : 3);
        sum = mix(sum, 5);
      }
    }
    for (const auto& outcome : state.outcomes) sum = mix(sum, outcome ? 2 + static_cast<std::uint64_t>(*outcome) : 1);
    return sum;
  }

  void explore(const State& state) {
    if (!good_ || !seen_.insert(digest(state)).second) return;
    bool end = true;
    for (std::uint16_t a = 0; a < configuration_.nodes; ++a) {
      for (std::uint16_t b = 0; b < configuration_.nodes; ++b) {
        if (!state.cores[b] || state.network.in_flight(NodeId{a}, NodeId{b}).empty()) continue;
        end = false;
        State next = state;
        const auto delivery = next.network.deliver(NodeId{a}, NodeId{b});
        if (delivery.message)
          step(next, b, [&](Core& core) { expect(core.message(NodeId{a}, *delivery.message), "refused"); });
        explore(next);
      }
    }
    for (std::uint16_t n = 0; n < configuration_.nodes; ++n) {
      if (!state.cores[n] || state.cores[n]->history().members() == state.members) continue;
      end = false;
      State next = state;
      step(next, n, [&](Core& core) { core.epoch(membership(Epoch{2}, state.members)); });
      explore(next);
    }
    for (std::uint16_t n = 0; n < configuration_.nodes && !state.crashed; ++n) {
      State next = state;
      next.crashed = true;
      next.cores[n].reset();
      std::erase(next.members, NodeId{n});
      next.network.kill(NodeId{n}, [](NodeId, std::size_t) { return std::size_t{0}; });
      explore(next);
    }
    if (end) check_end(state);
  }

  void check_end(const State& state) {
    ++ends_;
    std::vector<std::uint64_t> values;
    for (const std::uint64_t b : {0, 1}) {
      const BlockId block{first_.value + b};
      const durable::Company company = state.cores[state.members.front().value]->company(block);
      for (unsigned i = 0; i < company.size(); ++i) values.push_back(value_at(*state.cores[company[i].value], block));
    }
    const bool same = std::ranges::all_of(values, [&](std::uint64_t v) { return v == values.front(); });
    expect(same, "torn, or images differ");
    for (std::size_t i = 0; i < state.outcomes.size(); ++i) {
      const bool happened = values.front() == value_of(i);
      expect(state.outcomes[i] != Outcome::kDone || happened, "lost");
      expect(state.outcomes[i] != Outcome::kConflict || !happened, "refused, but there");
      expect(state.outcomes[i] || !state.cores[configuration_.writers[i]], "no answer");
    }
    for (const auto& core : state.cores)
      expect(!core || (core->open() == 0 && core->records() == 0 && core->unrestored() == 0), "not at rest");
  }

  std::uint64_t value_at(const Core& core, BlockId block) const {
    std::uint64_t value = 0;
    const durable::Block* kept = core.block(block);
    if (kept != nullptr) kept->image.read(0, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

  void expect(bool right, const char* what) {
    if (right || !good_) return;
    good_ = false;
    if (configuration_.mutant == Mutant::kNone) ADD_FAILURE() << configuration_.name << ": " << what;
  }

  Configuration configuration_;
  BlockId first_;
  std::set<std::uint64_t> seen_;
  std::size_t ends_ = 0;
  bool good_ = true;
};

class DurableExplore : public testing::TestWithParam<Configuration> {};

TEST_P(DurableExplore, every_history_ends_well) {
  Explorer explorer(GetParam());
  EXPECT_TRUE(explorer.run());
  std::printf("%s: %zu states, %zu ends\n", GetParam().name, explorer.states(), explorer.ends());
}

INSTANTIATE_TEST_SUITE_P(
    all, DurableExplore,
    testing::Values(Configuration{.name = "coordinator_keeps_nothing", .nodes = 4, .writers = {0}},
                    Configuration{
                        .name = "coordinator_is_bystander", .nodes = 4, .writers = {0}, .bystanders = {NodeId{0}}},
                    Configuration{.name = "few_keep_blocks", .nodes = 3, .writers = {0}, .bystanders = {NodeId{0}}},
                    Configuration{.name = "three_nodes", .nodes = 3, .writers = {0}},
                    Configuration{.name = "coordinator_is_primary", .nodes = 3, .writers = {1}},
                    Configuration{.name = "two_writers_nobody_dies", .nodes = 4, .writers = {0, 3}, .crash = false},
                    Configuration{.name = "two_writers", .nodes = 3, .writers = {0, 1}}),
    [](const auto& configuration) { return std::string(configuration.param.name); });

TEST(DurableExplorer, finds_bugs) {
  for (const Mutant mutant : {Mutant::kAcknowledgeEarly, Mutant::kCommitAlone, Mutant::kForgetEarly,
                              Mutant::kForgetPrepared, Mutant::kNoRestore, Mutant::kAbortOnDeath}) {
    Explorer explorer({.name = "mutant", .nodes = 3, .writers = {0}, .mutant = mutant});
    EXPECT_FALSE(explorer.run()) << static_cast<int>(mutant);
  }
  Explorer explorer(
      {.name = "mutant", .nodes = 4, .writers = {0}, .mutant = Mutant::kBystanderKeeps, .bystanders = {NodeId{0}}});
  EXPECT_FALSE(explorer.run());
}

}  // namespace
}  // namespace gallocy::sim
