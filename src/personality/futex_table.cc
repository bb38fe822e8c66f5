#include "personality/futex_table.h"

#include <algorithm>
#include <iterator>

namespace gallocy::personality {

void FutexTable::enlist(std::uint64_t address, std::uint32_t bits, FutexWaiter waiter) {
  queues_[address].push_back({waiter, bits});
  places_[waiter] = address;
}

bool FutexTable::take_out(FutexWaiter waiter) {
  const auto place = places_.find(waiter);
  if (place == places_.end()) return false;
  const auto queue = queues_.find(place->second);
  std::erase_if(queue->second, [&](const Sleeper& s) { return s.waiter == waiter; });
  if (queue->second.empty()) queues_.erase(queue);
  places_.erase(place);
  return true;
}

std::vector<FutexWaiter> FutexTable::wake(std::uint64_t address, std::uint32_t most, std::uint32_t bits) {
  std::vector<FutexWaiter> woken;
  const auto queue = queues_.find(address);
  if (queue == queues_.end()) return woken;
  std::erase_if(queue->second, [&](const Sleeper& s) {
    if (woken.size() >= most || (s.bits & bits) == 0) return false;
    woken.push_back(s.waiter);
    places_.erase(s.waiter);
    return true;
  });
  if (queue->second.empty()) queues_.erase(queue);
  return woken;
}

std::vector<FutexWaiter> FutexTable::wake_range(std::uint64_t begin, std::uint64_t end) {
  std::vector<std::uint64_t> addresses;
  for (const auto& [address, queue] : queues_) {
    if (begin <= address && address < end) addresses.push_back(address);
  }
  std::vector<FutexWaiter> woken;
  for (const std::uint64_t address : addresses) {
    std::ranges::copy(wake(address, ~0u, ~0u), std::back_inserter(woken));
  }
  return woken;
}

std::uint32_t FutexTable::requeue(std::uint64_t from, std::uint64_t to, std::uint32_t most) {
  const auto queue = queues_.find(from);
  if (queue == queues_.end() || from == to) return 0;
  std::deque<Sleeper> moved;
  while (!queue->second.empty() && moved.size() < most) {
    moved.push_back(queue->second.front());
    queue->second.pop_front();
  }
  if (queue->second.empty()) queues_.erase(queue);
  std::deque<Sleeper>& target = queues_[to];
  for (const Sleeper& s : moved) {
    places_[s.waiter] = to;
    target.push_back(s);
  }
  if (target.empty()) queues_.erase(to);
  return static_cast<std::uint32_t>(moved.size());
}

}  // namespace gallocy::personality
