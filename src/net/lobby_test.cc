#include "net/lobby.h"

#include <gmock/gmock.h>

#include <array>
#include <thread>

namespace gallocy::net {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr std::array kExpected{NodeId{2}, NodeId{3}};

Connection of(NodeId node, std::string build = "") { return {.peer = node, .build = std::move(build)}; }

bool keep(Lobby& lobby, Connection connection) { return lobby.keep(connection); }

TEST(Lobby, waits_until_all_are_here) {
  Lobby lobby;
  EXPECT_TRUE(keep(lobby, of(NodeId{3}, "first")));  // before it is expected
  EXPECT_TRUE(keep(lobby, of(NodeId{3}, "second")));
  EXPECT_TRUE(keep(lobby, of(NodeId{4})));
  lobby.expect(kExpected);
  EXPECT_TRUE(lobby.refuses(NodeId{3}));
  EXPECT_TRUE(lobby.refuses(NodeId{4}));
  EXPECT_FALSE(lobby.refuses(NodeId{2}));
  EXPECT_THAT(lobby.all(Lobby::Clock::now()).error().message, HasSubstr("node 2"));
  std::thread door([&] { keep(lobby, of(NodeId{2})); });
  const auto all = lobby.all(Lobby::Clock::now() + seconds(60));
  door.join();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].peer, NodeId{2});
  EXPECT_EQ((*all)[1].build, "second");
}

TEST(Lobby, lets_everybody_in_when_it_is_open) {
  Lobby lobby;
  lobby.open();
  EXPECT_FALSE(lobby.refuses(NodeId{9}));
  EXPECT_FALSE(keep(lobby, of(NodeId{9})));
}

TEST(Lobby, may_expect_nobody) {
  Lobby lobby;
  lobby.expect({});
  EXPECT_TRUE(lobby.all(Lobby::Clock::now()));
}

}  // namespace
}  // namespace gallocy::net
