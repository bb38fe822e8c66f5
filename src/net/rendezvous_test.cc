// The launcher's and the nodes' side together, over loopback.
#include "net/rendezvous.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <thread>

#include "net/rendezvous_server.h"

namespace gallocy::net {
namespace {

using rendezvous::FrameType;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

constexpr const char* kSecret = "0123456789abcdef0123456789abcdef";

// A launcher that writes down what it is told, as text.
class Recorder : public RendezvousEvents {
 public:
  explicit Recorder(RendezvousOptions options) {
    options.secret = kSecret;
    auto opened = Rendezvous::open(options, *this);
    EXPECT_TRUE(opened) << opened.error().message;
    rendezvous_ = std::move(*opened);
    thread_ = std::thread([this] { serve(); });
  }
  ~Recorder() override {
    stop_ = true;
    thread_.join();
  }

  std::uint16_t port() const { return rendezvous_->port(); }
  void ask_for_statistics() { ask_ = true; }

  bool await(const std::string& event, milliseconds bound = milliseconds(5'000)) {
    const auto deadline = steady_clock::now() + bound;
    while (steady_clock::now() < deadline) {
      for (const auto& one : events()) {
        if (one.find(event) != std::string::npos) return true;
      }
      ::poll(nullptr, 0, 2);
    }
    return false;
  }
  std::vector<std::string> events() {
    const std::scoped_lock lock(mu_);
    return events_;
  }

 private:
  void serve() {
    while (!stop_) {
      pollfd waited{rendezvous_->fd(), POLLIN, 0};
      ::poll(&waited, 1, 5);
      rendezvous_->step();
      if (ask_.exchange(false)) rendezvous_->request_statistics();
    }
  }
  void note(std::string event) {
    const std::scoped_lock lock(mu_);
    events_.push_back(std::move(event));
  }
  void node_joined(NodeId node) override { note(fmt::format("joined {}", node)); }
  void all_joined() override { note("all joined"); }
  void node_statistics(NodeId node, std::string_view json) override {
    note(fmt::format("statistics {} {}", node, json));
  }
  void node_lost_peer(NodeId reporter, NodeId peer, std::string_view reason) override {
    note(fmt::format("{} lost {}: {}", reporter, peer, reason));
  }
  void node_finished(NodeId node) override { note(fmt::format("finished {}", node)); }
  void node_gone(NodeId node) override { note(fmt::format("gone {}", node)); }
  void join_timed_out(const std::vector<NodeId>& missing) override {
    note("missing " + rendezvous::name_nodes(missing));
  }
  void stranger_refused(std::string_view line) override { note(std::string(line)); }

  std::unique_ptr<Rendezvous> rendezvous_;
  std::thread thread_;
  std::atomic<bool> stop_{false}, ask_{false};
  std::mutex mu_;
  std::vector<std::string> events_;
};

LaunchDescription description(const Recorder& launcher, std::uint16_t node, std::uint16_t nodes) {
  LaunchDescription result;
  result.node = NodeId{node};
  result.nodes = nodes;
  result.launcher_host = "127.0.0.1";
  result.launcher_port = launcher.port();
  result.secret = kSecret;
  result.join_timeout = milliseconds(5'000);
  return result;
}

// A connection without manners.
class Stranger {
 public:
  explicit Stranger(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~Stranger() { ::close(fd_); }
  void send(std::string_view text) {
    EXPECT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL), ssize_t(text.size()));
  }
  void try_to_send(std::string_view text) { (void)!::send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }
  // All that is said until the other side closes.
  std::size_t bytes_until_end() {
    timeval bound{.tv_sec = 8, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
    std::size_t total = 0;
    char buffer[1024];
    for (ssize_t got; (got = ::recv(fd_, buffer, sizeof buffer, 0)) > 0;) total += static_cast<std::size_t>(got);
    return total;
  }

 private:
  const int fd_;
};

TEST(Rendezvous, all_nodes_learn_all_addresses) {
  constexpr std::uint16_t kNodes = 8;
  Recorder launcher({.nodes = kNodes});
  std::vector<std::future<Result<std::vector<PeerAddress>>>> exchanges;
  std::vector<std::unique_ptr<LauncherLink>> links(kNodes);
  for (std::uint16_t node = 0; node < kNodes; ++node) {
    exchanges.push_back(std::async(std::launch::async, [&, node]() -> Result<std::vector<PeerAddress>> {
      auto link = LauncherLink::connect(description(launcher, node, kNodes));
      if (!link) return tl::unexpected(link.error());
      links[node] = std::move(*link);
      EXPECT_EQ(links[node]->listen_host(), "127.0.0.1");
      return links[node]->exchange({"127.0.0.1", static_cast<std::uint16_t>(1000 + node)});
    }));
  }
  for (auto& exchange : exchanges) {
    const auto peers = exchange.get();
    ASSERT_TRUE(peers) << peers.error().message;
    ASSERT_EQ(peers->size(), kNodes);
    for (std::uint16_t node = 0; node < kNodes; ++node) EXPECT_EQ((*peers)[node].port, 1000 + node);
  }
  EXPECT_TRUE(launcher.await("all joined"));
}

TEST(Rendezvous, reports_statistics_losses_and_the_end) {
  Recorder launcher({.nodes = 1});
  auto link = LauncherLink::connect(description(launcher, 0, 1));
  ASSERT_TRUE(link) << link.error().message;
  ASSERT_TRUE((*link)->exchange({"127.0.0.1", 1}));
  (*link)->watch({.statistics = [] { return std::string("{\"counters\": {}}"); }, .launcher_gone = {}});
  launcher.ask_for_statistics();
  EXPECT_TRUE(launcher.await("statistics 0 {\"counters\": {}}"));
  (*link)->report_lost(NodeId{0}, "silent");
  EXPECT_TRUE(launcher.await("0 lost 0: silent"));
  EXPECT_TRUE((*link)->finished());
  EXPECT_TRUE(launcher.await("finished 0"));
  link->reset();
  EXPECT_TRUE(launcher.await("gone 0"));
}

TEST(Rendezvous, missing_nodes_are_named) {
  Recorder launcher({.nodes = 3, .join_timeout = milliseconds(200)});
  auto link = LauncherLink::connect(description(launcher, 1, 3));
  ASSERT_TRUE(link);
  const auto peers = (*link)->exchange({"127.0.0.1", 1});
  ASSERT_FALSE(peers);
  EXPECT_EQ(peers.error().code, ErrorCode::kTimeout);
  EXPECT_THAT(peers.error().message, HasSubstr("nodes 0 and 2"));
  EXPECT_TRUE(launcher.await("missing nodes 0 and 2"));
}

TEST(Rendezvous, launcher_death_is_noticed) {
  auto launcher = std::make_unique<Recorder>(RendezvousOptions{.nodes = 1});
  auto link = LauncherLink::connect(description(*launcher, 0, 1));
  ASSERT_TRUE(link);
  ASSERT_TRUE((*link)->exchange({"127.0.0.1", 1}));
  std::promise<void> gone;
  (*link)->watch({.statistics = {}, .launcher_gone = [&] { gone.set_value(); }});
  launcher.reset();
  EXPECT_EQ(gone.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
}

TEST(Rendezvous, wrong_secret_is_refused_with_one_line) {
  Recorder launcher({.nodes = 2});
  auto wrong = description(launcher, 0, 2);
  wrong.secret = "fedcba9876543210fedcba9876543210";
  const auto link = LauncherLink::connect(wrong);
  ASSERT_FALSE(link);
  EXPECT_EQ(link.error().code, ErrorCode::kNotPermitted);
  EXPECT_TRUE(launcher.await("wrong secret"));
  EXPECT_EQ(launcher.events().size(), 1u);
  EXPECT_TRUE(LauncherLink::connect(description(launcher, 0, 2))) << "the place is still free";
}

TEST(Rendezvous, a_node_comes_only_once) {
  Recorder launcher({.nodes = 2});
  const auto first = LauncherLink::connect(description(launcher, 0, 2));
  ASSERT_TRUE(first);
  EXPECT_FALSE(LauncherLink::connect(description(launcher, 0, 2)));
  EXPECT_TRUE(launcher.await("node 0 has come already"));
  EXPECT_FALSE(LauncherLink::connect(description(launcher, 0, 3))) << "of another cluster";
}

TEST(Rendezvous, garbage_gets_no_byte) {
  Recorder launcher({.nodes = 1});
  Stranger stranger(launcher.port());
  stranger.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(stranger.bytes_until_end(), 0u);
  EXPECT_TRUE(launcher.await("refused a connection from 127.0.0.1"));
  EXPECT_EQ(launcher.events().size(), 1u);
}

TEST(Rendezvous, another_version_is_named) {
  Recorder launcher({.nodes = 1});
  wire::Bytes hello_frame;
  const rendezvous::Hello hello{.version = 99, .nodes = 1};
  rendezvous::SealedStream(rendezvous::Side::kNode)
      .encode(FrameType::kHello, std::as_bytes(std::span(&hello, 1)), hello_frame);
  Stranger stranger(launcher.port());
  stranger.send({reinterpret_cast<const char*>(hello_frame.data()), hello_frame.size()});
  EXPECT_EQ(stranger.bytes_until_end(), 0u);
  EXPECT_TRUE(launcher.await("it speaks version 99 of the rendezvous"));
}

TEST(Rendezvous, silent_strangers_are_closed_and_do_not_keep_nodes_out) {
  Recorder launcher({.nodes = 1});
  std::vector<std::unique_ptr<Stranger>> strangers;
  for (std::size_t i = 0; i < Rendezvous::kMaxStrangers + 5; ++i) {
    strangers.push_back(std::make_unique<Stranger>(launcher.port()));
  }
  auto patient = description(launcher, 0, 1);
  patient.join_timeout = milliseconds(20'000);
  EXPECT_TRUE(LauncherLink::connect(patient));
  EXPECT_TRUE(launcher.await("it did not prove the secret in time", milliseconds(30'000)));
}

// Some are silent, some say half a greeting, some a whole one and no more.
TEST(Rendezvous, a_flood_of_strangers_keeps_no_node_out) {
  constexpr std::size_t kFlood = 900;
  Recorder launcher({.nodes = 2, .join_timeout = milliseconds(60'000)});
  const auto start = steady_clock::now();
  std::vector<std::unique_ptr<Stranger>> strangers;
  wire::Bytes greeting;
  const rendezvous::Hello hello{.nodes = 2};
  rendezvous::SealedStream(rendezvous::Side::kNode)
      .encode(FrameType::kHello, std::as_bytes(std::span(&hello, 1)), greeting);
  const std::string_view text(reinterpret_cast<const char*>(greeting.data()), greeting.size());
  for (std::size_t i = 0; i < kFlood; ++i) {
    strangers.push_back(std::make_unique<Stranger>(launcher.port()));
    if (i % 3 == 1) strangers.back()->try_to_send(text.substr(0, 9));
    if (i % 3 == 2) strangers.back()->try_to_send(text);
    if (i == kFlood / 2) EXPECT_TRUE(LauncherLink::connect(description(launcher, 0, 2)));
  }
  const auto second = LauncherLink::connect(description(launcher, 1, 2));
  EXPECT_TRUE(second) << second.error().message;
  // The strangers' own time is far from over for all of them, one after the other.
  EXPECT_LT(steady_clock::now() - start, Rendezvous::kStrangerTimeout * (kFlood / Rendezvous::kMaxStrangers));
  strangers.clear();
  EXPECT_LE(launcher.events().size(), Rendezvous::kMaxRefusalLines + 1 + 4);
}

TEST(Rendezvous, port_in_use_is_its_own_error) {
  Recorder launcher({.nodes = 1});
  struct Silent : RendezvousEvents {
    void node_joined(NodeId) override {}
    void all_joined() override {}
    void node_statistics(NodeId, std::string_view) override {}
    void node_lost_peer(NodeId, NodeId, std::string_view) override {}
    void node_finished(NodeId) override {}
    void node_gone(NodeId) override {}
    void join_timed_out(const std::vector<NodeId>&) override {}
    void stranger_refused(std::string_view) override {}
  } silent;
  const auto second = Rendezvous::open({.port = launcher.port(), .nodes = 1, .secret = kSecret}, silent);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kAddressInUse);
}

TEST(LauncherLink, no_launcher_is_unreachable) {
  LaunchDescription nobody;
  nobody.launcher_host = "127.0.0.1";
  nobody.launcher_port = 1;
  nobody.secret = kSecret;
  const auto link = LauncherLink::connect(nobody);
  ASSERT_FALSE(link);
  EXPECT_EQ(link.error().code, ErrorCode::kUnreachable);
}

}  // namespace
}  // namespace gallocy::net
