#define XXH_INLINE_ALL
#include "vmm/shard.h"

#include <xxhash.h>

namespace gallocy::vmm {
namespace {

std::uint32_t of_name(std::string_view name, std::uint32_t shards) {
  return static_cast<std::uint32_t>(XXH3_64bits(name.data(), name.size()) % shards);
}

std::uint32_t of_region(RegionId region, std::uint32_t shards) { return (region.value + shards - 1) % shards; }

// What is not named here is about members.
template <typename E>
std::uint32_t shard(const E&, std::uint32_t) {
  return 0;
}
std::uint32_t shard(const MapRegion& e, std::uint32_t shards) {
  return e.durable_backups > 0 ? 0 : of_name(e.name, shards);
}
std::uint32_t shard(const UnmapRegion& e, std::uint32_t shards) { return of_region(e.region, shards); }
std::uint32_t shard(const BlockHomes& e, std::uint32_t shards) { return of_region(e.region, shards); }
std::uint32_t shard(const BindName& e, std::uint32_t shards) { return of_name(e.name, shards); }
std::uint32_t shard(const UnbindName& e, std::uint32_t shards) { return of_name(e.name, shards); }

}  // namespace

std::uint32_t shard_of(const Entry& entry, std::uint32_t shards) {
  return std::visit([&](const auto& e) { return shard(e, shards); }, entry);
}

}  // namespace gallocy::vmm
