// The decoders of the VMM log: a record, a snapshot, the wishes of newcomers and their answers, and the messages of the
// log as a follower and the keeper get them.
// The first byte of the input chooses.
#include "base/check.h"
#include "vmm/admission.h"
#include "vmm/log.h"

namespace gallocy::vmm {
namespace {

void fuzz_record(std::span<const std::byte> bytes) {
  if (const auto record = decode(bytes)) {
    const Bytes again = encode(*record);
    CHECK(again.size() == bytes.size() && std::equal(again.begin(), again.end(), bytes.begin()));
  }
}

void fuzz_snapshot(std::span<const std::byte> bytes) {
  if (const auto machine = Machine::restore(bytes)) machine->check_invariants();
}

void fuzz_message(NodeId self, NodeId from, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const auto type = static_cast<wire::MessageType>(0x300 + std::to_integer<unsigned>(bytes[0]) % 5);
  Log log({.self = self}, keeper_log({.self = self, .keeper = NodeId{0}}));
  Effects effects;
  log.propose(MemberJoined{self, "here"}, Ticket{1}, 0, effects);
  (void)log.message(from, type, bytes.subspan(1), 0, effects);
  log.flush(0, effects);
  log.check_invariants();
}

void fuzz_admission(std::span<const std::byte> bytes) {
  if (const auto wish = decode_wish(bytes)) {
    const Bytes again = encode(*wish).body;
    CHECK(decode_wish(again) && *decode_wish(again) == *wish);
  }
  AnswerReader reader(0x3131313131313131);
  const auto half = bytes.size() / 2;
  (void)reader.take(wire::kVmmAdmitted, bytes.first(half));
  (void)reader.take(wire::kVmmAdmitted, bytes.subspan(half));
  (void)reader.take(wire::kVmmRefused, bytes);
}

}  // namespace
}  // namespace gallocy::vmm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using gallocy::NodeId;
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  switch (data[0] % 5) {
    case 0:
      gallocy::vmm::fuzz_record(bytes);
      break;
    case 1:
      gallocy::vmm::fuzz_snapshot(bytes);
      break;
    case 2:
      gallocy::vmm::fuzz_message(NodeId{0}, NodeId{1}, bytes);
      break;
    case 3:
      gallocy::vmm::fuzz_admission(bytes);
      break;
    default:
      gallocy::vmm::fuzz_message(NodeId{1}, NodeId{0}, bytes);
  }
  return 0;
}
