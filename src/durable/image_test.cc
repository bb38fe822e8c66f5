#include "durable/image.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "durable/numbered.h"

namespace gallocy::durable {
namespace {

TEST(Image, is_zero_where_nothing_was_written) {
  Image image;
  Bytes bytes(3 * kPageBytes, std::byte{1});
  image.read(100, bytes);
  EXPECT_EQ(bytes, Bytes(3 * kPageBytes));
  EXPECT_TRUE(image.equals(100, bytes));
  EXPECT_EQ(image.next_page(0), kBlockPages);
}

TEST(Image, has_what_was_written_across_pages) {
  Prng prng(3);
  Image image;
  Bytes twin(kBlockBytes);
  for (int i = 0; i < 300; ++i) {
    const auto offset = static_cast<std::uint32_t>(prng.below(kBlockBytes));
    Bytes bytes(1 + prng.below(std::min<std::uint64_t>(kBlockBytes - offset, 10'000)));
    for (std::byte& b : bytes) b = static_cast<std::byte>(prng());
    image.write(offset, bytes);
    std::ranges::copy(bytes, twin.begin() + offset);
    EXPECT_TRUE(image.equals(offset, bytes));
    bytes.back() ^= std::byte{1};
    EXPECT_FALSE(image.equals(offset, bytes));
  }
  Bytes all(kBlockBytes);
  image.read(0, all);
  EXPECT_EQ(all, twin);
}

TEST(Image, knows_its_pages_by_their_digests) {
  Image image;
  EXPECT_EQ(image.digest(1), digest_of_page(Bytes(kPageBytes)));
  const std::byte one[] = {std::byte{1}};
  image.write(kPageBytes + 4095, one);
  Bytes page(kPageBytes);
  page.back() = std::byte{1};
  EXPECT_EQ(image.digest(1), digest_of_page(page));
  EXPECT_NE(image.digest(1), image.digest(2));
}

TEST(Image, keeps_what_it_shares_as_it_is) {
  Image image;
  image.write(10, Bytes(4, std::byte{1}));
  const SharedPage shared = image.share(0);
  const Image copy = image;
  image.write(12, Bytes(1, std::byte{2}));
  EXPECT_EQ((*shared)[12], std::byte{1});
  EXPECT_EQ(copy.page(0)[12], std::byte{1});
  EXPECT_EQ(image.page(0)[11], std::byte{1});
  EXPECT_EQ(image.page(0)[12], std::byte{2});
  Image other;
  other.set_page(7, shared);
  EXPECT_EQ(other.share(7), shared);
  other.write(7 * kPageBytes, Bytes(1, std::byte{3}));
  EXPECT_EQ((*shared)[0], std::byte{0});
}

TEST(Image, names_its_pages_in_order) {
  Image image;
  image.write(5 * kPageBytes - 1, Bytes(2));
  image.set_page(63, page_with(Bytes(kPageBytes)));
  EXPECT_EQ(image.next_page(0), 4u);
  EXPECT_EQ(image.next_page(5), 5u);
  EXPECT_EQ(image.next_page(6), 63u);
  EXPECT_EQ(image.next_page(64), kBlockPages);
}

TEST(Numbered, ends_in_any_order) {
  Numbered<int> things;
  EXPECT_EQ(things.add(10), 1u);
  EXPECT_EQ(things.add(20), 2u);
  EXPECT_EQ(things.add(30), 3u);
  things.erase(2);
  EXPECT_EQ(things.first(), 1u);
  EXPECT_EQ(things.count(), 2u);
  EXPECT_EQ(things.find(2), nullptr);
  EXPECT_EQ(*things.find(3), 30);
  things.erase(1);
  EXPECT_EQ(things.first(), 3u);
  things.erase(3);
  EXPECT_EQ(things.first(), things.next());
  EXPECT_EQ(things.find(0), nullptr);
  EXPECT_EQ(things.find(4), nullptr);
}

}  // namespace
}  // namespace gallocy::durable
