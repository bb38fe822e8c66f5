#include "runtime/durable_journal.h"

#include <gtest/gtest.h>

#include "runtime/testing/notes.h"

namespace gallocy::runtime {
namespace {

using namespace testing;

// What a store finds that was given these.
void keep(raft::Persist persist, raft::PersistentState& state) {
  if (persist.snapshot) {
    state.snapshot = *persist.snapshot;
    state.entries.clear();
  }
  ASSERT_EQ(persist.first.value, state.snapshot.index.value + state.entries.size() + 1);
  state.entries.insert(state.entries.end(), persist.entries.begin(), persist.entries.end());
}

std::byte first_of_pages(const durable::Kept& kept) {
  std::byte byte{};
  kept.blocks.at(kBlock).image.read(3 * kPageBytes, std::span(&byte, 1));
  return byte;
}

TEST(DurableJournal, finds_notes_that_were_cut_in_pieces) {
  for (const std::size_t piece_bytes : {1, 7, 4096, 1'000'000}) {
    raft::PersistentState state;
    DurableJournal journal(kSelf, {.piece_bytes = piece_bytes});
    ASSERT_TRUE(journal.recover(state));
    keep(journal.append(std::vector{epoch(1), begun(true), pages(std::byte{1})}), state);
    DurableJournal next(kSelf, {.piece_bytes = piece_bytes});
    ASSERT_TRUE(next.recover(state));
    keep(next.append(std::vector{epoch(2), pages(std::byte{2})}), state);
    const auto kept = DurableJournal(kSelf).recover(state);
    ASSERT_TRUE(kept);
    EXPECT_EQ(kept->epoch, Epoch{2});
    EXPECT_EQ(first_of_pages(*kept), std::byte{2});
    for (const raft::Entry& entry : state.entries) EXPECT_LE(entry.bytes().size(), piece_bytes);
  }
}

TEST(DurableJournal, writes_everything_anew_when_it_has_grown) {
  raft::PersistentState state;
  DurableJournal journal(kSelf, {.least_bytes = 2 * kPageBytes});
  ASSERT_TRUE(journal.recover(state));
  keep(journal.append(std::vector{epoch(1)}), state);
  EXPECT_FALSE(journal.has_grown());
  keep(journal.append(std::vector{begun(true), pages(std::byte{1})}), state);
  EXPECT_TRUE(journal.has_grown());
  durable::Kept kept = *DurableJournal(kSelf).recover(state);
  const durable::DurableRegion region{kBlock, 1, 1, Epoch{1}};
  const durable::Core core(kSelf, durable::History({.epoch = Epoch{1}, .nodes = {kSelf}}), std::span(&region, 1),
                           {.keep = true}, std::move(kept));
  keep(journal.anew(core), state);
  EXPECT_TRUE(state.entries.empty());
  EXPECT_FALSE(journal.has_grown());
  EXPECT_EQ(first_of_pages(*journal.recover(state)), std::byte{1});
  keep(journal.append(std::vector{epoch(2)}), state);
  EXPECT_EQ(journal.recover(state)->epoch, Epoch{2});
}

TEST(DurableJournal, refuses_what_is_no_note) {
  raft::PersistentState state;
  DurableJournal journal(kSelf);
  ASSERT_TRUE(journal.recover(state));
  keep(journal.append(std::vector{epoch(1), begun(true)}), state);
  state.entries.back().data = std::make_shared<const raft::Bytes>(5, std::byte{200});
  const auto kept = journal.recover(state);
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, ErrorCode::kProtocol);
}

}  // namespace
}  // namespace gallocy::runtime
