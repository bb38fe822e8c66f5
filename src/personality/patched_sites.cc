#include "personality/patched_sites.h"

#include <algorithm>
#include <cstring>

namespace gallocy::personality {
namespace {

constexpr std::uint64_t kCacheLine = 64;  // within one, eight bytes are stored and fetched as a whole

template <typename... Bytes>
constexpr auto bytes_of(Bytes... values) {
  return std::array{static_cast<std::byte>(values)...};
}

constexpr auto kMoveNumber = bytes_of(0xb8);
constexpr auto kLoadSixth = bytes_of(0x4c, 0x8b, 0x4c, 0x24, 0x08);
constexpr auto kSystemCall = bytes_of(0x0f, 0x05);

}  // namespace

std::optional<PatchedSite> recognize_site(std::uint64_t call_at, long number,
                                          std::span<const std::byte, kSiteBytes> bytes) {
  const std::uint64_t begin = call_at - (kSiteBytes - kCallBytes);
  // Eight bytes are written, the seventh and eighth as they were.
  if (begin / kCacheLine != (begin + sizeof(std::uint64_t) - 1) / kCacheLine) return std::nullopt;
  if (!std::ranges::equal(bytes.last<kCallBytes>(), kSystemCall)) return std::nullopt;
  std::int32_t moved = 0;
  std::memcpy(&moved, bytes.data() + 1, sizeof moved);
  if (std::ranges::equal(bytes.first<1>(), kMoveNumber)) {
    if (moved != number) return std::nullopt;  // the call came by a jump to `syscall` itself
    return PatchedSite{.call_at = call_at, .number = moved};
  }
  if (std::ranges::equal(bytes.first<kLoadSixth.size()>(), kLoadSixth)) {
    return PatchedSite{.call_at = call_at, .number = kNumberInRax};
  }
  return std::nullopt;
}

std::array<std::byte, kSiteBytes> patched_bytes(std::uint32_t slot) {
  const auto at = static_cast<std::uint32_t>(kSlotTable + slot * sizeof(std::uint64_t));
  std::array<std::byte, kSiteBytes> bytes = bytes_of(0xff, 0x24, 0x25, 0, 0, 0, 0);
  std::memcpy(bytes.data() + 3, &at, sizeof at);
  return bytes;
}

std::optional<std::uint32_t> PatchedSites::slot_for(const PatchedSite& site) {
  if (const auto found = slots_.find(site); found != slots_.end()) return found->second;
  const bool open = site.number == kNumberInRax;
  std::uint32_t& next = open ? next_open_ : next_numbered_;
  if (next == (open ? kSlots : kNumberedSlots)) return std::nullopt;
  slots_.emplace(site, next);
  return next++;
}

}  // namespace gallocy::personality
