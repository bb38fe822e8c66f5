#include "vmm/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/random_entry.h"

namespace gallocy::vmm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;

class MachineTest : public testing::Test {
 protected:
  MachineTest() {
    for (std::uint16_t node = 0; node < 3; ++node) accept(MemberJoined{NodeId{node}, "here"});
  }

  Result<Outcome> apply(const Entry& entry, NodeId proposer = NodeId{0}) {
    const std::uint64_t before = machine_.digest();
    auto result = machine_.apply(LogIndex{machine_.applied().value + 1}, proposer, entry);
    machine_.check_invariants();
    const bool changed = result && result->changed;
    EXPECT_EQ(machine_.digest() != before, changed) << kind_of(entry);
    return result;
  }

  Outcome accept(const Entry& entry, NodeId proposer = NodeId{0}) {
    auto result = apply(entry, proposer);
    EXPECT_TRUE(result) << kind_of(entry) << ": " << result.error().message;
    return result.value_or(Outcome{});
  }

  void reject(const Entry& entry, ErrorCode code, const std::string& reason, NodeId proposer = NodeId{0}) {
    const auto result = apply(entry, proposer);
    ASSERT_FALSE(result) << kind_of(entry);
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_THAT(result.error().message, HasSubstr(reason));
  }

  const Region& map(const std::string& name, std::uint64_t bytes, Placement placement = {}) {
    return *machine_.region(accept(MapRegion{name, bytes, placement}).region);
  }

  Machine machine_;
};

TEST_F(MachineTest, a_life_that_is_over_does_not_leave_again) {
  accept(MemberLeft{NodeId{1}, 1});
  accept(MemberJoined{NodeId{1}, "again", 2});
  reject(MemberLeft{NodeId{1}, 1}, ErrorCode::kNotFound, "another life");
  accept(MemberLeft{NodeId{1}});
}

TEST_F(MachineTest, each_change_of_membership_opens_an_epoch) {
  EXPECT_EQ(machine_.epoch(), Epoch{3});
  EXPECT_EQ(accept(MemberLeft{NodeId{1}}).epoch, Epoch{4});
  EXPECT_EQ(accept(MemberDied{NodeId{2}}).epoch, Epoch{5});
  EXPECT_THAT(machine_.members(), ElementsAre(NodeId{0}));
  EXPECT_EQ(machine_.member(NodeId{1})->state, MemberState::kLeft);
  EXPECT_EQ(machine_.member(NodeId{2})->state, MemberState::kDied);
  EXPECT_EQ(machine_.member(NodeId{2})->since, Epoch{5});
  EXPECT_EQ(machine_.member(NodeId{7}), nullptr);
  map("other", 1);
  EXPECT_EQ(machine_.epoch(), Epoch{5});
}

TEST_F(MachineTest, one_member_leaves_at_a_time) {
  const NodeId one{1}, two{2};
  EXPECT_EQ(machine_.leaver(), kNoNode);
  EXPECT_EQ(machine_.leaver_since(), Epoch{});
  accept(MemberLeaves{one});
  EXPECT_EQ(machine_.epoch(), Epoch{4});
  EXPECT_EQ(machine_.leaver_since(), Epoch{4});
  EXPECT_TRUE(machine_.is_member(one)) << "yet";
  EXPECT_FALSE(accept(MemberLeaves{one}).changed);
  reject(MemberLeaves{two}, ErrorCode::kConflict, "node 1");
  reject(MemberStays{two}, ErrorCode::kNotFound, "node 2");
  EXPECT_THAT(map("meanwhile", kMiB).spread, ElementsAre(NodeId{0}, two));
  accept(MemberStays{one});
  accept(MemberLeaves{two});
  accept(MemberDied{two});
  EXPECT_EQ(machine_.leaver(), kNoNode);
  accept(MemberLeaves{one});
  const Epoch again = machine_.epoch();
  accept(MemberJoined{NodeId{3}, "10.0.0.3:7000"});
  EXPECT_EQ(machine_.leaver_since(), again);
  EXPECT_EQ(Machine::restore(machine_.snapshot()).value().leaver_since(), again) << "who restores it knows it, too";
  accept(MemberLeft{one});
  EXPECT_EQ(machine_.leaver(), kNoNode);
  EXPECT_EQ(machine_.member(one)->since, machine_.epoch());
  reject(MemberLeaves{one}, ErrorCode::kNotFound, "node 1");
}

TEST_F(MachineTest, one_member_settles_at_a_time_and_step_by_step) {
  const NodeId one{1}, two{2};
  accept(MapRegion{"kept", kMiB, {}, 1});
  EXPECT_FALSE(machine_.is_unsettled(two)) << "the region came later";
  accept(MemberDied{two});
  accept(MemberJoined{two, "10.0.0.2:7000", 2});
  EXPECT_TRUE(machine_.is_unsettled(two));
  EXPECT_FALSE(machine_.is_unsettled(one));
  reject(MemberSettles{two, SettleStep::kTakesOver, machine_.epoch()}, ErrorCode::kNotFound, "node 2");
  accept(MemberSettles{two});
  EXPECT_EQ(machine_.settler(), two);
  EXPECT_FALSE(accept(MemberSettles{two}).changed);
  reject(MemberSettles{one}, ErrorCode::kConflict, "node 2");
  const Epoch seen = machine_.epoch();
  accept(MemberLeaves{one});
  reject(MemberSettles{two, SettleStep::kTakesOver, seen}, ErrorCode::kConflict, "look again");
  reject(MemberSettles{two, SettleStep::kSettled, machine_.epoch()}, ErrorCode::kConflict, "look again");
  accept(MemberSettles{two, SettleStep::kTakesOver, machine_.epoch()});
  accept(MemberStays{one});
  accept(MemberSettles{two, SettleStep::kSettled, machine_.epoch()});
  EXPECT_EQ(machine_.settler(), kNoNode);
  EXPECT_FALSE(machine_.is_unsettled(two));
  EXPECT_TRUE(machine_.was_member_since(seen, two));
  machine_.check_invariants();
}

TEST_F(MachineTest, who_leaves_or_dies_settles_no_more) {
  const NodeId one{1}, two{2};
  accept(MemberSettles{one});
  accept(MemberLeaves{one});
  EXPECT_EQ(machine_.settler(), kNoNode);
  reject(MemberSettles{two}, ErrorCode::kConflict, "node 1");
  accept(MemberStays{one});
  accept(MemberSettles{two});
  accept(MemberDied{two});
  EXPECT_EQ(machine_.settler(), kNoNode);
  reject(MemberSettles{two}, ErrorCode::kNotFound, "node 2");
  machine_.check_invariants();
}

TEST_F(MachineTest, who_leaves_leaves_what_nobody_used_to_the_next_member) {
  const NodeId zero{0}, one{1}, two{2};
  map("dealt out", 3 * kBlockBytes, Placement::interleave());
  map("on one", kMiB, Placement::on(1));
  accept(MemberLeft{one});
  EXPECT_THAT(machine_.region_named("dealt out")->spread, ElementsAre(zero, two, two));
  EXPECT_EQ(machine_.home_of(machine_.region_named("on one")->first_block()), two);
  accept(MemberLeft{two});
  EXPECT_THAT(machine_.region_named("dealt out")->spread, ElementsAre(zero, zero, zero));
  EXPECT_EQ(machine_.home_of(machine_.region_named("on one")->first_block()), zero);
}

TEST_F(MachineTest, whom_most_of_the_others_miss_is_dead) {
  accept(MemberJoined{NodeId{3}, "here"});
  EXPECT_EQ(accept(MemberMissed{NodeId{3}}, NodeId{0}).epoch, Epoch{4});
  EXPECT_FALSE(accept(MemberMissed{NodeId{3}}, NodeId{0}).changed);
  EXPECT_EQ(map("meanwhile", 4 * kMiB, Placement::interleave()).spread.size(), 3u) << "it may be dead";
  const Outcome outcome = accept(MemberMissed{NodeId{3}}, NodeId{1});
  EXPECT_EQ(outcome.epoch, Epoch{5});
  EXPECT_EQ(buried(MemberMissed{NodeId{3}}, outcome), (Life{NodeId{3}, 1}));
  EXPECT_FALSE(machine_.is_member(NodeId{3}));
  reject(MemberMissed{NodeId{3}}, ErrorCode::kNotFound, "node 3", NodeId{2});
  reject(MemberMissed{NodeId{1}}, ErrorCode::kInvalidArgument, "miss itself", NodeId{1});
  reject(MemberMissed{NodeId{1}, 2}, ErrorCode::kNotFound, "another life", NodeId{0});
}

TEST_F(MachineTest, of_those_who_miss_each_other_the_worst_is_suspect) {
  for (const NodeId node : {NodeId{3}, NodeId{4}}) accept(MemberJoined{node, "here"});
  EXPECT_EQ(machine_.suspect(NodeId{0}), std::nullopt);
  accept(MemberMissed{NodeId{1}}, NodeId{2});
  accept(MemberMissed{NodeId{2}}, NodeId{1});
  EXPECT_EQ(machine_.suspect(NodeId{0}), (Life{NodeId{2}, 1}));
  EXPECT_EQ(machine_.suspect(NodeId{2}), (Life{NodeId{1}, 1})) << "spared";
  accept(MemberMissed{NodeId{3}}, NodeId{1});
  EXPECT_EQ(machine_.suspect(NodeId{0}), (Life{NodeId{1}, 1})) << "its line is bad";
  accept(MemberDied{NodeId{1}});
  EXPECT_EQ(machine_.suspect(NodeId{0}), std::nullopt);
}

TEST_F(MachineTest, a_node_may_come_back_with_another_address) {
  accept(MemberDied{NodeId{2}});
  accept(MemberJoined{NodeId{2}, "there", 2}, NodeId{2});
  EXPECT_TRUE(machine_.is_member(NodeId{2}));
  EXPECT_EQ(machine_.member(NodeId{2})->address, "there");
}

TEST_F(MachineTest, a_life_that_is_over_does_not_begin_again) {
  accept(MemberDied{NodeId{2}});
  reject(MemberJoined{NodeId{2}, "here"}, ErrorCode::kNotPermitted, "node 2", NodeId{2});
  accept(MemberLeft{NodeId{1}});
  reject(MemberJoined{NodeId{1}, "here"}, ErrorCode::kNotPermitted, "node 1", NodeId{1});
}

TEST_F(MachineTest, a_newcomer_gets_a_number_that_nobody_had) {
  accept(MemberDied{NodeId{2}});
  const Outcome joined = accept(MemberJoined{kNoNode, "there", 0, 77});
  EXPECT_EQ(joined.node, NodeId{3});
  EXPECT_EQ(joined.life, 1u);
  EXPECT_TRUE(machine_.is_member(NodeId{3}));
  EXPECT_EQ(accept(MemberJoined{kNoNode, "there", 0, 78}).node, NodeId{4});
}

TEST_F(MachineTest, a_newcomer_that_asks_twice_is_one_member) {
  const Outcome joined = accept(MemberJoined{kNoNode, "there", 0, 77});
  const Outcome again = accept(MemberJoined{kNoNode, "there", 0, 77}, NodeId{1});
  EXPECT_FALSE(again.changed);
  EXPECT_EQ(again.node, joined.node);
  EXPECT_EQ(again.life, joined.life);
  accept(MemberDied{NodeId{3}});
  reject(MemberJoined{kNoNode, "there", 0, 77}, ErrorCode::kNotPermitted, "node 3");
}

TEST_F(MachineTest, a_node_that_starts_again_may_have_its_number_in_the_next_life) {
  const Outcome second = accept(MemberJoined{NodeId{2}, "there", 2, 77});
  EXPECT_EQ(second.node, NodeId{2});
  EXPECT_EQ(second.life, 2u);
  EXPECT_EQ(machine_.standing({NodeId{2}, 1}), Standing::kOver);
  EXPECT_EQ(machine_.standing({NodeId{2}, 2}), Standing::kPresent);
  accept(MemberLeft{NodeId{2}});
  EXPECT_EQ(machine_.standing({NodeId{2}, 2}), Standing::kLeft);
  EXPECT_EQ(accept(MemberJoined{NodeId{2}, "there", 3, 78}).life, 3u);
  EXPECT_EQ(machine_.standing({NodeId{2}, 2}), Standing::kOver);
  reject(MemberJoined{NodeId{2}, "there", 2, 77}, ErrorCode::kExists, "node 2");  // it came late
  EXPECT_EQ(machine_.standing({NodeId{9}, 1}), Standing::kUnknown);
}

// Who forgets and who remembers must not be taken for each other.
TEST_F(MachineTest, in_memory_nobody_has_the_log_on_disk) {
  EXPECT_FALSE(machine_.on_disk());
  reject(MemberJoined{.node = kNoNode, .address = "there", .life = 0, .newcomer = 77, .on_disk = true},
         ErrorCode::kConflict, "in memory");
}

TEST(MachineOnDiskTest, a_node_has_the_log_on_disk_in_all_its_lives_or_in_none) {
  Machine machine;
  const auto join = [&](std::uint16_t node, std::uint64_t life, bool on_disk) {
    return machine.apply(LogIndex{machine.applied().value + 1}, NodeId{0},
                         MemberJoined{.node = NodeId{node}, .address = "here", .life = life, .on_disk = on_disk});
  };
  ASSERT_TRUE(join(0, 1, true));
  ASSERT_TRUE(join(1, 1, true));
  ASSERT_TRUE(join(2, 1, false));
  EXPECT_TRUE(machine.on_disk());
  EXPECT_FALSE(join(1, 2, false));
  EXPECT_FALSE(join(2, 2, true));
  ASSERT_TRUE(join(1, 2, true));
  const auto restored = Machine::restore(machine.snapshot());
  ASSERT_TRUE(restored);
  EXPECT_TRUE(restored->member(NodeId{1})->on_disk);
  EXPECT_FALSE(restored->member(NodeId{2})->on_disk);
  EXPECT_EQ(restored->digest(), machine.digest());
}

TEST_F(MachineTest, a_node_that_starts_again_is_the_home_of_nothing) {
  const Region& grid = map("grid", 4 * kMiB, Placement::on(0));
  const BlockId first = grid.first_block();
  accept(BlockHomes{grid.id, {{first, 2, NodeId{1}}, {BlockId{first.value + 2}, 2, NodeId{2}}}});
  accept(MemberJoined{NodeId{1}, "again", 2});
  EXPECT_EQ(grid.home_of(first), NodeId{0});
  EXPECT_EQ(grid.home_of(BlockId{first.value + 2}), NodeId{2});
}

TEST_F(MachineTest, numbers_come_to_an_end) {
  accept(MemberJoined{NodeId{kMaxNodes - 1}, "there"}, NodeId{kMaxNodes - 1});
  reject(MemberJoined{kNoNode, "there", 0, 77}, ErrorCode::kOutOfMemory, "1000 nodes");
}

TEST_F(MachineTest, membership_that_makes_no_sense_is_rejected) {
  reject(MemberJoined{NodeId{1}, "again"}, ErrorCode::kExists, "node 1");
  reject(MemberLeft{NodeId{9}}, ErrorCode::kNotFound, "node 9");
  accept(MemberLeft{NodeId{1}});
  reject(MemberDied{NodeId{1}}, ErrorCode::kNotFound, "node 1");
}

TEST_F(MachineTest, only_members_propose_and_others_only_to_join) {
  reject(BindName{"x", 1}, ErrorCode::kNotPermitted, "node 5", NodeId{5});
  reject(MemberJoined{NodeId{6}, "a"}, ErrorCode::kNotPermitted, "node 5", NodeId{5});
  accept(MemberJoined{NodeId{5}, "a"}, NodeId{5});
  accept(BindName{"x", 1}, NodeId{5});
  accept(MemberDied{NodeId{5}});
  reject(UnbindName{"x"}, ErrorCode::kNotPermitted, "node 5", NodeId{5});
}

TEST_F(MachineTest, regions_get_ids_and_the_lowest_addresses_that_fit) {
  const auto first = accept(MapRegion{"first", 1, {}});
  const auto second = accept(MapRegion{"second", 3 * kMiB, {}});
  const auto third = accept(MapRegion{"third", 1, {}});
  EXPECT_EQ(first.address, kWindowBase);
  EXPECT_EQ(second.address, kWindowBase + 2 * kMiB);
  EXPECT_EQ(third.address, kWindowBase + 6 * kMiB);
  accept(UnmapRegion{second.region});
  const auto fourth = accept(MapRegion{"second", 4 * kMiB, {}});
  EXPECT_EQ(fourth.address, second.address);
  accept(UnmapRegion{fourth.region});
  EXPECT_EQ(accept(MapRegion{"fifth", 1, {}}).region.value, fourth.region.value + 1) << "ids are not used again";
}

TEST_F(MachineTest, the_same_name_means_the_same_region) {
  const auto first = accept(MapRegion{"grid", 100, Placement::on(1)});
  auto again = accept(MapRegion{"grid", 100, Placement::on(1)}, NodeId{2});
  EXPECT_FALSE(again.changed);
  EXPECT_EQ(again.region, first.region);
  EXPECT_EQ(again.address, first.address);
  EXPECT_EQ(machine_.region(first.region)->creator, NodeId{0});
  reject(MapRegion{"grid", 101, Placement::on(1)}, ErrorCode::kInvalidArgument, "100 bytes, not 101");
  reject(MapRegion{"grid", 100, Placement::on(2)}, ErrorCode::kInvalidArgument, "placement");
  reject(MapRegion{"grid", 100, {}}, ErrorCode::kInvalidArgument, "placement");
}

TEST_F(MachineTest, regions_that_cannot_be_are_rejected) {
  reject(MapRegion{"far", 1, Placement::on(7)}, ErrorCode::kInvalidArgument, "node 7");
  reject(MapRegion{"huge", kMaxRegionBytes + 1, {}}, ErrorCode::kInvalidArgument, "8 TiB");
  reject(UnmapRegion{RegionId{1}}, ErrorCode::kNotFound, "region 1");
}

TEST_F(MachineTest, a_durable_region_has_fewer_backups_than_there_are_nodes) {
  const auto region = accept(MapRegion{"accounts", 100, {}, 2});
  EXPECT_EQ(machine_.region(region.region)->durable_backups, 2u);
  EXPECT_EQ(machine_.region(region.region)->founded, Epoch{3});
  EXPECT_FALSE(accept(MapRegion{"accounts", 100, {}, 2}).changed);
  reject(MapRegion{"accounts", 100, {}, 1}, ErrorCode::kInvalidArgument, "durable with 2 backups, not 1");
  reject(MapRegion{"accounts", 100, {}}, ErrorCode::kInvalidArgument, "durable with 2 backups, not 0");
  reject(MapRegion{"more", 100, {}, 3}, ErrorCode::kInvalidArgument, "needs 4 nodes, the cluster has 3");
  reject(MapRegion{"most", 100, {}, kMaxDurableBackups + 1}, ErrorCode::kInvalidArgument, "at most 3");
  reject(MapRegion{"placed", 100, Placement::on(1), 1}, ErrorCode::kInvalidArgument, "no placement");
  reject(UnmapRegion{region.region}, ErrorCode::kUnsupported, "accounts");
}

TEST_F(MachineTest, a_later_life_makes_two_changes_of_membership) {
  EXPECT_EQ(accept(MemberJoined{NodeId{1}, "again", 2}).epoch, Epoch{5});
  ASSERT_EQ(machine_.membership_changes().size(), 5u);
  EXPECT_EQ(machine_.membership_changes()[3].kind, MembershipChange::Kind::kGone);
  EXPECT_EQ(machine_.membership_changes()[4].kind, MembershipChange::Kind::kJoined);
  EXPECT_EQ(machine_.membership_changes()[4].node, NodeId{1});
  EXPECT_EQ(machine_.member(NodeId{1})->since, Epoch{5});
}

TEST_F(MachineTest, a_full_window_rejects_and_takes_again_after_an_unmap) {
  const auto a = accept(MapRegion{"a", kMaxRegionBytes, {}});
  accept(MapRegion{"b", kMaxRegionBytes, {}});
  reject(MapRegion{"c", 1, {}}, ErrorCode::kOutOfMemory, "window exhausted");
  accept(UnmapRegion{a.region});
  EXPECT_EQ(accept(MapRegion{"c", 1, {}}).address, kWindowBase);
}

TEST_F(MachineTest, regions_are_found_by_block_name_and_id) {
  const Region& a = map("a", 3 * kBlockBytes + 1);
  EXPECT_EQ(a.blocks(), 4u);
  EXPECT_EQ(machine_.region_at(a.first_block()), &a);
  EXPECT_EQ(machine_.region_at(BlockId{a.first_block().value + 3}), &a);
  EXPECT_EQ(machine_.region_at(BlockId{a.first_block().value + 4}), nullptr);
  EXPECT_EQ(machine_.region_named("a"), &a);
  EXPECT_EQ(machine_.region_named("b"), nullptr);
  accept(UnmapRegion{a.id});
  EXPECT_EQ(machine_.region_at(BlockId{0}), nullptr);
}

TEST_F(MachineTest, placement_says_where_homes_are) {
  const auto homes = [](const Region& region) {
    std::vector<unsigned> nodes;
    for (std::uint64_t i = 0; i < region.blocks(); ++i)
      nodes.push_back(region.home_of(BlockId{region.first_block().value + i}).value);
    return nodes;
  };
  EXPECT_THAT(homes(map("touch", 2 * kBlockBytes)), ElementsAre(kNoNode.value, kNoNode.value));
  EXPECT_THAT(homes(map("on", 2 * kBlockBytes, Placement::on(1))), ElementsAre(1, 1));
  EXPECT_THAT(homes(map("turns", 5 * kBlockBytes, Placement::interleave())), ElementsAre(0, 1, 2, 0, 1));
  EXPECT_THAT(homes(map("parts", 7 * kBlockBytes, Placement::blocked())), ElementsAre(0, 0, 0, 1, 1, 2, 2));
  EXPECT_THAT(homes(map("few", 2 * kBlockBytes, Placement::blocked())), ElementsAre(0, 1));
}

TEST_F(MachineTest, blocked_parts_are_those_of_share) {
  for (std::uint64_t blocks = 1; blocks < 20; ++blocks) {
    const Region& region = map("r" + std::to_string(blocks), blocks * kBlockBytes, Placement::blocked());
    for (unsigned node = 0; node < 3; ++node) {
      const auto [begin, end] = share(blocks, node, 3);
      for (auto i = begin; i < end; ++i)
        EXPECT_EQ(region.home_of(BlockId{region.first_block().value + i}), NodeId{static_cast<std::uint16_t>(node)});
    }
  }
}

TEST_F(MachineTest, members_at_creation_share_the_blocks_whoever_joins_later) {
  accept(MemberLeft{NodeId{1}});
  const Region& region = map("turns", 3 * kBlockBytes, Placement::interleave());
  accept(MemberJoined{NodeId{1}, "back", 2}, NodeId{1});
  EXPECT_THAT(region.spread, ElementsAre(NodeId{0}, NodeId{2}));
  EXPECT_EQ(machine_.home_of(BlockId{1}), NodeId{2});
}

TEST_F(MachineTest, recorded_homes_override_the_placement) {
  const Region& region = map("on", 10 * kBlockBytes, Placement::on(1));
  accept(BlockHomes{region.id, {{BlockId{2}, 3, NodeId{2}}, {BlockId{4}, 1, NodeId{0}}}});
  EXPECT_EQ(machine_.home_of(BlockId{1}), NodeId{1});
  EXPECT_EQ(machine_.home_of(BlockId{3}), NodeId{2});
  EXPECT_EQ(machine_.home_of(BlockId{4}), NodeId{0});
  EXPECT_EQ(machine_.home_of(BlockId{5}), NodeId{1});
  EXPECT_EQ(region.homes.runs(), 2u);
}

TEST_F(MachineTest, homes_outside_the_region_or_the_cluster_are_rejected_as_a_whole) {
  const Region& region = map("r", 4 * kBlockBytes);
  const HomeRun good{BlockId{0}, 1, NodeId{1}};
  reject(BlockHomes{region.id, {good, {BlockId{3}, 2, NodeId{1}}}}, ErrorCode::kInvalidArgument, "region 'r'");
  reject(BlockHomes{region.id, {good, {BlockId{0}, 1, NodeId{8}}}}, ErrorCode::kInvalidArgument, "node 8");
  reject(BlockHomes{RegionId{99}, {good}}, ErrorCode::kNotFound, "region 99");
  EXPECT_EQ(machine_.home_of(BlockId{0}), kNoNode);
}

TEST_F(MachineTest, a_mapped_again_region_has_none_of_the_old_homes) {
  const RegionId old = map("r", 4 * kBlockBytes).id;
  accept(BlockHomes{old, {{BlockId{0}, 4, NodeId{2}}}});
  accept(UnmapRegion{old});
  map("r", 4 * kBlockBytes);
  EXPECT_EQ(machine_.home_of(BlockId{0}), kNoNode);
}

TEST_F(MachineTest, names_are_bound_once_until_unbound) {
  accept(BindName{"cache", 7}, NodeId{1});
  EXPECT_EQ(machine_.binding("cache")->value, 7u);
  EXPECT_EQ(machine_.binding("cache")->owner, NodeId{1});
  EXPECT_FALSE(accept(BindName{"cache", 7}, NodeId{2}).changed);
  reject(BindName{"cache", 8}, ErrorCode::kExists, "node 1");
  accept(UnbindName{"cache"});
  EXPECT_EQ(machine_.binding("cache"), nullptr);
  reject(UnbindName{"cache"}, ErrorCode::kNotFound, "cache");
}

// Two machines, the same random entries: equal after every step, also when one is taken down and restored in between.
TEST(Machine, is_a_function_of_its_entries) {
  std::size_t accepted = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Prng random(seed);
    Machine one, two;
    for (std::uint64_t index = 1; index <= 200; ++index) {
      const NodeId proposer = random_node(random);
      const Entry entry = random_entry(random);
      const auto before = one.digest();
      const auto a = one.apply(LogIndex{index}, proposer, entry), b = two.apply(LogIndex{index}, proposer, entry);
      ASSERT_EQ(a.has_value(), b.has_value()) << "seed " << seed << " index " << index;
      if (a) {
        ASSERT_EQ(*a, *b);
      } else {
        ASSERT_EQ(a.error().message, b.error().message);
        ASSERT_EQ(one.digest(), before) << "a rejected entry changed something, seed " << seed;
      }
      ASSERT_EQ(one.digest(), two.digest()) << "seed " << seed << " index " << index;
      one.check_invariants();
      accepted += a.has_value();
      if (random.one_in(20)) {
        auto restored = Machine::restore(two.snapshot());
        ASSERT_TRUE(restored) << restored.error().message;
        two = *std::move(restored);
      }
    }
  }
  EXPECT_GT(accepted, 2000u);
}

TEST(Machine, mutated_snapshots_are_refused_or_are_consistent) {
  Prng random(77);
  std::size_t accepted = 0;
  for (int round = 0; round < 300; ++round) {
    Machine machine;
    for (std::uint64_t index = 1; index <= 40; ++index)
      (void)machine.apply(LogIndex{index}, NodeId{0},
                          index <= 3 ? MemberJoined{NodeId{std::uint16_t(index - 1)}, "x", 1} : random_entry(random));
    const Bytes good = machine.snapshot();
    for (int change = 0; change < 50; ++change) {
      Bytes bytes = good;
      bytes[random.below(bytes.size())] = std::byte(random.below(256));
      if (random.one_in(10)) bytes.resize(random.below(bytes.size()));
      const auto restored = Machine::restore(bytes);
      if (!restored) continue;
      restored->check_invariants();
      ASSERT_EQ(restored->snapshot(), bytes);
      ++accepted;
    }
  }
  EXPECT_GT(accepted, 500u);
}

}  // namespace
}  // namespace gallocy::vmm
