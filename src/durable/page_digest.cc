#include "durable/page_digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

#include "base/check.h"
#include "base/ids.h"

namespace gallocy::durable {

PageDigest digest_of_page(std::span<const std::byte> page) {
  CHECK(page.size() == kPageBytes, page.size());
  // In the form that is the same on every machine.
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(page.data(), page.size()));
  PageDigest digest;
  static_assert(sizeof canonical.digest == sizeof digest);
  std::memcpy(digest.data(), canonical.digest, sizeof digest);
  return digest;
}

const PageDigest& digest_of_zero_page() {
  static const PageDigest digest = [] {
    static constexpr std::array<std::byte, kPageBytes> kZeros{};
    return digest_of_page(kZeros);
  }();
  return digest;
}

}  // namespace gallocy::durable
