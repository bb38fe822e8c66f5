// The body of every coherence message: one struct, because each of them speaks of a set of pages of one block.
// docs/protocol.md has the table of who sends which to whom, and when.
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace gallocy::wire {

struct PageMessage {
  std::uint64_t block = 0;         // BlockId
  std::uint64_t pages = 0;         // set of pages of the block, bit i is page i
  std::uint64_t held = 0;          // Request: pages of which the requester already holds a read copy
  std::uint16_t requester = 0;     // the node that faulted
  std::uint16_t origin = 0;        // the node that sent the message first (a home may forward it)
  std::uint8_t access = 0;         // coherence::Access wanted or granted
  std::uint8_t demand = 0;         // Request: index of the page that a thread waits for; the others are wishes
  std::uint8_t flags = 0;          // PageFlag
  std::uint8_t line = 0;           // Request: which 64 bytes of the demanded page, for the sharing report
  std::uint64_t carried = 0;       // pages whose bytes are the payload, in ascending order (subset of `pages`)
  std::uint32_t home_version = 0;  // how often the block's home had moved when the sender was, or learnt of, its home
  // Forward, Lend and their answers: which of the home's transactions they belong to. Request: 1 if it is repeated,
  // because a node died. Invalidate with kPageFence: 0, or 1 + the number of a dead node (Core::query).
  std::uint32_t transaction = 0;
};
static_assert(sizeof(PageMessage) == 48);

enum PageFlag : std::uint8_t {
  kPageFromHome = 1,   // the sender is the home of the block (receivers may cache that)
  kPagePredicted = 2,  // exclusive access was granted on a read fault by prediction
  kPageClean = 4,      // the bytes equal those that the home granted: the prediction was wrong
  kPageLost = 8,       // Decline: the only copy died with its node
  kPageConsumed = 16,  // HandOver: answers the request in pages/demand/access, the receiver serves itself
  kPageFence = 32,     // Invalidate: take nothing away, only acknowledge (all that was sent before has arrived)
};

}  // namespace gallocy::wire
