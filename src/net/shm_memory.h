// The memory that two nodes of one machine share: a sealed memory file with one ring for each direction.
#pragma once

#include "base/result.h"
#include "net/shm_ring.h"
#include "net/socket.h"

namespace gallocy::net {

struct RingPair {
  Ring to_acceptor, to_dialer;
};

// A new memory file of the right size, all zero, which nobody can shrink.
Result<Fd> create_ring_memory();
// Whether a descriptor from a peer is one: a file that could shrink would kill its reader by SIGBUS.
bool is_ring_memory(int fd);
// Maps it for the life of the object.
class RingMapping {
 public:
  explicit RingMapping(int fd);
  ~RingMapping();
  RingMapping(const RingMapping&) = delete;
  RingMapping& operator=(const RingMapping&) = delete;
  RingPair& rings() const { return *rings_; }

 private:
  RingPair* rings_;
};

}  // namespace gallocy::net
