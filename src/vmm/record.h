// Record: one entry as it stands in the log, with who proposed it. Encoded as
//
//   proposer u16 | request u64 | first_open u64 | tag u8 | the fields of the entry in their order
//
// with the integers and texts of wire/bytes.h; runs as count u16, then (first u64, count u32, home u16) each.
// decode() accepts exactly what encode() gives: encode(decode(x)) == x for every x that it does not refuse.
#pragma once

#include <span>

#include "base/result.h"
#include "vmm/entry.h"
#include "wire/bytes.h"

namespace gallocy::vmm {

using wire::Bytes;
using RequestId = Id<struct RequestTag, std::uint64_t>;  // numbers the proposals of one node, from 1

struct Record {
  NodeId proposer{};
  RequestId request{1};
  // Every request below this one has been answered to the proposer, who will not repeat it. See sessions.h.
  RequestId first_open{1};
  Entry entry;
  bool operator==(const Record&) const = default;
};

// Whether the entry is well formed by itself: lengths, counts and ranges. kInvalidArgument otherwise.
Result<> validate(const Entry& entry);

// The entry of the record must be well formed; then it takes at most wire::kMaxRecordBytes.
Bytes encode(const Record& record);
// kProtocol for anything that is not the encoding of a well-formed record.
Result<Record> decode(std::span<const std::byte> bytes);

// The parts that snapshots have in common with records.
void put(wire::ByteWriter& writer, const Placement& placement);
Placement get_placement(wire::ByteReader& reader);
bool valid(const Placement& placement);
bool valid_text(std::string_view text);  // 1 … kMaxTextBytes

}  // namespace gallocy::vmm
