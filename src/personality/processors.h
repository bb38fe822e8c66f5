// The processors that this process may use, as the kernel numbers them, and which of them a thread is confined to.
#pragma once

#include <span>
#include <vector>

namespace gallocy::personality {

// As they were at the first call, which comes before any thread is confined. At least one.
const std::vector<unsigned>& usable_processors();

// `which`: places in usable_processors(); none: all of them. The thread is the kernel's.
void confine_thread(int tid, std::span<const unsigned> which);
// The calling thread, which may have been made by a confined one.
void free_thread();

}  // namespace gallocy::personality
