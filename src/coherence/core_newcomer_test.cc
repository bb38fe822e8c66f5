// A node that joins a cluster in which others have died already.
#include <gtest/gtest.h>

#include <algorithm>

#include "coherence/testing/no_bytes.h"

namespace gallocy::coherence {
namespace {

unsigned requests(const Effects& effects) {
  return static_cast<unsigned>(std::ranges::count_if(effects.list, [](const Effect& e) {
    return e.kind == Effect::Kind::kSend && e.type == wire::MessageType::kPageRequest;
  }));
}

// Whom it asks may have just heard of a death, and leaves such a request to be asked again.
TEST(Newcomer, asks_again_if_others_died_before_it_came) {
  for (const bool somebody_died : {false, true}) {
    NoBytes frames;
    Options options{.self = NodeId{2}, .nodes = 8, .present = {NodeId{0}, NodeId{2}}};
    if (!somebody_died) options.present.push_back(NodeId{1});
    Core core(options, frames);
    core.add_region(
        {.first_page = PageId{0}, .pages = kBlockPages, .placement = PlacementKind::kNode, .node = NodeId{0}});
    Effects effects;
    EXPECT_EQ(core.fault(PageId{5}, Access::kRead, 1'000, effects), FaultOutcome::kPending);
    EXPECT_EQ(requests(effects), 1u);
    unsigned asked = 0;
    for (std::uint64_t now = 2'000; now < 1'000'000; now += 10'000) {
      effects.clear();
      core.tick(now, effects);
      asked += requests(effects);
    }
    EXPECT_EQ(asked > 0, somebody_died);
  }
}

}  // namespace
}  // namespace gallocy::coherence
