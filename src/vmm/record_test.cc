#include "vmm/record.h"

#include <gtest/gtest.h>

#include "vmm/random_entry.h"
#include "wire/vmm.h"

namespace gallocy::vmm {
namespace {

Record record_of(Entry entry) { return {NodeId{2}, RequestId{9}, RequestId{4}, std::move(entry)}; }

std::vector<Entry> one_of_each() {
  return {MemberJoined{kNoNode, "10.0.0.1:7000", 0, 0xfeed, {}, true},
          MemberLeft{NodeId{2}, 7},
          MemberDied{NodeId{3}},
          MemberMissed{NodeId{3}, 2},
          MapRegion{"grid", 1 << 20, Placement::on(4)},
          UnmapRegion{RegionId{5}},
          BlockHomes{RegionId{6}, {{BlockId{7}, 8, NodeId{9}}, {BlockId{17}, 1, NodeId{0}}}},
          BindName{"cache", 0xdead'beef'0000'0001},
          UnbindName{"cache"},
          MemberLeaves{NodeId{4}},
          MemberStays{NodeId{4}},
          MemberSettles{NodeId{5}, SettleStep::kTakesOver, Epoch{12}}};
}

TEST(Record, every_entry_comes_back_as_it_went) {
  ASSERT_EQ(one_of_each().size(), std::variant_size_v<Entry>);
  for (const Entry& entry : one_of_each()) {
    const Record record = record_of(entry);
    const auto decoded = decode(encode(record));
    ASSERT_TRUE(decoded) << kind_of(entry) << ": " << decoded.error().message;
    EXPECT_EQ(*decoded, record) << kind_of(entry);
  }
}

TEST(Record, a_durable_region_comes_back_as_it_went) {
  const Record record{NodeId{1}, RequestId{2}, RequestId{1}, MapRegion{"accounts", 1 << 20, {}, 2}};
  const auto decoded = decode(encode(record));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, record);
}

TEST(Record, every_prefix_and_every_longer_text_is_refused) {
  for (const Entry& entry : one_of_each()) {
    Bytes bytes = encode(record_of(entry));
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      EXPECT_FALSE(decode(std::span(bytes).first(length))) << kind_of(entry) << " cut to " << length;
    }
    bytes.push_back(std::byte{0});
    EXPECT_FALSE(decode(bytes)) << kind_of(entry);
  }
}

TEST(Record, the_largest_entry_fits_a_frame) {
  BlockHomes homes{RegionId{1}, {}};
  for (std::size_t i = 0; i < kMaxHomeRuns; ++i) homes.runs.push_back({BlockId{i}, 1, NodeId{0}});
  const Bytes bytes = encode(record_of(homes));
  EXPECT_LE(bytes.size(), wire::kMaxRecordBytes);
  EXPECT_TRUE(decode(bytes));
  homes.runs.push_back(homes.runs.back());
  EXPECT_EQ(validate(homes).error().code, ErrorCode::kInvalidArgument);
}

TEST(Record, entries_that_are_not_well_formed_are_refused_with_a_reason) {
  const BlockId last{kWindowBytes / kBlockBytes - 1};
  const std::vector<Entry> wrong = {
      MemberJoined{NodeId{kMaxNodes}, "a"},
      MemberJoined{NodeId{0}, "a", kMaxLife + 1},
      MemberJoined{NodeId{0}, "a", 0},
      MemberJoined{kNoNode, "a", 1},
      MemberJoined{NodeId{0}, ""},
      MemberLeft{kNoNode},
      MemberLeft{NodeId{0}, kMaxLife + 1},
      MemberLeaves{kNoNode},
      MemberStays{kNoNode},
      MemberSettles{kNoNode},
      MemberSettles{NodeId{0}, SettleStep{0}},
      MemberSettles{NodeId{0}, SettleStep{4}},
      MemberDied{kNoNode},
      MemberMissed{kNoNode},
      MapRegion{"", 1, {}},
      MapRegion{std::string(256, 'x'), 1, {}},
      MapRegion{"zero", 0, {}},
      MapRegion{"huge", kMaxRegionBytes + 1, {}},
      MapRegion{"nowhere", 1, Placement::on(kMaxNodes)},
      MapRegion{"strange", 1, {static_cast<Placement::Kind>(9), 0}},
      MapRegion{"anxious", 1, {}, kMaxDurableBackups + 1},
      MapRegion{"placed", 1, Placement::interleave(), 1},
      BlockHomes{RegionId{1}, {}},
      BlockHomes{RegionId{1}, {{last, 2, NodeId{0}}}},
      BlockHomes{RegionId{1}, {{BlockId{~std::uint64_t{0}}, 2, NodeId{0}}}},
      BlockHomes{RegionId{1}, {{BlockId{0}, 0, NodeId{0}}}},
      BlockHomes{RegionId{1}, {{BlockId{0}, 1, kNoNode}}},
      BindName{"", 1},
      UnbindName{std::string(256, 'x')},
  };
  for (const Entry& entry : wrong) {
    const auto result = validate(entry);
    ASSERT_FALSE(result) << kind_of(entry);
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_FALSE(result.error().message.empty());
  }
  EXPECT_TRUE(validate(BlockHomes{RegionId{1}, {{last, 1, NodeId{0}}}}));
  EXPECT_TRUE(validate(MapRegion{std::string(255, 'x'), kMaxRegionBytes, Placement::on(kMaxNodes - 1)}));
}

TEST(Record, a_request_below_the_first_open_one_is_refused) {
  EXPECT_FALSE(decode(encode({NodeId{1}, RequestId{3}, RequestId{4}, UnbindName{"x"}})));
  EXPECT_FALSE(decode(encode({NodeId{1}, RequestId{3}, RequestId{0}, UnbindName{"x"}})));
  EXPECT_FALSE(decode(encode({kNoNode, RequestId{3}, RequestId{3}, UnbindName{"x"}})));
}

// Whatever decode accepts is the encoding of what it gives.
TEST(Record, mutated_records_are_refused_or_stand_for_themselves) {
  Prng random(20260);
  std::size_t accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    Entry entry = random_entry(random);
    if (!validate(entry)) continue;
    Bytes bytes = encode(record_of(std::move(entry)));
    for (auto changes = 1 + random.below(4); changes > 0; --changes) {
      bytes[random.below(bytes.size())] = std::byte(random.below(256));
      if (random.one_in(4)) bytes.resize(1 + random.below(bytes.size() + 8));
    }
    const auto decoded = decode(bytes);
    if (!decoded) {
      EXPECT_EQ(decoded.error().code, ErrorCode::kProtocol);
      continue;
    }
    ++accepted;
    ASSERT_EQ(encode(*decoded), bytes) << "round " << round;
  }
  EXPECT_GT(accepted, 1000u);  // the mutations are not so wild that only the first check is tried
}

}  // namespace
}  // namespace gallocy::vmm
