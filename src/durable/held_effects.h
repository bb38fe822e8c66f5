// HeldEffects: what a Core asked for (Options::keep), in its order, until the notes that came before it are on disk.
#pragma once

#include <deque>
#include <utility>

#include "durable/effects.h"

namespace gallocy::durable {

class HeldEffects {
 public:
  // Its notes are part of the write of this number, or there are none. Numbers of writes grow.
  void add(std::uint64_t write, Effects effects) { held_.push_back({write, std::move(effects)}); }
  // This write and all before it are on disk.
  void written(std::uint64_t write) { written_ = write; }
  std::uint64_t written() const { return written_; }
  bool may_go() const { return !held_.empty() && held_.front().after <= written_; }
  Effects take_first() {
    Effects first = std::move(held_.front().effects);
    held_.pop_front();
    return first;
  }
  void clear() { held_.clear(); }

 private:
  struct Held {
    std::uint64_t after = 0;
    Effects effects;
  };
  std::deque<Held> held_;
  std::uint64_t written_ = 0;
};

}  // namespace gallocy::durable
