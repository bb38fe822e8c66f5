// The decoder of the messages of durable memory, and a node that gets what it accepts, from two others, before and
// after one of them has died. Messages come with their type and length.
#include "base/check.h"
#include "durable/core.h"

namespace gallocy::durable {
namespace {

constexpr NodeId kMembers[] = {NodeId{0}, NodeId{1}, NodeId{2}};
constexpr BlockId kFirst{64};

void begin_work(Core& core) {
  static const Bytes data(16, std::byte{1});
  for (std::uint64_t b = 0; b < 4; ++b) {
    const std::uint64_t address = address_of(first_page(BlockId{kFirst.value + b}));
    const Item items[] = {{ItemKind::kWrite, address, data}, {ItemKind::kWrite, address + kBlockBytes, data}};
    core.commit(Ticket{b}, items);
    core.read(Ticket{b}, address + 100, 8);
  }
}

void settle(Core& core) {
  core.flush();
  (void)core.take_effects();
  core.check_invariants();
}

// Nonsense of a member, who is authenticated, may do harm; but it must not end this node.
void feed(Core& core, wire::ByteReader reader) {
  while (reader.ok() && reader.left() > 2) {
    const auto type = static_cast<wire::MessageType>(0x900 + reader.get<std::uint8_t>() % 20);
    const std::size_t size = std::min<std::size_t>(reader.get<std::uint8_t>(), reader.left());
    const auto body = reader.get_bytes(size);
    auto message = decode(type, body);
    if (!message) continue;
    const Bytes again = encode(*message);
    CHECK(std::equal(again.begin(), again.end(), body.begin(), body.end()));
    // Most inputs would be about nothing that there is.
    message->epoch.value = core.epoch().value + message->epoch.value % 2;
    message->id.coordinator.value %= 3;
    message->id.life = Epoch{1};
    message->id.sequence %= 8;
    message->block.value = kFirst.value + message->block.value % 6;
    if (!message->part.empty() && !message->part.names(message->block)) continue;
    (void)core.message(kMembers[message->offset % 2 + 1], *message);
    settle(core);
  }
}

}  // namespace
}  // namespace gallocy::durable

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gallocy;
  using namespace gallocy::durable;
  if (size < 2) return 0;
  Core core(kMembers[0], History({.epoch = Epoch{1}, .nodes = {NodeId{0}, NodeId{1}, NodeId{2}}}), {}, Options{});
  core.map_region(kFirst, 6, data[0] % 3);
  begin_work(core);
  settle(core);
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(2);
  const std::size_t half = bytes.size() * data[1] / 256;
  feed(core, wire::ByteReader(bytes.first(half)));
  core.epoch({.epoch = Epoch{2}, .nodes = {NodeId{0}, NodeId{1}}});
  settle(core);
  feed(core, wire::ByteReader(bytes.subspan(half)));
  return 0;
}
