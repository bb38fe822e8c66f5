#include "wire/visit.h"

namespace gallocy::wire {

Bytes encode(const JoinRequest& request) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.put_text(request.host);
  writer.put(request.port);
  return bytes;
}

bool decode(std::span<const std::byte> bytes, JoinRequest& request) {
  ByteReader reader(bytes);
  request.host = reader.get_text();
  request.port = reader.get<std::uint16_t>();
  return reader.done() && request.port != 0 && !request.host.empty();
}

Bytes encode(const JoinAnswer& answer) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.put(answer.node);
  writer.put(static_cast<std::uint16_t>(answer.members.size()));
  for (const auto& member : answer.members) {
    writer.put(member.node);
    writer.put_text(member.host);
    writer.put(member.port);
  }
  return bytes;
}

bool decode(std::span<const std::byte> bytes, JoinAnswer& answer) {
  ByteReader reader(bytes);
  answer.node = reader.get<NodeId>();
  const auto count = reader.get<std::uint16_t>();
  for (unsigned i = 0; i < count && reader.ok(); ++i) {
    JoinAnswer::Member& member = answer.members.emplace_back();
    member.node = reader.get<NodeId>();
    member.host = reader.get_text();
    member.port = reader.get<std::uint16_t>();
    if (member.node >= answer.node) return false;  // the newcomer is the last
  }
  return reader.done() && answer.node.value < kMaxNodes;
}

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

}  // namespace gallocy::wire
