#include "os/processor_share.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <climits>

namespace gallocy::os {
namespace {

constexpr unsigned kMost = 8192;  // as many as Linux knows on x86-64
constexpr unsigned kWordBits = sizeof(unsigned long) * CHAR_BIT;

struct Mask {
  std::array<unsigned long, kMost / kWordBits> words{};

  bool has(unsigned i) const { return (words[i / kWordBits] >> (i % kWordBits) & 1) != 0; }
  void add(unsigned i) { words[i / kWordBits] |= 1UL << (i % kWordBits); }
  bool operator==(const Mask&) const = default;
};

bool read(Mask& mask) { return ::sched_getaffinity(0, sizeof mask, reinterpret_cast<cpu_set_t*>(&mask)) == 0; }
bool write(const Mask& mask) {
  return ::sched_setaffinity(0, sizeof mask, reinterpret_cast<const cpu_set_t*>(&mask)) == 0;
}

bool g_taken = false;
Mask g_all, g_share;  // constant once taken

}  // namespace

std::vector<unsigned> processor_share(std::span<const unsigned> processors, unsigned index, unsigned nodes) {
  const std::size_t count = processors.size();
  const std::size_t begin = index * count / nodes;
  const std::size_t end = std::max(begin + 1, (index + 1) * count / nodes);
  return {processors.begin() + static_cast<std::ptrdiff_t>(begin),
          processors.begin() + static_cast<std::ptrdiff_t>(end)};
}

void take_processor_share(unsigned index, unsigned nodes) {
  if (nodes < 2 || !read(g_all)) return;
  std::vector<unsigned> processors;
  for (unsigned i = 0; i < kMost; ++i) {
    if (g_all.has(i)) processors.push_back(i);
  }
  for (const unsigned processor : processor_share(processors, index, nodes)) g_share.add(processor);
  g_taken = write(g_share);
}

bool has_processor_share() { return g_taken; }

void leave_processor_share() {
  Mask mask;
  if (g_taken && read(mask) && mask == g_share) (void)write(g_all);
}

}  // namespace gallocy::os
