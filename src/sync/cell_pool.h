// CellPool: the cells of all queues of a core, and Queue, a FIFO list of them. Queues are many and nearly always empty:
// an empty one takes 8 bytes, and a cell goes back to the pool when it is popped, so steady traffic allocates nothing.
// Plain numbers instead of pointers: a core can be copied.
#pragma once

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/ids.h"

namespace gallocy::sync {

// One waiting thread, or one node in a home's queue. A kind uses the fields it needs.
struct Cell {
  std::uint64_t waiter = 0;  // WaiterId; 0: given up
  std::uint64_t object = 0;  // condition variable: the mutex to take again
  std::uint32_t ticket = 0;
  std::uint32_t count = 0;
  NodeId node{};
  std::uint8_t mode = 0;
};

struct Queue {
  std::uint32_t first = 0, last = 0;  // 0: none
  bool empty() const { return first == 0; }
};

class CellPool {
 public:
  CellPool() { slots_.emplace_back(); }  // number 0 is no cell

  void push(Queue& queue, const Cell& cell) {
    const std::uint32_t at = take(cell);
    if (queue.empty()) {
      queue.first = at;
    } else {
      slots_[queue.last].next = at;
    }
    queue.last = at;
  }

  void push_front(Queue& queue, const Cell& cell) {
    const std::uint32_t at = take(cell);
    slots_[at].next = queue.first;
    if (queue.empty()) queue.last = at;
    queue.first = at;
  }

  Cell pop(Queue& queue) {
    CHECK(!queue.empty());
    const std::uint32_t at = queue.first;
    const Cell cell = slots_[at].cell;
    queue.first = slots_[at].next;
    if (queue.empty()) queue.last = 0;
    give_back(at);
    return cell;
  }

  Cell& front(const Queue& queue) { return slots_[queue.first].cell; }
  const Cell& front(const Queue& queue) const { return slots_[queue.first].cell; }
  Cell& back(const Queue& queue) { return slots_[queue.last].cell; }
  bool single(const Queue& queue) const { return !queue.empty() && queue.first == queue.last; }

  void clear(Queue& queue) {
    while (!queue.empty()) pop(queue);
  }

  // f(cell) for each, in order. f gets a copy and may push to and pop from other queues of the pool.
  template <typename F>
  void each(const Queue& queue, F f) const {
    for (std::uint32_t at = queue.first, next; at != 0; at = next) {
      next = slots_[at].next;
      const Cell cell = slots_[at].cell;
      f(cell);
    }
  }

  // The first cell for which match(cell) holds, or null.
  template <typename F>
  Cell* find(const Queue& queue, F match) {
    for (std::uint32_t at = queue.first; at != 0; at = slots_[at].next) {
      if (match(slots_[at].cell)) return &slots_[at].cell;
    }
    return nullptr;
  }

  // Takes out all cells for which match(cell) holds; the number of them.
  template <typename F>
  std::uint32_t remove_if(Queue& queue, F match) {
    std::uint32_t removed = 0, before = 0;
    for (std::uint32_t at = queue.first, next; at != 0; at = next) {
      next = slots_[at].next;
      if (!match(slots_[at].cell)) {
        before = at;
        continue;
      }
      (before == 0 ? queue.first : slots_[before].next) = next;
      if (queue.last == at) queue.last = before;
      give_back(at);
      ++removed;
    }
    return removed;
  }

  std::uint32_t size(const Queue& queue) const {
    std::uint32_t count = 0;
    each(queue, [&count](const Cell&) { ++count; });
    return count;
  }

  std::uint32_t in_use() const { return in_use_; }
  std::size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

 private:
  struct Slot {
    Cell cell;
    std::uint32_t next = 0;
  };

  std::uint32_t take(const Cell& cell) {
    ++in_use_;
    if (free_ == 0) {
      slots_.push_back({cell, 0});
      return static_cast<std::uint32_t>(slots_.size() - 1);
    }
    const std::uint32_t at = free_;
    free_ = slots_[at].next;
    slots_[at] = {cell, 0};
    return at;
  }
  void give_back(std::uint32_t at) {
    slots_[at].next = free_;
    free_ = at;
    --in_use_;
  }

  std::vector<Slot> slots_;
  std::uint32_t free_ = 0;
  std::uint32_t in_use_ = 0;
};

}  // namespace gallocy::sync
