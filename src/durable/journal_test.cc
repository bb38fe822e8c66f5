#include "durable/journal.h"

#include <gtest/gtest.h>

#include "durable/part.h"

namespace gallocy::durable {
namespace {

constexpr BlockId kBlock{4096};
constexpr TransactionId kId{NodeId{2}, Epoch{3}, 7};

Part part_writing(std::uint64_t value) {
  const Item item{ItemKind::kWrite, address_of(first_page(kBlock)), std::as_bytes(std::span(&value, 1))};
  return parts_of(std::span(&item, 1))->front().second;
}

Note note(NoteKind kind) { return {.kind = kind, .block = kBlock, .complete = true, .id = kId, .part = {}}; }

Bytes journal() {
  Bytes bytes;
  encode({.kind = NoteKind::kEpoch, .epoch = Epoch{5}, .id = {}, .part = {}}, bytes);
  encode(note(NoteKind::kBegun), bytes);
  Note recorded = note(NoteKind::kRecorded);
  recorded.part = part_writing(42);
  encode(recorded, bytes);
  return bytes;
}

std::uint64_t first_word(const Kept& kept) {
  std::uint64_t word = 0;
  kept.blocks.at(kBlock).image.read(0, std::as_writable_bytes(std::span(&word, 1)));
  return word;
}

TEST(Journal, has_a_record_until_it_is_erased) {
  Kept kept;
  ASSERT_TRUE(kept.take(journal()));
  EXPECT_EQ(kept.epoch, Epoch{5});
  ASSERT_EQ(kept.blocks.at(kBlock).records.size(), 1u);
  EXPECT_EQ(kept.blocks.at(kBlock).records[0].id, kId);
  EXPECT_FALSE(kept.blocks.at(kBlock).records[0].committed);
  EXPECT_EQ(first_word(kept), 0u);
  Bytes more;
  encode(note(NoteKind::kApplied), more);
  ASSERT_TRUE(kept.take(more));
  EXPECT_TRUE(kept.blocks.at(kBlock).records[0].committed);
  EXPECT_EQ(first_word(kept), 42u);
  more.clear();
  encode(note(NoteKind::kErased), more);
  ASSERT_TRUE(kept.take(more));
  EXPECT_TRUE(kept.blocks.at(kBlock).records.empty());
  EXPECT_EQ(first_word(kept), 42u);
}

TEST(Journal, has_the_pages_of_a_block_that_is_restored) {
  Bytes bytes;
  Note begun = note(NoteKind::kBegun);
  begun.complete = false;
  encode(begun, bytes);
  Note pages = note(NoteKind::kPages);
  pages.offset = 3;
  pages.pages = pages_with(Bytes(2 * kPageBytes, std::byte{1}));
  encode(pages, bytes);
  Kept kept;
  ASSERT_TRUE(kept.take(bytes));
  EXPECT_FALSE(kept.blocks.at(kBlock).complete);
  EXPECT_FALSE(kept.blocks.at(kBlock).image.has(2));
  EXPECT_TRUE(kept.blocks.at(kBlock).image.has(3));
  EXPECT_EQ(kept.blocks.at(kBlock).image.page(4)[0], std::byte{1});
  bytes.clear();
  encode(note(NoteKind::kCompleted), bytes);
  ASSERT_TRUE(kept.take(bytes));
  EXPECT_TRUE(kept.blocks.at(kBlock).complete);
}

TEST(Journal, refuses_what_is_none) {
  const Bytes whole = journal();
  for (std::size_t bytes = 1; bytes < whole.size(); ++bytes) {
    const bool between = bytes == 32 || bytes == 64;
    EXPECT_EQ(Kept().take(std::span(whole).first(bytes)).has_value(), between) << bytes;
  }
  for (const NoteKind kind : {NoteKind::kApplied, NoteKind::kErased, NoteKind{0}, NoteKind{99}}) {
    Bytes bytes;
    encode(note(NoteKind::kBegun), bytes);
    encode(note(kind), bytes);
    EXPECT_FALSE(Kept().take(bytes)) << static_cast<int>(kind);
  }
  Bytes of_no_block;
  encode(note(NoteKind::kCompleted), of_no_block);
  EXPECT_FALSE(Kept().take(of_no_block));
}

}  // namespace
}  // namespace gallocy::durable
