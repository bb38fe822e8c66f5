#include "durable/message.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace gallocy::durable {
namespace {

constexpr std::uint64_t kAddress = kWindowBase + 10 * kBlockBytes;

std::vector<std::pair<BlockId, Part>> some_parts() {
  static const Bytes data(300, std::byte{7});
  const Item items[] = {{ItemKind::kCompare, kAddress + 5 * kBlockBytes, data},
                        {ItemKind::kWrite, kAddress - 100, data},  // lies in two blocks
                        {ItemKind::kWrite, kAddress + 4000, std::span(data).first(8)}};
  return *parts_of(items);
}

std::vector<Message> one_of_each() {
  std::vector<Message> messages;
  for (std::uint8_t verb = 0; verb <= static_cast<std::uint8_t>(Verb::kReleased); ++verb) {
    Message m{.verb = static_cast<Verb>(verb),
              .epoch = Epoch{3},
              .id = {NodeId{4}, Epoch{2}, 77},
              .block = some_parts()[0].first,
              .part = {},
              .bytes = {}};
    if (m.verb == Verb::kRead) m.offset = 4090, m.length = 8;
    if (m.verb == Verb::kReadReply) m.bytes.resize(8, std::byte{1});
    if (m.verb == Verb::kPrepare || m.verb == Verb::kReplicate) m.part = some_parts()[0].second;
    if (m.verb == Verb::kReplicate || m.verb == Verb::kStatus) m.detail = 2;
    if (m.verb == Verb::kStatus) m.other = BlockId{9};
    if (m.verb == Verb::kSynced) m.detail = 1;
    if (m.verb == Verb::kPages) m.offset = 62, m.pages = pages_with(Bytes(2 * kPageBytes, std::byte{2}));
    if (m.verb == Verb::kPagesTaken) m.length = 2;
    messages.push_back(m);
  }
  return messages;
}

TEST(Message, comes_out_as_it_went_in) {
  for (const Message& message : one_of_each()) {
    const Bytes body = encode(message);
    const auto again = decode(type_of(message), body);
    ASSERT_TRUE(again.has_value()) << static_cast<int>(message.verb);
    EXPECT_EQ(encode(*again), body);
    EXPECT_EQ(again->verb, message.verb);
    EXPECT_EQ(again->epoch, message.epoch);
    EXPECT_EQ(again->id, message.id);
    EXPECT_EQ(again->block, message.block);
    EXPECT_EQ(again->bytes, message.bytes);
    EXPECT_EQ(again->pages.size(), message.pages.size());
    if (body.size() == sizeof(wire::DurableHead)) continue;
    const auto whole = std::span(body);
    const auto head = whole.first(sizeof(wire::DurableHead)), tail = whole.subspan(sizeof(wire::DurableHead));
    const auto apart = decode(type_of(message), head, tail);
    ASSERT_TRUE(apart.has_value()) << static_cast<int>(message.verb);
    EXPECT_EQ(encode(*apart), body);
    EXPECT_FALSE(decode(type_of(message), body, tail).has_value()) << "a tail in both places";
  }
}

TEST(Message, cut_short_or_too_long_is_none) {
  for (const Message& message : one_of_each()) {
    Bytes body = encode(message);
    for (std::size_t size = 0; size < body.size(); ++size) {
      // The bytes of a reply may be fewer; who asked knows how many there should be.
      if (message.verb == Verb::kReadReply && size >= sizeof(wire::DurableHead)) break;
      if (message.verb == Verb::kPages && size == sizeof(wire::DurableHead) + kPageBytes) continue;  // the first alone
      EXPECT_FALSE(decode(type_of(message), std::span(body).first(size)).has_value());
    }
    body.insert(body.end(), wire::kMaxPayloadBytes + 1, std::byte{0});
    EXPECT_FALSE(decode(type_of(message), body).has_value()) << static_cast<int>(message.verb);
  }
}

TEST(Message, with_a_byte_changed_is_none_or_another) {
  Prng prng(1);
  for (const Message& message : one_of_each()) {
    for (int i = 0; i < 2000; ++i) {
      Bytes body = encode(message);
      body[prng.below(body.size())] = static_cast<std::byte>(prng());
      const auto other = decode(type_of(message), body);
      EXPECT_TRUE(!other || encode(*other) == body);
    }
  }
}

TEST(Message, of_no_known_type_is_none) {
  const Bytes body = encode({.verb = Verb::kSync});
  EXPECT_FALSE(decode(wire::MessageType{0x8ff}, body).has_value());
  EXPECT_FALSE(decode(wire::MessageType{0x914}, body).has_value());
}

TEST(Part, divides_a_transaction_by_blocks) {
  const auto parts = some_parts();
  ASSERT_EQ(parts.size(), 3u);
  const BlockId block = block_of(page_of(kAddress));
  EXPECT_EQ(parts[0].first.value, block.value - 1);
  EXPECT_EQ(parts[1].first, block);
  EXPECT_EQ(parts[2].first.value, block.value + 5);
  for (const auto& [own, part] : parts) {
    EXPECT_EQ(part.blocks().size(), 3u);
    for (const auto& [other, unused] : parts) EXPECT_TRUE(part.names(other));
    EXPECT_FALSE(part.names(BlockId{1}));
  }
  ASSERT_EQ(parts[1].second.items().size(), 2u);
  EXPECT_EQ(parts[0].second.items()[0].offset, kBlockBytes - 100);
  EXPECT_EQ(parts[0].second.data().size(), 100u);
  EXPECT_EQ(parts[1].second.data().size(), 208u);
  EXPECT_TRUE(parts[1].second.writes());
  EXPECT_FALSE(parts[2].second.writes());
}

Part one(ItemKind kind, std::uint64_t offset, std::size_t length) {
  static const Bytes zeros(1000);
  const Item item{kind, kAddress + offset, std::span(zeros).first(length)};
  return parts_of(std::span(&item, 1))->front().second;
}

TEST(Part, conflicts_where_one_writes_what_the_other_wants) {
  const Part compare = one(ItemKind::kCompare, 100, 10), write = one(ItemKind::kWrite, 109, 10);
  EXPECT_FALSE(compare.conflicts(compare));
  EXPECT_TRUE(compare.conflicts(write));
  EXPECT_TRUE(write.conflicts(compare));
  EXPECT_TRUE(write.conflicts(write));
  EXPECT_FALSE(compare.conflicts(one(ItemKind::kWrite, 110, 10)));
  EXPECT_FALSE(write.conflicts(one(ItemKind::kWrite, 99, 10)));
  EXPECT_TRUE(write.writes_to(118, 1));
  EXPECT_FALSE(write.writes_to(119, 1));
  EXPECT_FALSE(compare.writes_to(100, 10));
}

constexpr std::uint64_t kPage = kAddress + kPageBytes;

TEST(Part, compares_whole_pages_by_digest) {
  const PageDigest digest = digest_of_zero_page();
  const Item items[] = {{ItemKind::kComparePage, kPage, digest},
                        {ItemKind::kWrite, kPage + 8, std::span(digest).first(8)}};
  const Part part = parts_of(items)->front().second;
  EXPECT_EQ(part.data().size(), digest.size() + 8);
  const auto parsed = Part::parse(part.bytes());
  ASSERT_TRUE(parsed.has_value());
  std::size_t count = 0;
  parsed->for_each_item([&](const wire::DurableItem& item, std::span<const std::byte> bytes) {
    EXPECT_TRUE(std::ranges::equal(bytes, items[count].bytes));
    EXPECT_TRUE(has_kind(item, items[count].kind));
    ++count;
  });
  EXPECT_EQ(count, 2u);
  // It is in the way of whoever writes anywhere in the page.
  EXPECT_TRUE(part.conflicts(one(ItemKind::kWrite, kPage - kAddress + 4095, 1)));
  EXPECT_FALSE(part.conflicts(one(ItemKind::kWrite, kPage - kAddress + 4096, 1)));
  EXPECT_FALSE(part.conflicts(one(ItemKind::kCompare, kPage - kAddress + 100, 1)));
}

TEST(Part, that_names_less_than_a_page_by_digest_is_none) {
  const PageDigest digest = digest_of_zero_page();
  const Item item{ItemKind::kComparePage, kPage, digest};
  const Part part = parts_of(std::span(&item, 1))->front().second;
  const std::size_t at = sizeof(wire::DurablePart) + 8;
  for (const auto& [offset, length] : {std::pair{8u, 4096u}, {4096u, 16u}, {4096u, 8192u}, {262144u, 4096u}}) {
    Bytes bytes(part.bytes().begin(), part.bytes().end());
    const wire::DurableItem wrong{offset, static_cast<std::uint16_t>(length),
                                  static_cast<std::uint16_t>(ItemKind::kComparePage)};
    std::memcpy(bytes.data() + at, &wrong, sizeof wrong);
    EXPECT_FALSE(Part::parse(bytes).has_value()) << offset << " " << length;
  }
}

TEST(Part, that_fits_no_message_is_refused) {
  // Pieces of 65 535 bytes, the last of which is shorter.
  constexpr std::size_t kPieces = wire::kMaxDurablePartBytes / 0xffff;
  constexpr std::size_t kMost =
      wire::kMaxDurablePartBytes - sizeof(wire::DurablePart) - 8 - kPieces * sizeof(wire::DurableItem);
  const Bytes data(kMost + 1);
  const std::uint64_t start = address_of(first_page(BlockId{10}));
  const Item item{ItemKind::kWrite, start, data};
  EXPECT_FALSE(parts_of(std::span(&item, 1)).has_value());
  const Item largest{ItemKind::kWrite, start, std::span(data).first(kMost)};
  ASSERT_TRUE(parts_of(std::span(&largest, 1)).has_value());
  EXPECT_EQ(parts_of(std::span(&largest, 1))->front().second.bytes().size(), wire::kMaxDurablePartBytes);
}

}  // namespace
}  // namespace gallocy::durable
