#include "wire/visit.h"

#include <algorithm>
#include <functional>

namespace gallocy::wire {

Bytes encode(const LeaveRequest& request) {
  Bytes bytes;
  ByteWriter(bytes).put(request.node);
  return bytes;
}

bool decode(std::span<const std::byte> bytes, LeaveRequest& request) {
  ByteReader reader(bytes);
  request.node = reader.get<NodeId>();
  return reader.done();
}

Bytes encode(const Refusal& refusal) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.put(static_cast<std::uint16_t>(refusal.code));
  writer.put_text(refusal.message);
  return bytes;
}

bool decode(std::span<const std::byte> bytes, Refusal& refusal) {
  ByteReader reader(bytes);
  refusal.code = reader.get<std::uint16_t>();
  refusal.message = reader.get_text();
  return reader.done();
}

Bytes encode(const Returning& returning) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.put(returning.cluster), writer.put(returning.node), writer.put(returning.term), writer.put(returning.index);
  writer.put(static_cast<std::uint16_t>(returning.members.size()));
  for (const Returning::Member& member : returning.members)
    writer.put(member.node), writer.put(static_cast<std::uint8_t>(member.on_disk)), writer.put_text(member.address);
  return bytes;
}

bool decode(std::span<const std::byte> bytes, Returning& returning) {
  ByteReader reader(bytes);
  returning = {.cluster = reader.get<std::uint64_t>(),
               .node = reader.get<NodeId>(),
               .term = reader.get<std::uint64_t>(),
               .index = reader.get<std::uint64_t>(),
               .members = {}};
  for (unsigned count = reader.get<std::uint16_t>(); count > 0 && reader.ok(); --count) {
    const auto node = reader.get<NodeId>();
    const bool on_disk = reader.get_flag();
    if (node.value >= kMaxNodes) return false;
    returning.members.push_back({node, on_disk, reader.get_text()});
  }
  const auto rising = [](const Returning::Member& a, const Returning::Member& b) { return a.node < b.node; };
  const bool ascending = std::ranges::adjacent_find(returning.members, std::not_fn(rising)) == returning.members.end();
  return reader.done() && returning.node.value < kMaxNodes && ascending;
}

Bytes encode(const GoesOn& goes_on) {
  Bytes bytes;
  ByteWriter(bytes).put(static_cast<std::uint8_t>(goes_on.may_join));
  return bytes;
}

bool decode(std::span<const std::byte> bytes, GoesOn& goes_on) {
  ByteReader reader(bytes);
  goes_on.may_join = reader.get_flag();
  return reader.done();
}

}  // namespace gallocy::wire
