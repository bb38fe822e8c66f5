// What Debian's etcd does with the same work: three members on this machine, their files in memory, puts of a name of 4
// bytes with a value of 8.
//
// The driver is h2load, which speaks etcd's own gRPC, puts many requests into each of its connections, and costs a
// tenth of the processor time of etcd's Go clients, which the members then have. etcd batches what comes together
// itself.
#pragma once

#include <string>

#include "core_rows.h"

namespace gallocy::bench {

// Why etcd cannot be measured here; empty: it can.
std::string etcd_missing();

// Puts per second through the leader, with so many requests under way that more make it no faster.
gallocy::Result<Measured> etcd_puts_per_s(Scale scale);
// The median time of a put when there is one at a time.
gallocy::Result<Measured> etcd_put_us(Scale scale);

}  // namespace gallocy::bench
