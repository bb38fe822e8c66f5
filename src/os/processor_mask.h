// A set of processors, by the kernel's numbers, as the kernel and cpu_set_t lay it out.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace gallocy::os {

class ProcessorMask {
 public:
  static constexpr unsigned kMost = 8192;  // as many as Linux knows on x86-64

  bool has(unsigned processor) const { return (words_[processor / 64] >> (processor % 64) & 1) != 0; }
  void add(unsigned processor) { words_[processor / 64] |= std::uint64_t{1} << (processor % 64); }
  bool empty() const { return *this == ProcessorMask{}; }
  std::vector<unsigned> processors() const;  // ascending
  std::uint64_t* data() { return words_.data(); }
  const std::uint64_t* data() const { return words_.data(); }
  bool operator==(const ProcessorMask&) const = default;

 private:
  std::array<std::uint64_t, kMost / 64> words_{};
};

// Of a thread of this machine (0: the calling one); false: there is none, or the kernel refuses. Async-signal-safe.
bool read_affinity(int tid, ProcessorMask& mask);
bool write_affinity(int tid, const ProcessorMask& mask);

}  // namespace gallocy::os
