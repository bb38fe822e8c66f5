// HMAC-SHA-256, random bytes, and the comparison that does not tell by its time where two values differ.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string_view>

namespace gallocy::net {

using Mac = std::array<std::byte, 32>;
using Nonce = std::array<std::byte, 32>;

// Before the first use of OpenSSL: without the machine's configuration file, which may load modules that we neither
// need nor trust, and without the tables of all algorithms by name and of error texts. All that takes a millisecond of
// every start, and none of it is used.
void begin_openssl();

// Over the parts in their order. The caller sees to it that different inputs cannot have the same concatenation.
Mac hmac_sha256(std::string_view key, std::initializer_list<std::span<const std::byte>> parts);
bool equal_macs(std::span<const std::byte> a, std::span<const std::byte> b);
Nonce random_nonce();

}  // namespace gallocy::net
