// The words of durable memory. docs/durable.md explains them.
#pragma once

#include <compare>
#include <cstdint>
#include <span>

#include "base/ids.h"
#include "wire/bytes.h"
#include "wire/durable.h"

namespace gallocy::durable {

using wire::Bytes;

// Chosen by the caller of Core::read and Core::commit, who knows it again.
using Ticket = Id<struct TicketTag, std::uint64_t>;

struct TransactionId {
  NodeId coordinator{};
  Epoch life{};  // in which the coordinator joined: a node that comes back under its number is another coordinator
  std::uint64_t sequence = 0;
  auto operator<=>(const TransactionId&) const = default;
};

enum class ItemKind : std::uint8_t {
  kCompare,  // the transaction happens only if the memory has these bytes
  kWrite,
  kComparePage,  // the same of a whole page, by its digest (page_digest.h)
};

// A part of a transaction as its caller gives it; the bytes are copied.
struct Item {
  ItemKind kind = ItemKind::kCompare;
  std::uint64_t address = 0;
  std::span<const std::byte> bytes;  // kComparePage: the digest
};

// What a read waits for.
enum class Await : std::uint8_t {
  kWrites,  // prepared transactions that write these bytes
  kAll,     // those that compare them, too: whoever reads in order to write is not in conflict with them then
};

enum class Outcome : std::uint8_t {
  kDone,      // read; committed
  kConflict,  // not committed: a comparison failed, or another transaction is at these bytes just now. Try again
  kLost,      // more nodes than the region's backups died at once, and took the block with them; or nobody keeps blocks
  kNotDurable,  // the address is in no durable region
  kTooLarge,    // see wire::kMaxDurablePartBytes, wire::kMaxDurableReadBytes
  kTooMany,     // see kMaxOpen: wait for some to end
};

// What the members of a company know of a transaction.
enum class Status : std::uint8_t {
  kUnknown,    // nothing, and that will stay so
  kPrepared,   // its record
  kCommitted,  // that it happened; its writes are in the image
};

// How a member says that it has a record.
enum class Vote : std::uint8_t {
  kMember,     // I have it
  kCompany,    // I have it and am the whole company
  kValidated,  // it only compares, in this company alone, and the comparison held: nothing needed to be recorded
};

// Of one node at a time; what others must keep for it is bounded by these.
inline constexpr std::size_t kMaxOpen = 65536;  // transactions, and as many reads
inline constexpr unsigned kMaxBackups = 3;

}  // namespace gallocy::durable
