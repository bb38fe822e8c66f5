// A network of simulated nodes: what is sent from one node to another arrives in order, whole and once; between pairs
// there is no order, and some pairs are slower than others. A node may die at any step: every other node still receives
// some prefix of what the dead one had sent it, then the news of its death. This is what net::Mesh promises.
//
// Everything is a function of the seed and of the Prng handed in; digest() sums up all that was delivered, so two runs
// of one seed can be compared. A network can be copied, and deliver() names the channel, so that a test can explore
// every interleaving instead of a random one.
//
// Message is any copyable type with `std::uint64_t digest(const Message&)` found by argument-dependent lookup.
//
//   sim::Network<Ping> network(3, seed);
//   network.send(NodeId{0}, NodeId{1}, ping);
//   while (network.pending() > 0) handle(network.deliver_random(prng));
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/ids.h"
#include "base/prng.h"

namespace gallocy::sim {

constexpr std::uint64_t mix(std::uint64_t digest, std::uint64_t value) {
  return Prng(digest ^ (value * 0xff51afd7ed558ccd))();
}

namespace network_detail {
// Outside of the class, whose own digest() would hide the message's.
template <typename Message>
std::uint64_t digest_of(const Message& message) {
  return digest(message);
}
}  // namespace network_detail

template <typename Message>
class Network {
 public:
  struct Delivery {
    NodeId from;
    NodeId to;
    std::optional<Message> message;  // empty: `to` learns that `from` died
  };

  Network(std::uint16_t nodes, std::uint64_t seed)
      : nodes_(nodes), alive_(nodes, true), channels_(std::size_t{nodes} * nodes) {
    Prng prng(seed);
    for (Channel& channel : channels_) channel.slowness = prng.one_in(4) ? 1 + prng.below(8) : 1;
  }

  // A dead sender or receiver: nothing happens.
  void send(NodeId from, NodeId to, Message message) {
    CHECK(from.value < nodes_ && to.value < nodes_, from, to);
    if (!alive(from) || !alive(to)) return;
    ++sent_;
    push(index(from, to), std::move(message));
  }

  // Delivers from a random channel, slow ones less often. There must be something pending.
  Delivery deliver_random(Prng& prng) {
    CHECK(pending_ > 0);
    for (;;) {
      const std::size_t chosen = ready_[prng.below(ready_.size())];
      if (channels_[chosen].slowness == 1 || prng.one_in(channels_[chosen].slowness)) return pop(chosen);
    }
  }

  // Delivers the oldest message of one channel, which must not be empty.
  Delivery deliver(NodeId from, NodeId to) { return pop(index(from, to)); }

  // The node stops now. Each receiver gets a random prefix of what is in flight from it, and the news after that.
  void kill(NodeId node, Prng& prng) {
    kill(node, [&prng](NodeId, std::size_t in_flight) { return prng.below(in_flight + 1); });
  }

  // The same with `surviving(receiver, in_flight)` deciding how many messages in flight to a receiver still arrive.
  template <typename Surviving>
  void kill(NodeId node, Surviving surviving) {
    end(node, surviving, [this](std::size_t out) { push(out, std::nullopt); });
  }

  // The same in two steps; without the second, nobody learns of it here.
  template <typename Surviving>
  void silence(NodeId node, Surviving surviving) {
    end(node, surviving, [](std::size_t) {});
  }
  void tell_of_end(NodeId node) {
    for (std::uint16_t i = 0; i < nodes_; ++i) {
      if (alive_[i]) push(index(node, NodeId{i}), std::nullopt);
    }
  }

  // A node that was killed is there again; what was sent to it before is lost.
  void revive(NodeId node) {
    CHECK(!alive(node), node);
    alive_[node.value] = true;
  }

  std::uint16_t nodes() const { return nodes_; }
  bool alive(NodeId node) const { return alive_[node.value]; }
  std::uint16_t alive_count() const {
    std::uint16_t count = 0;
    for (const bool alive : alive_) count += alive;
    return count;
  }

  std::size_t pending() const { return pending_; }  // messages and news in flight
  std::size_t pending(NodeId from, NodeId to) const { return channels_[index(from, to)].queue.size(); }
  std::uint64_t sent() const { return sent_; }  // messages sent so far

  // What is in flight on one channel, oldest first.
  const std::deque<std::optional<Message>>& in_flight(NodeId from, NodeId to) const {
    return channels_[index(from, to)].queue;
  }

  // Of all deliveries so far, in order.
  std::uint64_t digest() const { return digest_; }

 private:
  struct Channel {
    std::deque<std::optional<Message>> queue;
    std::uint64_t slowness = 1;   // delivers once in so many times that it is chosen
    std::size_t ready_place = 0;  // in ready_, while not empty
  };

  std::size_t index(NodeId from, NodeId to) const { return std::size_t{from.value} * nodes_ + to.value; }

  template <typename Surviving, typename Then>
  void end(NodeId node, Surviving surviving, Then then) {
    CHECK(alive(node), node);
    alive_[node.value] = false;
    for (std::uint16_t i = 0; i < nodes_; ++i) {
      truncate(index(NodeId{i}, node), 0);
      if (!alive_[i]) continue;
      const std::size_t out = index(node, NodeId{i});
      truncate(out, surviving(NodeId{i}, channels_[out].queue.size()));
      then(out);
    }
  }

  void push(std::size_t at, std::optional<Message> message) {
    Channel& channel = channels_[at];
    if (channel.queue.empty()) {
      channel.ready_place = ready_.size();
      ready_.push_back(at);
    }
    channel.queue.push_back(std::move(message));
    ++pending_;
  }

  Delivery pop(std::size_t at) {
    Channel& channel = channels_[at];
    CHECK(!channel.queue.empty(), at);
    Delivery delivery{NodeId(static_cast<std::uint16_t>(at / nodes_)), NodeId(static_cast<std::uint16_t>(at % nodes_)),
                      std::move(channel.queue.front())};
    channel.queue.pop_front();
    --pending_;
    if (channel.queue.empty()) forget_ready(channel);
    digest_ = mix(digest_, at);
    digest_ = mix(digest_, delivery.message ? network_detail::digest_of(*delivery.message) : 0);
    return delivery;
  }

  void truncate(std::size_t at, std::size_t length) {
    Channel& channel = channels_[at];
    if (channel.queue.size() <= length) return;
    pending_ -= channel.queue.size() - length;
    channel.queue.resize(length);
    if (channel.queue.empty()) forget_ready(channel);
  }

  void forget_ready(Channel& channel) {
    channels_[ready_.back()].ready_place = channel.ready_place;
    ready_[channel.ready_place] = ready_.back();
    ready_.pop_back();
  }

  std::uint16_t nodes_;
  std::vector<bool> alive_;
  std::vector<Channel> channels_;
  std::vector<std::size_t> ready_;  // channels that are not empty, in no particular but reproducible order
  std::size_t pending_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t digest_ = 0;
};

}  // namespace gallocy::sim
