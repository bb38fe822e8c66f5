// Regions: which log a thing is in, and the messages of each.
#include "runtime/regions.h"

namespace gallocy::runtime {

void Regions::start_logs() {
  Turn turn(shards_.size());
  for (std::size_t i = 0; i < turn.size(); ++i) shards_[i].log.start(now_us(), turn[i]);
  started_ = true;
  carry_out(turn);
}

void Regions::hand_in(vmm::Entry entry, std::uint64_t ticket, Turn& turn) {
  const std::uint32_t shard = vmm::shard_of(entry, options_.shards);
  shards_[shard].log.propose(std::move(entry), vmm::Ticket{ticket}, now_us(), turn[shard]);
}

void Regions::send_all(std::uint32_t shard, const vmm::Effects& effects) {
  for (const vmm::Send& send : effects.sends) {
    for (const NodeId to : send.to) mesh_->queue(to, wire::type_in_shard(send.type, shard), send.body);
  }
}

// A name says which shard it is only of those that are not durable, and there are few shards.
const vmm::Region* Regions::region_named(std::string_view name) const {
  for (const ShardLog& shard : shards_) {
    if (const vmm::Region* const region = shard.log.machine().region_named(name)) return region;
  }
  return nullptr;
}

const vmm::Region* Regions::region(RegionId id) const {
  return shards_[vmm::shard_of(vmm::UnmapRegion{.region = id}, options_.shards)].log.machine().region(id);
}

}  // namespace gallocy::runtime
