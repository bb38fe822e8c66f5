// A node's share of the processors of a machine on which there are several nodes. Without it the scheduler often puts
// two of their threads on one processor while another is idle, because one has just woken the other.
#pragma once

#include <span>
#include <vector>

namespace gallocy::os {

// Of the machine's processors (at least one), those of its node number `index` of `nodes`: disjoint from the others'
// where there are enough, one where there are not.
std::vector<unsigned> processor_share(std::span<const unsigned> processors, unsigned index, unsigned nodes);

// Confines the calling thread, and the threads and processes that come of it, to the share. Once, before there are
// others.
void take_processor_share(unsigned index, unsigned nodes);
bool has_processor_share();
// The calling thread may use all processors again that the process had before, if it has just the share. It is that of
// a child process. Async-signal-safe.
void leave_processor_share();

}  // namespace gallocy::os
