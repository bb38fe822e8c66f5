#include "vmm/suspicion.h"

#include <algorithm>
#include <cmath>

namespace gallocy::vmm {
namespace {

// -log10 of the probability that a normally distributed value is more than `x` deviations above the mean. erfc gives 0
// from some 27 deviations on: certain enough.
double phi_of(double x) {
  const double later = 0.5 * std::erfc(x / std::sqrt(2.0));
  return later > 0 ? -std::log10(later) : 1000;
}

// How many deviations above the mean phi has this value. By bisection: once per peer.
double deviations_for(double phi) {
  double low = 0, high = 40;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (phi_of(middle) < phi ? low : high) = middle;
  }
  return high;
}

}  // namespace

Suspicion::Suspicion(const Options& options, std::uint64_t now)
    : options_(options),
      least_deviation_(static_cast<double>(options.floor_us - options.expected_us) /
                       deviations_for(options.threshold)) {
  reset(now);
}

void Suspicion::reset(std::uint64_t now) {
  const auto expected = static_cast<float>(options_.expected_us);
  gaps_.fill(0);
  gaps_[0] = expected;
  count_ = next_ = 1;
  sum_ = expected;
  squares_ = sum_ * sum_;
  last_beat_ = last_sign_ = now;
}

void Suspicion::heard(std::uint64_t now) {
  const auto gap = static_cast<float>(now - last_beat_);
  last_beat_ = last_sign_ = now;
  const float dropped = count_ == kWindow ? gaps_[next_] : 0.0F;
  gaps_[next_] = gap;
  next_ = (next_ + 1) % kWindow;
  count_ = std::min(count_ + 1, kWindow);
  const auto square = [](float value) { return static_cast<double>(value) * static_cast<double>(value); };
  sum_ += static_cast<double>(gap) - static_cast<double>(dropped);
  squares_ += square(gap) - square(dropped);
}

double Suspicion::deviation() const {
  const double variance = std::max(0.0, squares_ / static_cast<double>(count_) - mean() * mean());
  const double longest = *std::max_element(gaps_.begin(), gaps_.begin() + static_cast<std::ptrdiff_t>(count_));
  return std::max({least_deviation_, std::sqrt(variance), longest / 2});
}

double Suspicion::phi(std::uint64_t now) const {
  return phi_of((static_cast<double>(silence(now)) - mean()) / deviation());
}

std::uint64_t AwakeTime::beat(std::uint64_t now) {
  const std::uint64_t pause = now - seen_;
  seen_ = now;
  awake_ += std::min(pause, longest_us_);
  return pause;
}

}  // namespace gallocy::vmm
