// View: which nodes a node knows to be there and which to be dead, and the number that names the deaths in messages.
//
// Who comes changes no home and no number, so it needs no new view: see Options::founders.
//
// Nobody agrees on an order of deaths: each node learns of each death once, in any order. Two nodes with the same
// number know the same deaths (but for a collision of 48-bit hashes). Of two different views the one with more deaths
// is the newer one; a node that receives a message of a view with at least as many deaths as its own, but not the same
// view, will learn of more deaths, because every survivor ends with the same set.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/prng.h"

namespace gallocy::sync {

// A death as one object sees it.
struct Death {
  NodeId node{};
  bool of_home = false;    // the node was the home of the object
  bool inherited = false;  // and this node is the next one
};

class View {
 public:
  // present: as in Options.
  View(std::uint16_t nodes, NodeId self, const std::vector<NodeId>& present)
      : alive_(nodes, present.empty()), dead_(nodes) {
    alive_[self.value] = true;
    for (const NodeId node : present) alive_[node.value] = true;
    live_count_ = static_cast<std::uint16_t>(std::ranges::count(alive_, true));
  }

  bool alive(NodeId node) const { return node.value < alive_.size() && alive_[node.value]; }
  bool dead(NodeId node) const { return dead_[node.value]; }
  std::uint16_t nodes() const { return static_cast<std::uint16_t>(alive_.size()); }
  std::uint16_t live_count() const { return live_count_; }
  std::uint16_t deaths() const { return deaths_; }

  // 16 bits: number of deaths; 48 bits: their hash, independent of order.
  std::uint64_t number() const { return (std::uint64_t{deaths()} << 48) | (hash_ >> 16); }
  static std::uint16_t deaths_of(std::uint64_t number) { return static_cast<std::uint16_t>(number >> 48); }

  void welcome(NodeId node) {
    live_count_ = static_cast<std::uint16_t>(live_count_ + !alive_[node.value]);
    alive_[node.value] = true;
  }
  // It has left, and had nothing that anybody needs: no object changes its home, so this is no new view.
  void dismiss(NodeId node) {
    live_count_ = static_cast<std::uint16_t>(live_count_ - alive_[node.value]);
    alive_[node.value] = false;
    dead_[node.value] = true;
  }
  // It may not have come yet as far as this node knows.
  void bury(NodeId node) {
    live_count_ = static_cast<std::uint16_t>(live_count_ - alive_[node.value]);
    alive_[node.value] = false;
    dead_[node.value] = true;
    ++deaths_;
    hash_ ^= Prng(node.value + 1u)();
  }

  // The first live node from `first` on, cyclically.
  NodeId next_alive(NodeId first) const {
    NodeId node = first;
    while (!alive_[node.value]) node.value = static_cast<std::uint16_t>((node.value + 1) % nodes());
    return node;
  }

 private:
  std::vector<bool> alive_, dead_;
  std::uint16_t live_count_ = 0;
  std::uint16_t deaths_ = 0;
  std::uint64_t hash_ = 0;
};

}  // namespace gallocy::sync
