// Suspicion: how sure one may be that a peer is gone, from the times at which its heartbeats came (Hayashibara, Défago,
// Yared, Katayama, "The phi accrual failure detector", SRDS 2004).
//
// phi(now) = -log10(the probability that a heartbeat comes still later than now), if the gaps between heartbeats are
// normally distributed as those of the last kWindow were. Two things are not as in the paper: gaps of processes on a
// busy machine have rare long ones, of which a normal distribution thinks too little, so the deviation is at least half
// the longest gap of the window; and it is never below one that makes the peer suspect after `floor_us`, because what
// was calm until now may become busy at once.
//
// Threads: none; pure. `now` in microseconds, never going back. It should be a time in which the one who asks was
// awake: see AwakeTime.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace gallocy::vmm {

class Suspicion {
 public:
  struct Options {
    std::uint64_t expected_us = 100'000;  // the pace of heartbeats, until something better is known
    std::uint64_t floor_us = 4'000'000;   // no peer is suspected after a shorter silence
    double threshold = 8;                 // one heartbeat in 10^8 comes later
  };
  explicit Suspicion(const Options& options, std::uint64_t now);

  // The peer began anew.
  void reset(std::uint64_t now);
  // A heartbeat.
  void heard(std::uint64_t now);
  // Any other sign of life: it ends a silence, and says nothing about the pace.
  void noticed(std::uint64_t now) { last_sign_ = now; }

  double phi(std::uint64_t now) const;
  bool suspected(std::uint64_t now) const {
    return silence(now) >= options_.floor_us && phi(now) >= options_.threshold;
  }
  std::uint64_t silence(std::uint64_t now) const { return now - last_sign_; }

 private:
  static constexpr std::size_t kWindow = 256;  // a heartbeat every 100 ms: half a minute

  double mean() const { return sum_ / static_cast<double>(count_); }
  double deviation() const;

  Options options_;
  double least_deviation_ = 0;
  std::array<float, kWindow> gaps_{};  // microseconds
  std::size_t count_ = 0, next_ = 0;
  double sum_ = 0, squares_ = 0;
  std::uint64_t last_beat_ = 0, last_sign_ = 0;
};

// Time in which this process was awake, as far as it can tell: the clock as it is seen at each beat of its own, of
// which no more than `longest_us` counts between two. While it was stopped, or starved, its peers may have spoken.
class AwakeTime {
 public:
  AwakeTime(std::uint64_t now, std::uint64_t longest_us) : seen_(now), longest_us_(longest_us) {}

  // Returns how long the pause before this beat was, in real time.
  std::uint64_t beat(std::uint64_t now);
  std::uint64_t now() const { return awake_; }

 private:
  std::uint64_t seen_;
  std::uint64_t longest_us_;
  std::uint64_t awake_ = 0;
};

}  // namespace gallocy::vmm
