#include "os/processor_share.h"

#include <algorithm>

#include "os/processor_mask.h"

namespace gallocy::os {
namespace {

bool g_taken = false;
ProcessorMask g_all, g_share;  // constant once taken

}  // namespace

std::vector<unsigned> processor_share(std::span<const unsigned> processors, unsigned index, unsigned nodes) {
  const std::size_t count = processors.size();
  const std::size_t begin = index * count / nodes;
  const std::size_t end = std::max(begin + 1, (index + 1) * count / nodes);
  return {processors.begin() + static_cast<std::ptrdiff_t>(begin),
          processors.begin() + static_cast<std::ptrdiff_t>(end)};
}

void take_processor_share(unsigned index, unsigned nodes) {
  if (nodes < 2 || !read_affinity(0, g_all)) return;
  const std::vector<unsigned> processors = g_all.processors();
  for (const unsigned processor : processor_share(processors, index, nodes)) g_share.add(processor);
  g_taken = write_affinity(0, g_share);
}

bool has_processor_share() { return g_taken; }

void leave_processor_share() {
  ProcessorMask mask;
  if (g_taken && read_affinity(0, mask) && mask == g_share) (void)write_affinity(0, g_all);
}

}  // namespace gallocy::os
