// Regions: what a log on disk asks for. Every start of a node is another life of it; it says so to each other node
// before anything else. Those whose log lacks that life propose it: the log of the node itself may be too old for the
// company to hear it.
#include <cstring>

#include "base/check.h"
#include "os/clock.h"
#include "runtime/regions.h"

namespace gallocy::runtime {
// Links keep their order, so nobody takes anything of the log of another cluster.
void Regions::start_disk(const vmm::MemberJoined& self) {
  lives_[self_.value] = options_.life;
  const wire::VmmCluster mine{.cluster = cluster()};
  const vmm::Frame wish = vmm::encode({.newcomer = self.newcomer,
                                       .node = self_,
                                       .address = self.address,
                                       .life = self.life,
                                       .kept = self.kept,
                                       .on_disk = true});
  vmm::Bytes body(sizeof mine);
  std::memcpy(body.data(), &mine, sizeof mine);
  body.insert(body.end(), wish.body.begin(), wish.body.end());
  for (const NodeId node : options_.founders) {
    if (node != self_) mesh_->queue(node, wire::kVmmCluster, body);
  }
  const auto tell = [this](std::uint32_t shard, auto what) {
    const os::MutexLock lock(mu_);
    Turn turn(shards_.size());
    what(shards_[shard].log, turn[shard]);
    carry_out(turn);
  };
  disk_->start([tell](std::uint32_t shard) {
    return DiskEvents{
        .written =
            [=](std::uint64_t sequence) {
              tell(shard, [&](vmm::Log& log, vmm::Effects& effects) { log.persisted(sequence, now_us(), effects); });
            },
        .full =
            [=] { tell(shard, [](vmm::Log& log, vmm::Effects& effects) { log.cannot_persist(now_us(), effects); }); }};
  });
}

bool Regions::life_began(NodeId from, std::span<const std::byte> body) {
  wire::VmmCluster theirs;
  if (disk_ == nullptr || body.size() < sizeof theirs) return false;
  std::memcpy(&theirs, body.data(), sizeof theirs);
  const auto wish = vmm::decode_wish(body.subspan(sizeof theirs));
  if (!wish || wish->node != from) return false;
  if (theirs.cluster != cluster())
    die(static_cast<int>(ErrorCode::kInvalidArgument),
        fmt::format("gallocy: node {}: its log, in {}, is of another cluster than node {}'s; give all nodes the "
                    "directories of one cluster, or empty ones",
                    self_, disk_->path(), from));
  lives_[from.value] = wish->life;
  dead_[from.value] = false;
  for (ShardLog& shard : shards_) shard.log.peer_up({from, wish->life});
  if (wish->life > 1) begun_[from] = {*wish, 0};
  note_membership();
  return true;
}

// Again when a proposal has failed, not while it is open.
void Regions::propose_lives() {
  Turn turn(shards_.size());
  for (auto begun = begun_.begin(); begun != begun_.end();) {
    auto& [node, it] = *begun;
    if (first().machine().standing({node, it.wish.life}) != vmm::Standing::kUnknown) {
      begun = begun_.erase(begun);
      continue;
    }
    ++begun;
    if (it.ticket != 0) continue;
    it.ticket = next_ticket_++;
    hand_in(vmm::entry_of(it.wish), it.ticket, turn);
  }
  carry_out(turn);
}

void Regions::life_answered(const vmm::Resolved& resolved) {
  for (auto& [node, begun] : begun_) {
    if (begun.ticket == resolved.ticket.value) begun.ticket = 0;
  }
}

}  // namespace gallocy::runtime
