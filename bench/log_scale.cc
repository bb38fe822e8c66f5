// log_scale NODES: the VMM logs of so many nodes in this process, on links that take 100 us, with default settings.
// Prints what a death and a joining cost all of them together, beyond what the log sends anyway, and what each node
// holds.
//
// A death begins when all others are told, as by their links that close: what comes before is the mesh's.
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <vector>

#include "base/check.h"
#include "vmm/log.h"

namespace gallocy::bench {
namespace {

constexpr const char* kAddress = "10.0.0.1:12345";
constexpr std::uint64_t kLinkUs = 100, kTickUs = 5'000;

struct Traffic {
  std::uint64_t messages = 0, bytes = 0;
};

class Cluster {
 public:
  explicit Cluster(std::uint16_t nodes) : logs_(nodes) {
    for (std::uint16_t n = 0; n < nodes; ++n) start(NodeId{n}, 1);
  }

  // Until all that are there have the same number of members, and nothing is open.
  void run_until_members(std::size_t members) {
    const auto settled = [&](const std::unique_ptr<vmm::Log>& log) {
      return !log || (members_of(*log) == members && log->open_proposals() == 0);
    };
    const std::uint64_t patience = now_ + 600'000'000;
    while (!std::ranges::all_of(logs_, settled)) {
      run_for(kLinkUs);
      CHECK(now_ < patience, "the nodes do not agree on who is a member", members);
    }
  }

  void run_for(std::uint64_t us) {
    const std::uint64_t until = now_ + us;
    while (now_ < until) {
      now_ = std::min(until, std::min(due_, messages_.empty() ? until : messages_.front().arrives));
      while (!messages_.empty() && messages_.front().arrives <= now_) deliver();
      if (now_ >= due_) tick();
    }
  }

  void kill(NodeId victim) {
    logs_[victim.value].reset();
    for (std::uint16_t n = 0; n < logs_.size(); ++n) {
      if (logs_[n]) event(NodeId{n}, [&](vmm::Log& log, vmm::Effects& e) { log.peer_down({victim, 1}, now_, e); });
    }
  }

  void revive(NodeId node, std::uint64_t life) {
    for (auto& log : logs_) {
      if (log) log->peer_up({node, life});
    }
    start(node, life);
    propose(NodeId{0}, {node, kAddress, life});
  }

  std::uint64_t now() const { return now_; }
  Traffic traffic() const { return traffic_; }

 private:
  struct Message {
    std::uint64_t arrives = 0;
    NodeId from{}, to{};
    wire::MessageType type{};
    std::shared_ptr<const vmm::Bytes> body;
  };

  static std::size_t members_of(const vmm::Log& log) { return log.machine().members().size(); }

  void start(NodeId node, std::uint64_t life) {
    vmm::RaftOptions raft{.self = node, .incarnation = life, .seed = node.value + 1u, .now = now_};
    for (std::uint16_t n = 0; n < logs_.size(); ++n) raft.founders.push_back(NodeId{n});
    logs_[node.value] =
        std::make_unique<vmm::Log>(vmm::LogOptions{.self = node, .incarnation = life}, vmm::raft_log(raft));
    event(node, [&](vmm::Log& log, vmm::Effects& e) { log.start(now_, e); });
    if (life == 1) propose(node, {node, kAddress, life});
  }

  void propose(NodeId by, const vmm::MemberJoined& joined) {
    event(by, [&](vmm::Log& log, vmm::Effects& e) { log.propose(joined, vmm::Ticket{1}, now_, e); });
  }

  template <typename F>
  void event(NodeId node, F f) {
    vmm::Effects effects;
    f(*logs_[node.value], effects);
    logs_[node.value]->flush(now_, effects);
    for (const vmm::Send& send : effects.sends) {
      const auto body = std::make_shared<const vmm::Bytes>(send.body);
      for (const NodeId to : send.to) {
        ++traffic_.messages;
        traffic_.bytes += sizeof(wire::FrameHeader) + body->size();
        messages_.push_back({now_ + kLinkUs, node, to, send.type, body});
      }
    }
  }

  void deliver() {
    const Message m = std::move(messages_.front());
    messages_.pop_front();
    if (!logs_[m.to.value] || !logs_[m.from.value]) return;
    event(m.to, [&](vmm::Log& log, vmm::Effects& e) {
      const auto taken = log.message(m.from, m.type, *m.body, now_, e);
      CHECK(taken.has_value(), taken.error().message);
    });
  }

  void tick() {
    due_ = now_ + kTickUs;
    for (std::uint16_t n = 0; n < logs_.size(); ++n) {
      if (logs_[n] && logs_[n]->next_deadline() <= now_)
        event(NodeId{n}, [&](vmm::Log& log, vmm::Effects& e) { log.tick(now_, e); });
    }
  }

  std::vector<std::unique_ptr<vmm::Log>> logs_;
  std::deque<Message> messages_;  // all links take equally long
  std::uint64_t now_ = 1'000'000, due_ = 1'000'000 + kTickUs;
  Traffic traffic_;
};

struct Cost {
  double messages = 0, bytes = 0, ms = 0;
};

// What a change cost beyond what so much time costs without one.
template <typename F>
Cost cost_of(Cluster& cluster, std::size_t members, F change) {
  constexpr std::uint64_t kIdleUs = 400'000;
  const Traffic start = cluster.traffic();
  cluster.run_for(kIdleUs);
  const Traffic before = cluster.traffic();
  const std::uint64_t began = cluster.now();
  change();
  cluster.run_until_members(members);
  const auto us = static_cast<double>(cluster.now() - began);
  // What follows it: followers learn that others have the entry, too.
  cluster.run_for(kIdleUs);
  const double idle = static_cast<double>(cluster.now() - began) / static_cast<double>(kIdleUs);
  const auto beyond = [&](std::uint64_t at_start, std::uint64_t at_change, std::uint64_t now) {
    return static_cast<double>(now - at_change) - idle * static_cast<double>(at_change - at_start);
  };
  const Traffic after = cluster.traffic();
  return {beyond(start.messages, before.messages, after.messages), beyond(start.bytes, before.bytes, after.bytes),
          us / 1000};
}

int measure(std::uint16_t nodes) {
  const std::size_t empty = ::mallinfo2().uordblks;
  Cluster cluster(nodes);
  cluster.run_until_members(nodes);
  cluster.run_for(1'000'000);
  const double held = static_cast<double>(::mallinfo2().uordblks - empty) / nodes;
  const NodeId last{static_cast<std::uint16_t>(nodes - 1)};
  const Cost death = cost_of(cluster, nodes - 1u, [&] { cluster.kill(last); });
  const Cost joining = cost_of(cluster, nodes, [&] { cluster.revive(last, 2); });
  std::printf("metadata_bytes=%.0f\n", held);
  std::printf("death_messages=%.0f\ndeath_bytes=%.0f\ndeath_ms=%.3g\n", death.messages, death.bytes, death.ms);
  std::printf("join_messages=%.0f\njoin_bytes=%.0f\njoin_ms=%.3g\n", joining.messages, joining.bytes, joining.ms);
  return 0;
}

}  // namespace
}  // namespace gallocy::bench

int main(int argc, char** argv) {
  const long nodes = argc == 2 ? std::strtol(argv[1], nullptr, 10) : 0;
  if (nodes < 3 || nodes > gallocy::kMaxNodes) {
    std::fprintf(stderr, "log_scale: expected a number of nodes from 3 to %u\n", unsigned{gallocy::kMaxNodes});
    return 64;
  }
  return gallocy::bench::measure(static_cast<std::uint16_t>(nodes));
}
