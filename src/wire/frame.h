// The frame: what every message between two nodes travels in.
//
//   FrameHeader | body (a fixed struct per MessageType, sometimes followed by a tail) | payload (page bytes)
//
// All integers are little-endian and structs are sent as they lie in memory: gallocy runs on x86-64 and the handshake
// refuses a peer with another protocol version or build.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/ids.h"

namespace gallocy::wire {

// Raised on every change of any wire struct.
inline constexpr std::uint16_t kProtocolVersion = 8;

// Each layer has its own range of message types, so that the runtime routes a frame by one comparison.
enum class MessageType : std::uint16_t {
  // coherence: 0x1xx, body PageMessage (wire/coherence.h)
  kPageRequest = 0x100,
  kPageForward,
  kPageData,
  kPageWriteBack,
  kPageInvalidate,
  kPageInvalidateAck,
  kPageDone,
  kPageDecline,
  kPagePut,
  kPagePutAck,
  kPageHandOver,
  kPageLend,
  // atomic operations at the home of a page: bodies in wire/atomic.h
  kAtomicRequest = 0x180,
  kAtomicReply,
  // sync: 0x2xx, bodies in wire/sync.h
  kSyncFirst = 0x200,
  kSyncLast = 0x2ff,
  // vmm: 0x3xx, bodies in wire/vmm.h
  kVmmFirst = 0x300,
  kVmmLast = 0x3ff,
  // heap: 0x4xx, bodies in wire/heap.h
  kHeapRemoteFree = 0x400,
  // threads: 0x5xx, bodies in wire/thread.h
  kThreadStart = 0x500,
  kThreadEnd,
  // node to node housekeeping: 0x6xx
  kHeartbeat = 0x600,
  kLeave,
  kExpelled,
  kWelcome,   // to one that has joined: the sender has taken it in
  kFarewell,  // to one that is leaving: the sender has heard of it
  // process mode: 0x7xx, bodies in wire/guest.h
  kGuestRequest = 0x700,
  kGuestReply,
};

struct FrameHeader {
  std::uint16_t type = 0;           // MessageType
  std::uint16_t reserved16 = 0;     // 0
  std::uint32_t body_bytes = 0;     // 0 … kMaxBodyBytes
  std::uint32_t payload_bytes = 0;  // 0 … kMaxPayloadBytes
  std::uint32_t reserved32 = 0;     // 0
};
static_assert(sizeof(FrameHeader) == 16);

// The largest body is a hand-over of a block: a directory entry of 8 bytes per page and the fixed part. Thread starts
// and log entries carry their arguments in the body too.
inline constexpr std::uint32_t kMaxBodyBytes = 16 * 1024;
inline constexpr std::uint32_t kMaxPayloadBytes = kBlockBytes;

}  // namespace gallocy::wire
