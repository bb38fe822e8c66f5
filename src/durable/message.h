// Message: what one node says to another about durable memory. encode() and decode() are its form on the wire
// (wire/durable.h).
#pragma once

#include <optional>

#include "durable/page.h"
#include "durable/part.h"
#include "durable/types.h"

namespace gallocy::durable {

// In the order of the types in wire/durable.h.
enum class Verb : std::uint8_t {
  kRead,
  kReadReply,
  kPrepare,
  kRefused,
  kReplicate,
  kPrepared,
  kCommit,
  kAbort,
  kApply,
  kDrop,
  kResolved,
  kDone,
  kForget,
  kSync,
  kSynced,
  kStatus,
  kPages,
  kPagesTaken,
  kRestored,
  kReleased,
};

// One struct for all verbs; docs/protocol.md says which uses what. What a verb does not use is as it is here.
struct Message {
  Verb verb = Verb::kRead;
  Epoch epoch{};  // of the sender
  TransactionId id;
  BlockId block{};
  BlockId other{};
  std::uint8_t detail = 0;
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
  Part part;
  Bytes bytes;
  std::vector<SharedPage> pages{};

  Outcome outcome() const { return static_cast<Outcome>(detail); }
  Status status() const { return static_cast<Status>(detail); }
  Vote vote() const { return static_cast<Vote>(detail); }
  Await await() const { return static_cast<Await>(detail); }
  bool complete() const { return detail != 0; }
};

wire::MessageType type_of(const Message& message);
wire::DurableHead head_of(const Message& message);
// What follows, but for pages; valid as long as the message is.
std::span<const std::byte> tail_of(const Message& message);
Bytes encode(const Message& message);  // all of it
// Nothing, if these bytes are no message. The tail is in `payload` if that is not empty, or in `pages`.
std::optional<Message> decode(wire::MessageType type, std::span<const std::byte> body,
                              std::span<const std::byte> payload = {}, std::vector<SharedPage> pages = {});

}  // namespace gallocy::durable
