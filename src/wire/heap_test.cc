#include "wire/heap.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "base/prng.h"

namespace gallocy::wire {
namespace {

std::array<std::uint64_t, kMaxRemoteFrees> decoded;

TEST(RemoteFrees, every_count_survives_the_wire_at_any_alignment) {
  for (std::size_t count = 1; count <= kMaxRemoteFrees; ++count) {
    std::vector<std::uint64_t> addresses(count);
    for (std::size_t i = 0; i < count; ++i) addresses[i] = i * 0x0102030405060708;
    const auto body = encode_remote_frees(addresses);
    std::vector<std::byte> shifted(body.size() + 3);
    std::copy(body.begin(), body.end(), shifted.begin() + 3);
    ASSERT_EQ(decode_remote_frees(std::span(shifted).subspan(3), decoded), count);
    EXPECT_TRUE(std::equal(addresses.begin(), addresses.end(), decoded.begin()));
  }
}

TEST(RemoteFrees, bodies_of_a_wrong_length_are_refused) {
  const std::vector<std::byte> bytes(kMaxBodyBytes);
  for (std::size_t length = 0; length <= bytes.size(); ++length) {
    const bool good = length > 0 && length % 8 == 0 && length <= kMaxRemoteFrees * 8;
    ASSERT_EQ(decode_remote_frees(std::span(bytes).first(length), decoded).has_value(), good) << length;
  }
}

TEST(RemoteFrees, random_bytes_are_refused_or_decoded) {
  Prng random(3);
  for (int i = 0; i < 10'000; ++i) {
    std::vector<std::byte> body(random.below(3000));
    for (auto& byte : body) byte = static_cast<std::byte>(random());
    if (const auto count = decode_remote_frees(body, decoded); count) {
      ASSERT_EQ(*count * 8, body.size());
      ASSERT_EQ(std::memcmp(decoded.data(), body.data(), body.size()), 0);
    }
  }
}

}  // namespace
}  // namespace gallocy::wire
