// Numbered<T>: things that get consecutive numbers when they begin and end in any order. All below first() have ended.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

namespace gallocy::durable {

template <typename T>
class Numbered {
 public:
  std::uint64_t next() const { return first_ + things_.size(); }
  std::uint64_t first() const { return first_; }
  std::size_t count() const { return count_; }

  std::uint64_t add(T thing) {
    things_.emplace_back(std::move(thing));
    ++count_;
    return next() - 1;
  }

  // Valid until the next change; null: has ended, or never began.
  T* find(std::uint64_t number) {
    if (number < first_ || number >= next()) return nullptr;
    auto& thing = things_[number - first_];
    return thing ? &*thing : nullptr;
  }

  const T* find(std::uint64_t number) const { return const_cast<Numbered*>(this)->find(number); }

  void erase(std::uint64_t number) {
    if (find(number) == nullptr) return;
    things_[number - first_].reset();
    --count_;
    while (!things_.empty() && !things_.front()) {
      things_.pop_front();
      ++first_;
    }
  }

 private:
  std::uint64_t first_ = 1;
  std::deque<std::optional<T>> things_;
  std::size_t count_ = 0;
};

}  // namespace gallocy::durable
