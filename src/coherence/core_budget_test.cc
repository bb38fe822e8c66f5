// A budget that other things use, too.
#include <gtest/gtest.h>

#include "coherence/testing/no_bytes.h"

namespace gallocy::coherence {
namespace {

constexpr std::uint64_t kBudget = 64;

TEST(Budget, gives_room_to_what_is_reserved_and_keeps_some) {
  NoBytes frames;
  Core core({.self = NodeId{0}, .nodes = 2, .present = {NodeId{0}, NodeId{1}}, .budget_pages = kBudget}, frames);
  EXPECT_EQ(core.budget(), kBudget);
  Effects effects;
  core.reserve(40, 1'000, effects);
  EXPECT_EQ(core.budget(), 24u);
  core.reserve(1'000'000, 1'000, effects);
  EXPECT_EQ(core.budget(), 4u);
  core.reserve(0, 1'000, effects);
  EXPECT_EQ(core.budget(), kBudget);
}

TEST(Budget, lends_pages_when_more_of_it_is_reserved) {
  NoBytes frames;
  Core core({.self = NodeId{0}, .nodes = 2, .present = {NodeId{0}, NodeId{1}}, .budget_pages = kBudget}, frames);
  core.add_region(
      {.first_page = PageId{0}, .pages = kBlockPages, .placement = PlacementKind::kNode, .node = NodeId{0}});
  core.set_room(NodeId{1}, 1000);
  Effects effects;
  for (std::uint64_t page = 0; page < 60; ++page)
    EXPECT_EQ(core.fault(PageId{page}, Access::kWrite, 1'000, effects), FaultOutcome::kResolved);
  const std::uint64_t used = core.frames_in_use();
  EXPECT_GE(used, 60u);
  EXPECT_EQ(core.kept_pages(), used);
  effects.clear();
  core.reserve(40, 10'000, effects);
  unsigned lent = 0;
  for (const Effect& effect : effects.list) {
    if (effect.kind == Effect::Kind::kSend && effect.type == wire::MessageType::kPageLend)
      lent += count(effect.message.pages);
  }
  EXPECT_GE(lent, used - core.budget());
  EXPECT_EQ(core.kept_pages(), used - lent);
}

}  // namespace
}  // namespace gallocy::coherence
