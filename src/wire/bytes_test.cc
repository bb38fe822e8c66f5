#include "wire/bytes.h"

#include <gtest/gtest.h>

namespace gallocy::wire {
namespace {

TEST(Bytes, what_was_put_comes_back_in_order) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.put(std::uint16_t{0x1234});
  writer.put_text("home");
  writer.put(std::uint64_t{7});
  EXPECT_EQ(bytes.front(), std::byte{0x34}) << "little-endian";
  ByteReader reader(bytes);
  EXPECT_EQ(reader.get<std::uint16_t>(), 0x1234);
  EXPECT_EQ(reader.get_text(), "home");
  EXPECT_FALSE(reader.done());
  EXPECT_EQ(reader.get<std::uint64_t>(), 7u);
  EXPECT_TRUE(reader.done());
}

TEST(Bytes, after_a_read_past_the_end_everything_is_nothing) {
  Bytes bytes;
  ByteWriter(bytes).put_text("ab");
  bytes.pop_back();
  bytes.push_back(std::byte{'b'});
  bytes[0] = std::byte{200};
  ByteReader reader(bytes);
  EXPECT_EQ(reader.get_text(), "");
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.left(), 0u);
  EXPECT_EQ(reader.get<std::uint8_t>(), 0);
  EXPECT_FALSE(reader.done());
}

TEST(Bytes, reading_nothing_at_the_end_is_no_error) {
  ByteReader reader({});
  EXPECT_TRUE(reader.get_bytes(0).empty());
  EXPECT_TRUE(reader.done());
}

}  // namespace
}  // namespace gallocy::wire
