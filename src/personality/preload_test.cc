#include "personality/preload.h"

#include <gtest/gtest.h>

namespace gallocy::personality {
namespace {

TEST(Preload, the_library_is_named_in_front_of_the_users_own) {
  const std::string ours = "LD_PRELOAD=" + std::string(preload_path());
  EXPECT_EQ(with_preload({"A=1"}), (std::vector<std::string>{"A=1", ours}));
  EXPECT_EQ(with_preload({"LD_PRELOAD=/x.so", "B="}), (std::vector<std::string>{ours + ":/x.so", "B="}));
  EXPECT_EQ(with_preload({"LD_PRELOAD="}), (std::vector<std::string>{ours}));
}

}  // namespace
}  // namespace gallocy::personality
