// View: which nodes a node knows to be there and which to be dead, who is passed over as a home, and the number that
// names all that in messages.
//
// Who comes changes no home and no number, so it needs no new view: see Options::founders.
//
// Nobody agrees on an order of changes, which are deaths and moves of homes: each node learns of each death once, and
// of moves in their order, but of a death before or after a move. Two nodes with the same number know the same deaths
// (but for a collision of 48-bit hashes) and as many moves, and so have the same homes. Of two different views the one
// with more changes is the newer one; a node that receives a message of a view with at least as many as its own, but
// not the same view, will learn of more, because every survivor ends with the same ones.
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
  std::uint16_t moves() const { return moves_; }
  std::uint16_t changes() const { return static_cast<std::uint16_t>(deaths_ + moves_); }

  // 16 bits: number of changes; 48 bits: the hash of the deaths, independent of order.
  std::uint64_t number() const { return (std::uint64_t{changes()} << 48) | (hash_ >> 16); }
  static std::uint16_t changes_of(std::uint64_t number) { return static_cast<std::uint16_t>(number >> 48); }

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

  // From the so-manieth move on these are homes only where there is nobody else.
  void pass_over(const std::vector<NodeId>& nodes, std::uint16_t moves) {
    passed_over_.assign(alive_.size(), false);
    for (const NodeId node : nodes) passed_over_[node.value] = true;
    moves_ = moves;
  }

  // The first live node from `first` on, cyclically.
  NodeId next_alive(NodeId first) const {
    NodeId node = first;
    while (!alive_[node.value]) node = after(node);
    return node;
  }
  // The same without those that are passed over, if there are others.
  NodeId next_home(NodeId first) const {
    NodeId node = next_alive(first);
    if (passed_over_.empty()) return node;
    for (unsigned i = 0; i < nodes(); ++i, node = after(node)) {
      if (alive_[node.value] && !passed_over_[node.value]) return node;
    }
    return next_alive(first);
  }

 private:
  NodeId after(NodeId node) const { return NodeId(static_cast<std::uint16_t>((node.value + 1) % nodes())); }

  std::vector<bool> alive_, dead_;
  std::vector<bool> passed_over_;  // empty: nobody
  std::uint16_t live_count_ = 0;
  std::uint16_t deaths_ = 0, moves_ = 0;
  std::uint64_t hash_ = 0;
};

}  // namespace gallocy::sync
