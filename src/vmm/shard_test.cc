#include "vmm/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/log.h"

namespace gallocy::vmm {
namespace {

using testing::ElementsAre;

TEST(Shard, each_entry_belongs_to_one) {
  constexpr std::uint32_t kShards = 2;
  std::size_t in_second = 0;
  for (int i = 0; i < 100; ++i) {
    const std::string name = "name " + std::to_string(i);
    const std::uint32_t shard = shard_of(BindName{name, 1}, kShards);
    EXPECT_EQ(shard_of(UnbindName{name}, kShards), shard);
    EXPECT_EQ(shard_of(MapRegion{.name = name, .bytes = 1, .placement = {}}, kShards), shard);
    EXPECT_EQ(shard_of(MapRegion{.name = name, .bytes = 1, .placement = {}, .durable_backups = 1}, kShards), 0u);
    in_second += shard;
  }
  EXPECT_GT(in_second, 25u);
  EXPECT_LT(in_second, 75u);
  EXPECT_EQ(shard_of(MemberJoined{NodeId{1}, "x"}, kShards), 0u);
}

TEST(Shard, regions_of_two_have_ids_and_addresses_of_their_own) {
  constexpr std::uint32_t kShards = 2;
  for (std::uint32_t index = 0; index < kShards; ++index) {
    const Shard shard{.index = index, .of = kShards};
    Machine machine(shard);
    ASSERT_TRUE(machine.apply(LogIndex{1}, NodeId{0}, MemberJoined{NodeId{0}, "here"}));
    for (std::uint64_t i = 0; i < 5; ++i) {
      const auto mapped = machine.apply(
          LogIndex{2 + i}, NodeId{0}, MapRegion{.name = "r" + std::to_string(i), .bytes = 5'000'000, .placement = {}});
      ASSERT_TRUE(mapped);
      EXPECT_TRUE(shard.has(mapped->region));
      EXPECT_EQ(shard_of(UnmapRegion{mapped->region}, kShards), index);
      EXPECT_LT(mapped->address - shard.window().base, shard.window().bytes);
    }
    machine.check_invariants();
    const Bytes snapshot = machine.snapshot();
    EXPECT_TRUE(Machine::restore(snapshot, shard));
    EXPECT_FALSE(Machine::restore(snapshot, Shard{.index = 1 - index, .of = kShards})) << "the other shard's regions";
  }
  const Machine whole;
  EXPECT_EQ(Shard{}.window().bytes, kWindowBytes);
  EXPECT_EQ(Shard{}.first_region(), RegionId{1});
}

// A log of the second shard, kept by node 0, and the members of the first.
class FollowMembers : public testing::Test {
 protected:
  void apply(const Entry& entry) {
    const NodeId proposer = first_.members().empty() ? NodeId{0} : first_.members().front();
    ASSERT_TRUE(first_.apply(LogIndex{first_.applied().value + 1}, proposer, entry));
  }
  // Until it has nothing more to write down; in how many entries.
  std::uint64_t follow() {
    const std::uint64_t before = second_.machine().applied().value;
    for (std::uint64_t seen = ~0ull; seen != second_.machine().applied().value;) {
      seen = second_.machine().applied().value;
      Effects effects;
      second_.follow_members(first_, ++now_, effects);
      second_.flush(now_, effects);
      second_.check_invariants();
    }
    return second_.machine().applied().value - before;
  }

  Machine first_{Shard{.index = 0, .of = 2}};
  Log second_{{.self = NodeId{0}, .shard = {.index = 1, .of = 2}},
              keeper_log({.self = NodeId{0}, .keeper = NodeId{0}})};
  std::uint64_t now_ = 1'000'000;
};

TEST_F(FollowMembers, what_the_first_log_says_is_said_once) {
  for (const std::uint16_t n : {0, 1, 2}) apply(MemberJoined{NodeId{n}, "here"});
  EXPECT_EQ(follow(), 3u);
  EXPECT_EQ(second_.machine().members(), first_.members());
  EXPECT_EQ(follow(), 0u);
  apply(MemberDied{NodeId{1}});
  apply(MemberJoined{NodeId{1}, "again", 2});
  apply(MemberLeaves{NodeId{2}});
  EXPECT_EQ(follow(), 2u);  // a later life says that the one before it is over
  EXPECT_EQ(second_.machine().member(NodeId{1})->life, 2u);
  EXPECT_EQ(second_.machine().leaver(), NodeId{2});
  apply(MemberLeft{NodeId{2}});
  EXPECT_EQ(follow(), 1u);
  EXPECT_EQ(second_.machine().standing({NodeId{2}, 1}), Standing::kLeft);
  EXPECT_THAT(second_.machine().members(), ElementsAre(NodeId{0}, NodeId{1}));
}

// Who has left may write nothing down any more: what comes then would be known to nobody.
TEST_F(FollowMembers, who_comes_is_written_down_before_who_goes_and_this_node_goes_last) {
  apply(MemberJoined{NodeId{0}, "here"});
  apply(MemberJoined{NodeId{1}, "here"});
  EXPECT_EQ(follow(), 2u);
  apply(MemberJoined{NodeId{2}, "there"});
  apply(MemberLeft{NodeId{0}});
  apply(MemberLeft{NodeId{1}});
  EXPECT_EQ(follow(), 3u);
  EXPECT_THAT(second_.machine().members(), ElementsAre(NodeId{2}));
}

}  // namespace
}  // namespace gallocy::vmm
