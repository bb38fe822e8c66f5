// The decoder of Raft's messages, and a server that gets what it accepts: as a follower, a candidate and a leader. The
// first byte of the input chooses; then come messages, each with its type and its length.
#include "base/check.h"
#include "raft/core.h"

namespace gallocy::raft {
namespace {

const ServerId kSelf = server_id(NodeId{0}, 1), kOther = server_id(NodeId{1}, 1), kThird = server_id(NodeId{2}, 1);

void settle(Core& core, std::uint64_t now) {
  core.flush(now);
  const Effects effects = core.take_effects();
  if (effects.persist) core.persisted(effects.persist->sequence, now);
  core.flush(now);
  (void)core.take_effects();
  core.check_invariants();
}

// A leader that a forged answer makes commit what nobody has is not wrong: who may speak at all is authenticated.
void feed(Core& core, wire::ByteReader reader, std::uint64_t now) {
  while (reader.ok() && reader.left() > 2) {
    const auto type = static_cast<wire::MessageType>(0x800 + reader.get<std::uint8_t>() % 8);
    const std::size_t size = std::min<std::size_t>(reader.get<std::uint8_t>(), reader.left());
    const auto body = reader.get_bytes(size);
    auto message = decode(type, body);
    if (!message) continue;
    const Bytes again = encode(*message);
    CHECK(std::equal(again.begin(), again.end(), body.begin(), body.end()));
    // Most inputs would be for somebody else.
    message->to = kSelf;
    message->from = message->from.value % 2 == 0 ? kOther : kThird;
    message->term.value %= 8;
    (void)core.message(*message, now += 100);
    settle(core, now);
  }
}

}  // namespace
}  // namespace gallocy::raft

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gallocy::raft;
  if (size == 0) return 0;
  const Configuration founders{.voters = {kSelf, kOther, kThird}};
  Core core({.self = kSelf, .storage = data[0] % 2 == 0 ? Storage::kVolatile : Storage::kDurable},
            PersistentState::founding(founders), 1, 0);
  std::uint64_t now = 1'000'000;
  if (data[0] % 4 >= 2) core.tick(now);
  settle(core, now);
  if (data[0] % 8 >= 4) {
    for (const Ballot ballot : {Ballot::kPreVote, Ballot::kVote}) {
      (void)core.message({kOther, kSelf, core.term(), VoteReply{ballot, true, Term{2}}}, now);
      settle(core, now);
    }
  }
  feed(core, gallocy::wire::ByteReader(std::as_bytes(std::span(data, size)).subspan(1)), now);
  return 0;
}
