#include "personality/processors.h"

#include <sched.h>

#include "personality/affinity.h"

namespace gallocy::personality {
namespace {

std::vector<unsigned> read_usable() {
  ProcessorMask mask;
  std::vector<unsigned> processors;
  if (::sched_getaffinity(0, sizeof mask, reinterpret_cast<cpu_set_t*>(mask.data())) == 0) {
    for (unsigned i = 0; i < ProcessorMask::kMost; ++i) {
      if (mask.has(i)) processors.push_back(i);
    }
  }
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
  ProcessorMask mask;
  for (const unsigned place : which) mask.add(usable[place]);
  if (which.empty()) {
    for (const unsigned processor : usable) mask.add(processor);
  }
  // If the kernel refuses (the processor was taken off line), the thread runs where it may.
  (void)::sched_setaffinity(tid, sizeof mask, reinterpret_cast<const cpu_set_t*>(mask.data()));
}

void free_thread() { confine_thread(0, {}); }

}  // namespace gallocy::personality
