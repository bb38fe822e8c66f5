// The floor under the transports: what two processes on this machine reach with plain sockets, or a ring in shared
// memory, and nothing else. Shares no code with src/net, so that a mistake there cannot hide in its reference.
//
// Each function forks a partner, measures and ends it; the two are pinned to different processors meanwhile, where
// there are several. Call them before the process has threads.
#pragma once

#include <chrono>
#include <cstddef>

#include "spread.h"

namespace gallocy::bench {

enum class RawTransport { kTcp, kShm };

struct RawOptions {
  RawTransport transport = RawTransport::kTcp;
  std::chrono::microseconds spin{50};  // how long a reader spins before it sleeps in the kernel; 0: sleeps at once
  std::size_t samples = 0;             // 0: enough for a steady median
};

// Microseconds of one round trip with one outstanding: a request of 64 bytes, a reply of one page that the requester
// receives into its place.
Spread raw_round_trip_us(const RawOptions& options);

// MB/s (10^6 bytes) of a stream of 256 KiB messages in one direction, each received into its place and then read once,
// word by word, as a program that uses the data does.
Spread raw_stream_mb_s(const RawOptions& options);

}  // namespace gallocy::bench
