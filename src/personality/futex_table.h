// FutexTable: who sleeps on which word of the program's memory. Pure; one node keeps it for the process.
//
// No wake-up is lost: a thread first enlists, then reads the word (through coherent memory), and takes itself out again
// if the word has changed; a waker first writes the word. See futex(2), and Franke, Russell, Kirkwood, "Fuss, futexes
// and furwocks" (OLS 2002).
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "base/ids.h"

namespace gallocy::personality {

struct FutexWaiter {
  NodeId node;
  std::uint64_t ticket = 0;  // the node's own number of the wait
  friend bool operator==(const FutexWaiter&, const FutexWaiter&) = default;
};

class FutexTable {
 public:
  void enlist(std::uint64_t address, std::uint32_t bits, FutexWaiter waiter);
  // False: it was woken already (or is not known).
  bool take_out(FutexWaiter waiter);
  // Wakes at most `most` of those whose bits meet `bits`, first come first served.
  std::vector<FutexWaiter> wake(std::uint64_t address, std::uint32_t most, std::uint32_t bits);
  // Wakes all that sleep on words of [begin, end).
  std::vector<FutexWaiter> wake_range(std::uint64_t begin, std::uint64_t end);
  // Moves at most `most` sleepers to another word; returns how many.
  std::uint32_t requeue(std::uint64_t from, std::uint64_t to, std::uint32_t most);
  std::size_t sleepers() const { return places_.size(); }

 private:
  struct Sleeper {
    FutexWaiter waiter;
    std::uint32_t bits;
  };
  struct Hash {
    std::size_t operator()(const FutexWaiter& w) const { return w.ticket * 0x9e3779b97f4a7c15u + w.node.value; }
  };
  std::unordered_map<std::uint64_t, std::deque<Sleeper>> queues_;  // by address; none is empty
  std::unordered_map<FutexWaiter, std::uint64_t, Hash> places_;    // the address each sleeps on
};

}  // namespace gallocy::personality
