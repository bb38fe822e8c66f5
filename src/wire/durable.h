// The messages of durable memory (src/durable). Each body is a DurableHead; for some types a tail follows, which is the
// rest of the body or, where it is long, the payload.
// docs/protocol.md has the table of who sends which to whom, and when.
#pragma once

#include <cstdint>

#include "wire/frame.h"

namespace gallocy::wire {

inline constexpr MessageType kDurableRead{0x900};
inline constexpr MessageType kDurableReadReply{0x901};  // tail: the bytes
inline constexpr MessageType kDurablePrepare{0x902};    // tail: a part
inline constexpr MessageType kDurableRefused{0x903};
inline constexpr MessageType kDurableReplicate{0x904};  // tail: a part
inline constexpr MessageType kDurablePrepared{0x905};
inline constexpr MessageType kDurableCommit{0x906};
inline constexpr MessageType kDurableAbort{0x907};
inline constexpr MessageType kDurableApply{0x908};
inline constexpr MessageType kDurableDrop{0x909};
inline constexpr MessageType kDurableResolved{0x90a};
inline constexpr MessageType kDurableDone{0x90b};
inline constexpr MessageType kDurableForget{0x90c};
inline constexpr MessageType kDurableSync{0x90d};
inline constexpr MessageType kDurableSynced{0x90e};
inline constexpr MessageType kDurableStatus{0x90f};
inline constexpr MessageType kDurablePages{0x910};  // tail: the bytes of some pages, one after the other
inline constexpr MessageType kDurablePagesTaken{0x911};
inline constexpr MessageType kDurableRestored{0x912};
inline constexpr MessageType kDurableReleased{0x913};

// Fields that a type does not use are 0.
struct DurableHead {
  std::uint64_t sequence = 0;  // of the transaction, or of the read
  std::uint64_t block = 0;     // whose company is meant
  std::uint64_t other = 0;     // Status: the block of the sender's company
  std::uint32_t life = 0;      // with `coordinator` and `sequence`: the transaction
  std::uint32_t epoch = 0;     // of the sender
  std::uint32_t offset = 0;    // Read: of the first byte; Pages: of the first page in its block
  std::uint32_t length = 0;    // Read: bytes; PagesTaken: pages
  std::uint16_t coordinator = 0;
  std::uint8_t detail = 0;  // durable::Status, durable::Outcome, durable::Vote or durable::Await
  std::uint8_t reserved8 = 0;
  std::uint32_t reserved32 = 0;
};
static_assert(sizeof(DurableHead) == 48);

// What a transaction wants of one block:
//   DurablePart | block numbers of all participants, ascending | DurableItem … | the items' bytes, in their order
struct DurablePart {
  std::uint16_t participants = 0;
  std::uint16_t items = 0;
  std::uint32_t data_bytes = 0;
};
static_assert(sizeof(DurablePart) == 8);

struct DurableItem {
  std::uint32_t offset = 0;  // in the block
  std::uint16_t length = 0;  // of the memory that is meant
  std::uint16_t kind = 0;    // durable::ItemKind; kComparePage: its bytes are a digest of the page's
};
static_assert(sizeof(DurableItem) == 8);

inline constexpr std::uint32_t kMaxDurablePartBytes = kMaxPayloadBytes;
inline constexpr std::uint32_t kMaxDurablePages = 16;  // of one message: commits go between them
inline constexpr std::uint32_t kMaxDurableReadBytes = kBlockBytes;

// Not of the protocol but of its driver: see runtime/lease.h.
inline constexpr MessageType kLeaseAsk{0x980};
inline constexpr MessageType kLeaseAnswer{0x981};

struct LeaseNews {
  std::uint64_t asked_us = 0;  // when the question was sent, by the clock of who asked
};
static_assert(sizeof(LeaseNews) == 8);

}  // namespace gallocy::wire
