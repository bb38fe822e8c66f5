// The raw references that our figures are divided by: what this machine's kernel and transports do without us.
#pragma once

#include "core_rows.h"

namespace gallocy::bench {

enum class Link { kTcp, kShm };
enum class Waiting { kSpin, kSleep };

// One resolved local fault by the mechanism that the library chooses on this machine.
gallocy::Result<Measured> raw_fault_us(Scale scale);
// A request of 64 bytes answered by 4 KiB, between two pinned processes.
gallocy::Result<Measured> raw_round_trip_us(Link link, Waiting waiting, Scale scale);
// Messages of 256 KiB, of which the receiver adds up every word.
gallocy::Result<Measured> raw_stream_mb_per_s(Link link, Scale scale);

}  // namespace gallocy::bench
