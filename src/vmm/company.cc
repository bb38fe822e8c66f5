#include "vmm/company.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace gallocy::vmm {
namespace {

// Followers answer each heartbeat.
constexpr std::uint64_t kGoneUs = 2'000'000;

using raft::Change;
using raft::ServerId;

class Planner {
 public:
  Planner(const raft::Core& core, const ReplicatedState& state, const std::set<NodeId>& down,
          const RaftOptions& options, std::uint64_t now)
      : core_(core),
        state_(state),
        down_(down),
        most_voters_(options.most_voters),
        storage_(options.core.storage),
        now_us_(now),
        now_(core.configuration()) {}

  Step next() const {
    if (standing(core_.self()) == Standing::kOver) return {.resign = true};
    if (const auto server = gone()) return {.change = Change{Change::Kind::kRemove, *server}};
    if (const auto server = newcomer()) return {.change = Change{Change::Kind::kAddLearner, *server}};
    return vote();
  }

 private:
  Standing standing(ServerId server) const {
    const NodeId node = raft::node_of(server);
    const bool of_all_lives = storage_ == raft::Storage::kDurable;
    return state_.standing({node, of_all_lives ? state_.last_life(node) : raft::incarnation_of(server)});
  }
  bool is_down(ServerId server) const { return down_.contains(raft::node_of(server)); }
  // Who forgets what it was told when it ends must not be one of those who remember.
  bool may_vote(ServerId server) const {
    return storage_ != raft::Storage::kDurable || state_.on_disk(raft::node_of(server));
  }
  bool stays(ServerId server) const { return standing(server) <= Standing::kPresent; }

  bool answers(ServerId server) const { return core_.followers().at(server).last_reply + kGoneUs > now_us_; }

  std::optional<ServerId> gone() const {
    for (const auto* servers : {&now_.voters, &now_.learners}) {
      for (const ServerId server : *servers) {
        if (server == core_.self() || standing(server) == Standing::kPresent) continue;
        if (standing(server) == Standing::kOver || !answers(server)) return server;
      }
    }
    return std::nullopt;
  }

  std::optional<ServerId> newcomer() const {
    for (const Life& life : state_.present()) {
      const ServerId server = server_of(life, storage_);
      if (!now_.has(server) && !is_down(server)) return server;
    }
    return std::nullopt;
  }

  Step vote() const {
    const auto staying = [&](ServerId server) { return stays(server) && may_vote(server); };
    const auto among = [&](const std::set<ServerId>& servers) {
      return static_cast<std::size_t>(std::ranges::count_if(servers, staying));
    };
    const std::size_t voters = among(now_.voters);
    const std::size_t wanted = voters_among(voters + among(now_.learners), most_voters_);
    Step step{.change = {}, .otherwise = demotion(voters, wanted), .successor = {}};
    if (voters < wanted) {
      if (const auto server = caught_up()) step.change = Change{Change::Kind::kPromote, *server};
    }
    if (!step.change) step.change = std::exchange(step.otherwise, std::nullopt);
    if (!step.change && !stays(core_.self())) step.successor = successor();
    return step;
  }

  // `voters`: those that stay. Whoever may be gone already goes first: who is left must be a majority at each step.
  std::optional<Change> demotion(std::size_t voters, std::size_t wanted) const {
    const auto find = [&](auto&& is_demoted) -> std::optional<Change> {
      for (const ServerId server : now_.voters) {
        if (server != core_.self() && is_demoted(server)) return Change{Change::Kind::kDemote, server};
      }
      return std::nullopt;
    };
    if (voters > 0) {
      if (const auto leaver = find([&](ServerId server) { return !stays(server); })) return leaver;
    }
    if (voters <= wanted) return std::nullopt;
    const auto silent = find([&](ServerId server) { return is_down(server); });
    return silent ? silent : find([](ServerId) { return true; });
  }

  std::optional<ServerId> caught_up() const {
    for (const ServerId server : now_.learners) {
      if (stays(server) && may_vote(server) && !is_down(server) && core_.followers().at(server).caught_up)
        return server;
    }
    return std::nullopt;
  }

  std::optional<ServerId> successor() const {
    std::optional<ServerId> best;
    for (const ServerId server : now_.voters) {
      if (!stays(server) || is_down(server) || server == core_.self()) continue;
      if (!best || core_.followers().at(server).match > core_.followers().at(*best).match) best = server;
    }
    return best;
  }

  const raft::Core& core_;
  const ReplicatedState& state_;
  const std::set<NodeId>& down_;
  const std::size_t most_voters_;
  const raft::Storage storage_;
  const std::uint64_t now_us_;
  const raft::Configuration& now_;
};

}  // namespace

std::size_t voters_among(std::size_t servers, std::size_t most) {
  return std::min(most, servers <= 2 ? 1 : (servers - 1) / 2 * 2 + 1);
}

raft::ServerId server_of(const Life& life, raft::Storage storage) {
  return raft::server_id(life.node, storage == raft::Storage::kDurable ? 1 : life.life);
}

Step next_step(const raft::Core& core, const ReplicatedState& state, const std::set<NodeId>& down,
               const RaftOptions& options, std::uint64_t now) {
  return Planner(core, state, down, options, now).next();
}

}  // namespace gallocy::vmm
