#include "os/processor_mask.h"

#include <sched.h>

namespace gallocy::os {

std::vector<unsigned> ProcessorMask::processors() const {
  std::vector<unsigned> found;
  for (unsigned i = 0; i < kMost; ++i) {
    if (has(i)) found.push_back(i);
  }
  return found;
}

bool read_affinity(int tid, ProcessorMask& mask) {
  return ::sched_getaffinity(tid, sizeof mask, reinterpret_cast<cpu_set_t*>(mask.data())) == 0;
}

bool write_affinity(int tid, const ProcessorMask& mask) {
  return ::sched_setaffinity(tid, sizeof mask, reinterpret_cast<const cpu_set_t*>(mask.data())) == 0;
}

}  // namespace gallocy::os
