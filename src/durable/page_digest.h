// PageDigest: what stands for the bytes of a page in a comparison. Two pages that differ have the same one with a
// probability of 2^-128.
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace gallocy::durable {

using PageDigest = std::array<std::byte, 16>;

PageDigest digest_of_page(std::span<const std::byte> page);
const PageDigest& digest_of_zero_page();

}  // namespace gallocy::durable
