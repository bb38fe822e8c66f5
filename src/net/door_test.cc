// Open clusters on real sockets: nodes that come and go, visitors, and those who are let in nowhere.
#include "net/door.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "net/mesh_test_support.h"

namespace gallocy::net {
namespace {

using namespace testing;
using ::testing::HasSubstr;

// Notes who appears, and greets them.
class Witness final : public Recorder {
 public:
  void peer_up(NodeId peer) override {
    std::lock_guard lock(mu);
    ups.push_back(peer);
    if (greet != nullptr) send_text(*greet, peer, "welcome");
  }
  std::size_t up_count() {
    std::lock_guard lock(mu);
    return ups.size();
  }
  Mesh* greet = nullptr;
  std::vector<NodeId> ups;
};

std::atomic<unsigned> lines{0};  // of the log

class DoorTest : public ::testing::TestWithParam<bool> {
 protected:
  // Members in order of numbers. Each has a loop, and its door is open.
  struct Node {
    std::unique_ptr<Mesh> mesh;
    std::unique_ptr<Witness> sink = std::make_unique<Witness>();
    std::unique_ptr<LoopThread> loop;
  };

  void SetUp() override {
    lines = 0;
    set_log_writer([](std::string_view) { ++lines; });
  }
  void TearDown() override {
    nodes_.clear();
    set_log_writer(nullptr);
  }

  static MeshOptions options() {
    MeshOptions made = test_options(0, kMaxNodes);
    made.membership = Membership::kOpen;
    made.encrypt = GetParam();
    return made;
  }
  static Visit::Options visitor() { return {.secret = options().secret, .encrypt = GetParam()}; }

  // With that number, connected to those who are there.
  Result<Node> make(std::uint16_t id, MeshOptions chosen) {
    Node node;
    GALLOCY_ASSIGN(node.mesh, Mesh::open(std::move(chosen)));
    std::vector<Peer> others;
    for (auto& [number, other] : nodes_) others.push_back({NodeId{number}, other.mesh->address()});
    GALLOCY_TRY(node.mesh->enter(NodeId{id}, others));
    node.sink->greet = node.mesh.get();
    node.loop = std::make_unique<LoopThread>(*node.mesh, *node.sink);
    node.mesh->open_door([this](Visit& visit) { receive(visit); });
    return node;
  }
  void join(std::uint16_t id) {
    auto node = make(id, options());
    ASSERT_TRUE(node) << node.error().message;
    nodes_.emplace(id, std::move(*node));
  }
  void leave(std::uint16_t id) {
    Node& node = nodes_.at(id);
    node.mesh->close_door();
    node.loop.reset();
    node.mesh->close(1s);
    nodes_.erase(id);
  }
  Node& operator[](std::uint16_t id) { return nodes_.at(id); }
  PeerAddress address(std::uint16_t id) { return nodes_.at(id).mesh->address(); }

  // Everybody reaches everybody.
  void expect_connected() {
    for (auto& [from, node] : nodes_) {
      for (auto& [to, other] : nodes_) {
        if (from == to) continue;
        const std::size_t before = other.sink->frames;
        send_text(*node.mesh, NodeId{to}, "hello");
        EXPECT_TRUE(eventually([&] { return other.sink->frames > before; })) << from << " to " << to;
      }
    }
  }

  std::function<void(Visit&)> receive = [](Visit& visit) {
    if (auto heard = visit.hear()) (void)visit.say({wire::VisitType::kStatusText, heard->body});
  };
  std::map<std::uint16_t, Node> nodes_;
};

INSTANTIATE_TEST_SUITE_P(Links, DoorTest, ::testing::Bool(),
                         [](const auto& encrypted) { return std::string(encrypted.param ? "tls" : "tcp"); });

TEST_P(DoorTest, nodes_come_and_go) {
  join(0);
  join(1);
  join(2);
  EXPECT_TRUE(eventually([&] { return nodes_.at(0).sink->up_count() == 2 && nodes_.at(1).sink->up_count() == 1; }));
  expect_connected();
  leave(1);
  EXPECT_TRUE(eventually([&] { return nodes_.at(0).sink->down_count() == 1 && nodes_.at(2).sink->down_count() == 1; }));
  join(50);
  EXPECT_TRUE(eventually([&] { return nodes_.at(0).sink->up_count() == 3; }));
  expect_connected();
  send_text(*nodes_.at(0).mesh, NodeId{1}, "to one who has gone");
  send_text(*nodes_.at(0).mesh, NodeId{7}, "to one who never was");
  EXPECT_EQ(lines, 0u);
}

TEST_P(DoorTest, a_newcomer_is_announced_before_its_frames) {
  join(0);
  for (std::uint16_t id = 1; id < 20; ++id) {
    Witness& first = *nodes_.at(0).sink;
    bool was_up = false;
    first.arrived = [&, id](NodeId from, const wire::FrameHeader&, auto, auto) {
      std::lock_guard lock(first.mu);
      if (from == NodeId{id}) was_up = std::ranges::find(first.ups, from) != first.ups.end();
    };
    const std::size_t before = first.frames;
    join(id);
    send_text(*nodes_.at(id).mesh, NodeId{0}, "at once");
    ASSERT_TRUE(eventually([&] { return first.frames > before; }));
    EXPECT_TRUE(was_up);
    EXPECT_TRUE(eventually([&] { return nodes_.at(id).sink->frames == 1; })) << "no welcome";
    leave(id);
    ASSERT_TRUE(eventually([&] { return first.down_count() == id; }));
    first.arrived = nullptr;
  }
}

// A thread that waits for an answer has the role of the poller meanwhile, for as long as that takes.
TEST_P(DoorTest, a_newcomer_is_taken_in_by_whoever_polls) {
  join(0);
  Node& first = nodes_.at(0);
  std::atomic<bool> stop{false}, polls{false};
  std::thread waiter([&] {
    while (!first.mesh->try_claim()) std::this_thread::yield();
    polls = true;
    while (!stop) (void)first.mesh->poll(*first.sink, 1ms);
    first.mesh->release();
  });
  ASSERT_TRUE(eventually([&] { return polls.load(); }));
  join(1);
  expect_connected();
  stop = true;
  waiter.join();
  expect_connected();
}

TEST_P(DoorTest, members_may_be_different_programs) {
  join(0);
  MeshOptions other = options();
  other.build_id = "build 2";
  auto node = make(1, other);
  ASSERT_TRUE(node) << node.error().message;
  nodes_.emplace(1, std::move(*node));
  EXPECT_EQ(nodes_.at(1).mesh->build_of(NodeId{0}), "build 1");
  ASSERT_TRUE(eventually([&] { return nodes_.at(0).sink->up_count() == 1; }));
  EXPECT_EQ(nodes_.at(0).mesh->build_of(NodeId{1}), "build 2");
  EXPECT_EQ(nodes_.at(1).mesh->build_of(NodeId{1}), "build 2");
  EXPECT_EQ(nodes_.at(1).mesh->build_of(NodeId{9}), "");
  expect_connected();
}

TEST_P(DoorTest, those_who_do_not_belong_here_are_refused) {
  join(0);
  join(1);
  MeshOptions wrong = options();
  wrong.secret = "the secret of another cluster";
  const auto stranger = make(2, wrong);
  ASSERT_FALSE(stranger);
  EXPECT_EQ(stranger.error().code, ErrorCode::kNotPermitted) << stranger.error().message;

  MeshOptions fixed = test_options(1, 2);
  fixed.encrypt = GetParam();
  auto of_launch = Mesh::open(fixed);
  const auto result = (*of_launch)->connect({address(0), address(0)});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kProtocol) << result.error().message;

  const auto twin = make(1, options());
  ASSERT_FALSE(twin);
  EXPECT_TRUE(twin.error().code == ErrorCode::kExists || twin.error().code == ErrorCode::kProtocol)
      << twin.error().message;
  expect_connected();
  EXPECT_GE(lines, 3u);
}

TEST_P(DoorTest, a_flood_keeps_nobody_out) {
  join(0);
  std::vector<Fd> sockets;
  for (int i = 0; i < 300; ++i) {
    start_connect(resolve(address(0).host, address(0).port)->front(), sockets.emplace_back());
    const std::string_view garbage = "GET / HTTP/1.1\r\nHost: somebody\r\n\r\n";
    if (i % 2 == 0) (void)::send(sockets.back().get(), garbage.data(), garbage.size(), MSG_NOSIGNAL);
  }
  join(1);
  expect_connected();
  EXPECT_LE(lines, 101u);  // a hundred, and one that says that there are more
}

TEST_P(DoorTest, a_visitor_is_answered) {
  join(0);
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{5}, std::size_t{3} << 20}) {
    auto visit = Visit::pay(address(0), visitor());
    ASSERT_TRUE(visit) << visit.error().message;
    EXPECT_EQ((*visit)->member(), NodeId{0});
    const wire::Bytes question(bytes, std::byte{7});
    ASSERT_TRUE((*visit)->say({wire::VisitType::kStatus, question}));
    const auto answer = (*visit)->hear(Visit::Clock::now() + 20s);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->type, wire::VisitType::kStatusText);
    EXPECT_EQ(answer->body, question);
  }
  EXPECT_EQ(lines, 0u);
}

TEST_P(DoorTest, a_visitor_without_the_secret_gets_nothing) {
  join(0);
  Visit::Options wrong = visitor();
  wrong.secret = "the secret of another cluster";
  const auto visit = Visit::pay(address(0), wrong);
  ASSERT_FALSE(visit);
  EXPECT_EQ(visit.error().code, ErrorCode::kNotPermitted) << visit.error().message;
  EXPECT_TRUE(eventually([&] { return lines == 1; }));
}

TEST_P(DoorTest, a_launch_takes_no_visitors) {
  MeshOptions fixed = test_options(0, 2);
  fixed.encrypt = GetParam();
  fixed.connect_timeout = 2s;
  auto mesh = Mesh::open(fixed);
  const PeerAddress address = (*mesh)->address();
  std::thread waiting([&] { EXPECT_FALSE((*mesh)->connect({address, address})); });
  EXPECT_FALSE(Visit::pay(address, visitor()));
  waiting.join();
}

TEST_P(DoorTest, an_empty_port_is_named_by_a_visitor) {
  join(0);
  const PeerAddress gone = address(0);
  leave(0);
  Visit::Options impatient = visitor();
  impatient.timeout = 100ms;
  const auto visit = Visit::pay(gone, impatient);
  ASSERT_FALSE(visit);
  EXPECT_THAT(visit.error().message, HasSubstr(std::to_string(gone.port)));
}

// What a visitor waits for ends with the door, on both sides.
TEST_P(DoorTest, closing_it_ends_all_visits) {
  std::atomic<bool> received{false};
  receive = [&](Visit& visit) {
    received = true;
    EXPECT_FALSE(visit.hear());
  };
  join(0);
  auto visit = Visit::pay(address(0), visitor());
  ASSERT_TRUE(visit) << visit.error().message;
  ASSERT_TRUE(eventually([&] { return received.load(); }));
  nodes_.at(0).mesh->close_door();
  const auto answer = (*visit)->hear(Visit::Clock::now() + 20s);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kPeerLost);
}

}  // namespace
}  // namespace gallocy::net
