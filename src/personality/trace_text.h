// A trace as text: the "Trace Event Format" in its JSON form, which Perfetto (ui.perfetto.dev) and chrome://tracing
// show. A node is a process there, and each thread of the program has a track under its node.
//
// Pure.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "personality/trace_ring.h"

namespace gallocy::personality {

// Of one thread. Times are the home's.
struct TraceTrack {
  unsigned node = 0;
  int guest_tid = 0;
  std::uint64_t dropped = 0;  // events that the thread's ring had no room for: the oldest
  std::vector<TraceEvent> events;
};

// `name_of`: what lies at an address, or empty. The text comes in pieces.
void write_trace(const std::vector<TraceTrack>& tracks, const std::function<std::string(std::uint64_t)>& name_of,
                 const std::function<void(const std::string&)>& write);

}  // namespace gallocy::personality
