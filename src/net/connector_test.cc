// Who is let in and who is not, on real sockets. The handshake's own rules are tested in handshake_test.cc.
#include "net/connector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <mutex>

#include "base/log.h"
#include "net/mesh_test_support.h"
#include "net/socket.h"

namespace gallocy::net {
namespace {

using namespace testing;
using ::testing::HasSubstr;

enum class Kind { kTcp, kTls, kShm };

std::mutex lines_mu;
std::vector<std::string> lines;

std::size_t line_count() {
  std::lock_guard lock(lines_mu);
  return lines.size();
}

class ConnectorTest : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    lines.clear();
    set_log_writer([](std::string_view line) {
      std::lock_guard lock(lines_mu);
      lines.emplace_back(line);
    });
  }
  void TearDown() override { set_log_writer(nullptr); }

  static MeshOptions options(std::uint16_t self, std::uint16_t nodes) {
    MeshOptions made = test_options(self, nodes);
    made.links = GetParam() == Kind::kShm ? LinkKind::kShm : LinkKind::kTcp;
    made.encrypt = GetParam() == Kind::kTls;
    return made;
  }
  static std::unique_ptr<Mesh> open(const MeshOptions& opened) {
    auto mesh = Mesh::open(opened);
    EXPECT_TRUE(mesh) << mesh.error().message;
    return std::move(*mesh);
  }

  // A socket connected to a mesh, as anybody could.
  static Fd stranger(const PeerAddress& address) {
    const SocketAddress to =
        GetParam() == Kind::kShm ? unix_address(address.port) : resolve(address.host, address.port)->front();
    Fd socket;
    EXPECT_EQ(start_connect(to, socket), 0);
    return socket;
  }

  // Node 0 of two waits for node 1; somebody else comes first, and leaves that many log lines. Then node 1 comes, and
  // both must be connected and work.
  void intrude(std::size_t expected_lines, const std::function<void(const PeerAddress&)>& intruder) {
    std::vector<std::unique_ptr<Mesh>> meshes;
    meshes.push_back(open(options(0, 2)));
    const PeerAddress address = meshes[0]->address();
    Result<> accepted;
    std::thread acceptor([&] { accepted = meshes[0]->connect({address, address}); });
    intruder(address);
    EXPECT_TRUE(eventually([&] { return line_count() >= expected_lines; })) << line_count();
    meshes.push_back(open(options(1, 2)));
    const auto dialed = meshes[1]->connect({address, address});
    EXPECT_TRUE(dialed) << dialed.error().message;
    acceptor.join();
    EXPECT_TRUE(accepted) << accepted.error().message;
    EXPECT_EQ(line_count(), expected_lines);
    if (!dialed || !accepted) return;
    Recorder sink;
    LoopThread loop(*meshes[0], sink);
    send_text(*meshes[1], NodeId{0}, "hello");
    EXPECT_TRUE(eventually([&] { return sink.frames == 1; }));
  }

  // The same where the intruder is a node with one wrong option.
  Error intrude_with(const std::function<void(MeshOptions&)>& change) {
    Error error;
    intrude(1, [&](const PeerAddress& address) {
      MeshOptions wrong = options(1, 2);
      change(wrong);
      auto mesh = open(wrong);
      const auto result = mesh->connect(std::vector<PeerAddress>(wrong.nodes, address));
      ASSERT_FALSE(result);
      error = result.error();
    });
    return error;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Links, ConnectorTest, ::testing::Values(Kind::kTcp, Kind::kTls, Kind::kShm), [](const auto& kind) {
      return std::string(kind.param == Kind::kTcp ? "tcp" : kind.param == Kind::kTls ? "tls" : "shm");
    });

TEST_P(ConnectorTest, garbage_is_refused_with_one_line) {
  Fd socket;
  intrude(1, [&](const PeerAddress& address) {
    socket = stranger(address);
    const std::string_view request = "GET / HTTP/1.1\r\nHost: somebody\r\n\r\n";
    EXPECT_GT(::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL), 0);
  });
  // It was told nothing (TLS: an alert) and cut off.
  std::array<char, 100> answer;
  ASSERT_TRUE(eventually([&] {
    const ssize_t got = ::recv(socket.get(), answer.data(), answer.size(), MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN);
  }));
}

TEST_P(ConnectorTest, one_that_leaves_at_once_is_one_line) {
  intrude(1, [](const PeerAddress& address) { stranger(address); });
}

TEST_P(ConnectorTest, one_that_says_nothing_is_cut_off_in_time) {
  Fd socket;
  intrude(1, [&](const PeerAddress& address) { socket = stranger(address); });
  EXPECT_THAT(lines[0], HasSubstr("did not finish the handshake in time"));
}

TEST_P(ConnectorTest, half_a_hello_is_cut_off_in_time) {
  Fd socket;
  intrude(1, [&](const PeerAddress& address) {
    socket = stranger(address);
    const Hello hello{.from = 1, .nodes = 2};
    EXPECT_EQ(::send(socket.get(), &hello, 20, MSG_NOSIGNAL), 20);
  });
}

TEST_P(ConnectorTest, a_flood_keeps_nobody_out) {
  std::vector<Fd> sockets;
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::unique_ptr<Mesh>> meshes;
  meshes.push_back(open(options(0, 2)));
  meshes.push_back(open(options(1, 2)));
  for (int i = 0; i < 300; ++i) sockets.push_back(stranger(meshes[0]->address()));
  for (const auto& result : connect_all(meshes)) EXPECT_TRUE(result) << result.error().message;
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
  EXPECT_GT(line_count(), 0u);
  EXPECT_LE(line_count(), 101u);  // a hundred, and one that says that there are more
}

TEST_P(ConnectorTest, a_node_with_another_secret_is_refused) {
  const Error error = intrude_with([](MeshOptions& wrong) { wrong.secret = "the secret of another cluster"; });
  EXPECT_EQ(error.code, ErrorCode::kNotPermitted) << error.message;
  EXPECT_THAT(error.message, HasSubstr("node 0"));
  EXPECT_THAT(error.message, HasSubstr("does not have the same cluster secret"));
}

TEST_P(ConnectorTest, another_build_is_refused) {
  const Error error = intrude_with([](MeshOptions& wrong) { wrong.build_id = "build 2"; });
  EXPECT_EQ(error.code, ErrorCode::kProtocol) << error.message;
  EXPECT_THAT(error.message, HasSubstr("another build"));
}

TEST_P(ConnectorTest, a_node_of_a_cluster_of_another_size_is_refused) {
  const Error error = intrude_with([](MeshOptions& wrong) { wrong.nodes = 3; });
  EXPECT_EQ(error.code, ErrorCode::kProtocol) << error.message;
}

TEST_P(ConnectorTest, another_protocol_version_is_refused) {
  if (GetParam() == Kind::kTls) return;  // inside TLS it is the same code
  Fd socket;
  intrude(1, [&](const PeerAddress& address) {
    socket = stranger(address);
    const Hello hello{.version = wire::kProtocolVersion + 1, .from = 1, .nodes = 2};
    EXPECT_GT(::send(socket.get(), &hello, sizeof hello, MSG_NOSIGNAL), 0);
  });
  EXPECT_THAT(lines[0], HasSubstr("speaks version"));
}

TEST_P(ConnectorTest, a_node_id_used_twice_is_refused) {
  std::vector<std::unique_ptr<Mesh>> meshes;
  for (std::uint16_t id : {0, 1, 2}) meshes.push_back(open(options(id, 3)));
  std::vector<PeerAddress> addresses;
  for (auto& mesh : meshes) addresses.push_back(mesh->address());
  std::vector<Result<>> results(2);
  std::thread zero([&] { results[0] = meshes[0]->connect(addresses); });
  std::thread one([&] { results[1] = meshes[1]->connect(addresses); });
  // The twin comes again until the real node 1 is there; until then it is the twin that would be let in.
  std::this_thread::sleep_for(100ms);
  auto twin = open(options(1, 3));
  const auto refused = twin->connect(addresses);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kExists) << refused.error().message;
  const auto result = meshes[2]->connect(addresses);
  EXPECT_TRUE(result) << result.error().message;
  zero.join();
  one.join();
  for (const auto& r : results) EXPECT_TRUE(r) << r.error().message;
  EXPECT_EQ(line_count(), 1u);
}

TEST_P(ConnectorTest, a_server_that_is_not_gallocy_is_named) {
  if (GetParam() == Kind::kShm) return;
  auto listener = listen_tcp("127.0.0.1", 0);
  ASSERT_TRUE(listener);
  const PeerAddress address{"127.0.0.1", local_port(listener->get())};
  std::thread server([&] {
    Fd socket;
    EXPECT_TRUE(
        eventually([&] { return static_cast<bool>(socket = Fd(::accept(listener->get(), nullptr, nullptr))); }));
    const std::string_view greeting = "220 mail.example.org ESMTP ready, how can I help you?\r\n";
    EXPECT_GT(::send(socket.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL), 0);
    char byte;
    while (::recv(socket.get(), &byte, 1, 0) > 0) {
    }
  });
  MeshOptions short_wait = options(1, 2);
  short_wait.connect_timeout = 2s;
  auto mesh = open(short_wait);
  const auto result = mesh->connect({address, address});
  mesh.reset();
  server.join();
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr(std::to_string(address.port)));
}

TEST_P(ConnectorTest, nobody_listening_is_unreachable) {
  MeshOptions short_wait = options(1, 2);
  short_wait.connect_timeout = 100ms;
  auto gone = open(options(0, 2));
  const PeerAddress address = gone->address();
  gone.reset();
  const auto result = open(short_wait)->connect({address, address});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUnreachable);
  EXPECT_THAT(result.error().message, HasSubstr("node 0"));
  EXPECT_THAT(result.error().message, HasSubstr(std::to_string(address.port)));
  EXPECT_THAT(result.error().message, HasSubstr("Connection refused"));
}

TEST_P(ConnectorTest, a_peer_that_listens_later_is_found) {
  MeshOptions zero = options(0, 2);
  zero.listen_port = open(zero)->address().port;  // free again now
  const PeerAddress address{zero.listen_host, zero.listen_port};
  std::vector<std::unique_ptr<Mesh>> meshes(2);
  meshes[1] = open(options(1, 2));
  Result<> dialed;
  std::thread dialer([&] { dialed = meshes[1]->connect({address, address}); });
  std::this_thread::sleep_for(50ms);
  meshes[0] = open(zero);
  EXPECT_TRUE(meshes[0]->connect({address, address}));
  dialer.join();
  EXPECT_TRUE(dialed) << dialed.error().message;
}

TEST_P(ConnectorTest, missing_nodes_are_named) {
  MeshOptions short_wait = options(0, 4);
  short_wait.connect_timeout = 100ms;
  auto mesh = open(short_wait);
  const auto result = mesh->connect(std::vector<PeerAddress>(4, mesh->address()));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kTimeout);
  EXPECT_THAT(result.error().message, HasSubstr("node 1 did not connect"));
  EXPECT_THAT(result.error().message, HasSubstr("missing: nodes 1, 2 and 3"));
}

TEST_P(ConnectorTest, a_port_in_use_is_named) {
  auto first = open(options(0, 2));
  MeshOptions second = options(0, 2);
  second.listen_port = first->address().port;
  const auto result = Mesh::open(second);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kAddressInUse);
  EXPECT_THAT(result.error().message, HasSubstr(std::to_string(second.listen_port)));
}

TEST_P(ConnectorTest, an_unknown_host_is_named) {
  if (GetParam() == Kind::kShm) return;
  const auto result = open(options(1, 2))->connect({{"no-such-host.invalid", 1}, {}});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUnreachable);
  EXPECT_THAT(result.error().message, HasSubstr("no-such-host.invalid"));
}

TEST_P(ConnectorTest, nodes_that_disagree_on_encryption_do_not_connect) {
  if (GetParam() == Kind::kShm) return;
  std::vector<std::unique_ptr<Mesh>> meshes;
  for (std::uint16_t id : {0, 1}) {
    MeshOptions made = options(id, 2);
    made.encrypt ^= id == 1;
    made.connect_timeout = 500ms;
    meshes.push_back(open(made));
  }
  for (const auto& result : connect_all(meshes)) {
    ASSERT_FALSE(result);
    EXPECT_THAT(result.error().message, ::testing::AnyOf(HasSubstr("encrypt"), HasSubstr("did not connect"),
                                                         HasSubstr("closed the connection")));
  }
}

TEST(MeshOptionsTest, nonsense_is_refused) {
  for (const auto& spoil : std::vector<std::function<void(MeshOptions&)>>{
           [](MeshOptions& o) { o.secret = "short"; }, [](MeshOptions& o) { o.build_id = std::string(65, 'x'); },
           [](MeshOptions& o) { o.nodes = 0; }, [](MeshOptions& o) { o.self = NodeId{2}; },
           [](MeshOptions& o) { o.nodes = kMaxNodes + 1; }, [](MeshOptions& o) { o.listen_host = "192.0.2.1"; }}) {
    MeshOptions options = test_options(0, 2);
    spoil(options);
    const auto mesh = Mesh::open(options);
    ASSERT_FALSE(mesh);
    EXPECT_EQ(mesh.error().code, ErrorCode::kInvalidArgument) << mesh.error().message;
  }
}

}  // namespace
}  // namespace gallocy::net
