#include "wire/visit.h"

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

}  // namespace gallocy::wire
