#include "durable/message.h"

#include <utility>

namespace gallocy::durable {
namespace {

constexpr auto kFirst = static_cast<std::uint16_t>(wire::kDurableRead);
static_assert(kFirst + static_cast<std::uint16_t>(Verb::kReleased) ==
              static_cast<std::uint16_t>(wire::kDurableReleased));

// The largest `detail` of a verb.
std::uint8_t most_detail(Verb verb) {
  if (verb == Verb::kReadReply || verb == Verb::kRefused) return static_cast<std::uint8_t>(Outcome::kTooMany);
  if (verb == Verb::kReplicate || verb == Verb::kStatus) return static_cast<std::uint8_t>(Status::kCommitted);
  if (verb == Verb::kPrepared) return static_cast<std::uint8_t>(Vote::kValidated);
  if (verb == Verb::kRead) return static_cast<std::uint8_t>(Await::kAll);
  return verb == Verb::kSynced ? 1 : 0;
}

bool makes_sense(const Message& m) {
  if (m.detail > most_detail(m.verb)) return false;
  if (m.verb != Verb::kStatus && m.other != BlockId{}) return false;
  switch (m.verb) {
    case Verb::kRead:
      return m.length > 0 && m.length <= wire::kMaxDurableReadBytes && m.offset < kBlockBytes &&
             m.length <= kBlockBytes - m.offset;
    case Verb::kPages:
      return m.offset < kBlockPages && m.length == 0;
    case Verb::kPagesTaken:
      return m.offset == 0 && m.length > 0 && m.length <= wire::kMaxDurablePages;
    default:
      return m.offset == 0 && m.length == 0;
  }
}

bool take_tail(Message& m, std::span<const std::byte> tail) {
  if (m.verb == Verb::kPrepare || m.verb == Verb::kReplicate) {
    auto part = Part::parse(tail);
    if (!part || !part->names(m.block)) return false;
    m.part = *std::move(part);
    return true;
  }
  if (m.verb == Verb::kReadReply && tail.size() > wire::kMaxDurableReadBytes) return false;
  if (m.verb == Verb::kPages && m.pages.empty()) {
    if (tail.size() % kPageBytes != 0 || tail.size() / kPageBytes > wire::kMaxDurablePages) return false;
    m.pages = pages_with(tail);
    tail = {};
  }
  if (m.verb == Verb::kPages && (m.pages.empty() || m.pages.size() > kBlockPages - m.offset)) return false;
  if (m.verb != Verb::kReadReply) return tail.empty();
  m.bytes.assign(tail.begin(), tail.end());
  return true;
}

}  // namespace

wire::MessageType type_of(const Message& message) {
  return static_cast<wire::MessageType>(kFirst + static_cast<std::uint16_t>(message.verb));
}

wire::DurableHead head_of(const Message& m) {
  return {.sequence = m.id.sequence,
          .block = m.block.value,
          .other = m.other.value,
          .life = m.id.life.value,
          .epoch = m.epoch.value,
          .offset = m.offset,
          .length = m.length,
          .coordinator = m.id.coordinator.value,
          .detail = m.detail};
}

std::span<const std::byte> tail_of(const Message& m) {
  return m.part.empty() ? std::span<const std::byte>(m.bytes) : m.part.bytes();
}

Bytes encode(const Message& m) {
  Bytes body;
  wire::ByteWriter writer(body);
  writer.put(head_of(m));
  writer.put_bytes(tail_of(m));
  for (const SharedPage& page : m.pages) writer.put_bytes(*page);
  return body;
}

std::optional<Message> decode(wire::MessageType type, std::span<const std::byte> body,
                              std::span<const std::byte> payload, std::vector<SharedPage> pages) {
  const auto number = static_cast<std::uint16_t>(static_cast<std::uint16_t>(type) - kFirst);
  if (number > static_cast<std::uint16_t>(Verb::kReleased)) return std::nullopt;
  wire::ByteReader reader(body);
  const auto head = reader.get<wire::DurableHead>();
  if (!reader.ok() || head.reserved8 != 0 || head.reserved32 != 0) return std::nullopt;
  Message message{.verb = static_cast<Verb>(number),
                  .epoch = Epoch{head.epoch},
                  .id = {NodeId{head.coordinator}, Epoch{head.life}, head.sequence},
                  .block = BlockId{head.block},
                  .other = BlockId{head.other},
                  .detail = head.detail,
                  .offset = head.offset,
                  .length = head.length,
                  .part = {},
                  .bytes = {},
                  .pages = std::move(pages)};
  if (!message.pages.empty() && (message.verb != Verb::kPages || !payload.empty())) return std::nullopt;
  if (!payload.empty() && reader.left() > 0) return std::nullopt;
  if (!makes_sense(message) || !take_tail(message, payload.empty() ? reader.get_bytes(reader.left()) : payload))
    return std::nullopt;
  return message;
}

}  // namespace gallocy::durable
