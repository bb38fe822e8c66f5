#include "personality/processors.h"

#include "os/processor_mask.h"

namespace gallocy::personality {
namespace {

std::vector<unsigned> read_usable() {
  os::ProcessorMask mask;
  std::vector<unsigned> processors;
  if (os::read_affinity(0, mask)) processors = mask.processors();
  if (processors.empty()) processors.push_back(0);
  return processors;
}

}  // namespace

const std::vector<unsigned>& usable_processors() {
  static const std::vector<unsigned> processors = read_usable();
  return processors;
}

void confine_thread(int tid, std::span<const unsigned> which) {
  const std::vector<unsigned>& usable = usable_processors();
  os::ProcessorMask mask;
  for (const unsigned place : which) mask.add(usable[place]);
  if (which.empty()) {
    for (const unsigned processor : usable) mask.add(processor);
  }
  // If the kernel refuses (the processor was taken off line), the thread runs where it may.
  (void)os::write_affinity(tid, mask);
}

void free_thread() { confine_thread(0, {}); }

}  // namespace gallocy::personality
