#include "net/mesh.h"

#include <gmock/gmock.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include <algorithm>
#include <optional>

#include "base/prng.h"
#include "net/attempt.h"
#include "net/link.h"
#include "net/mesh_test_support.h"
#include "net/shm_memory.h"

namespace gallocy::net {
namespace {

using namespace testing;

enum class Kind { kTcp, kTls, kShm };

class MeshTest : public ::testing::TestWithParam<Kind> {
 protected:
  static void adjust(MeshOptions& options) {
    options.links = GetParam() == Kind::kShm ? LinkKind::kShm : LinkKind::kTcp;
    options.encrypt = GetParam() == Kind::kTls;
  }
};

INSTANTIATE_TEST_SUITE_P(Links, MeshTest, ::testing::Values(Kind::kTcp, Kind::kTls, Kind::kShm), [](const auto& kind) {
  return std::string(kind.param == Kind::kTcp ? "tcp" : kind.param == Kind::kTls ? "tls" : "shm");
});

constexpr NodeId kZero{0}, kOne{1};

std::string pattern(std::size_t bytes, std::uint64_t seed) {
  Prng prng(seed);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(prng());
  return text;
}

iovec piece_of(std::string& text) { return {text.data(), text.size()}; }

TEST_P(MeshTest, a_frame_arrives_with_header_body_and_payload) {
  Cluster cluster(2, adjust);
  cluster.start_loop(0);
  std::string payload = pattern(5000, 1);
  const iovec pieces[] = {{payload.data(), 100}, {payload.data() + 100, 0}, {payload.data() + 100, 4900}};
  cluster[1].send(kZero, {.type = kTestType, .body_bytes = 4, .payload_bytes = 5000}, bytes_of("body"), pieces);
  ASSERT_TRUE(eventually([&] { return cluster.sinks[0].frames == 1; }));
  std::lock_guard lock(cluster.sinks[0].mu);
  const Arrival& arrival = cluster.sinks[0].arrivals.front();
  EXPECT_EQ(arrival.from, kOne);
  EXPECT_EQ(arrival.header.type, kTestType);
  EXPECT_EQ(arrival.body, "body");
  EXPECT_EQ(arrival.payload, payload);
}

TEST_P(MeshTest, frames_of_several_senders_to_several_peers_keep_their_order) {
  constexpr std::uint16_t kNodes = 5;
  constexpr int kFrames = 300;
  Cluster cluster(kNodes, adjust);
  cluster.start_loops();
  std::vector<std::thread> senders;
  for (std::uint16_t from = 0; from < kNodes; ++from) {
    senders.emplace_back([&, from] {
      for (int i = 0; i < kFrames; ++i) {
        for (std::uint16_t to = 0; to < kNodes; ++to)
          if (to != from) send_text(cluster[from], NodeId{to}, std::to_string(i));
      }
    });
  }
  for (auto& sender : senders) sender.join();
  for (std::uint16_t to = 0; to < kNodes; ++to) {
    Recorder& sink = cluster.sinks[to];
    ASSERT_TRUE(eventually([&] { return sink.frames == (kNodes - 1) * kFrames; })) << sink.frames;
    std::lock_guard lock(sink.mu);
    std::vector<int> next(kNodes, 0);
    for (const Arrival& arrival : sink.arrivals) ASSERT_EQ(arrival.body, std::to_string(next[arrival.from.value]++));
  }
}

TEST_P(MeshTest, concurrent_senders_to_one_peer_keep_each_its_order) {
  constexpr int kThreads = 4, kFrames = 500;
  Cluster cluster(2, adjust);
  cluster.start_loops();
  std::vector<std::thread> senders;
  for (int thread = 0; thread < kThreads; ++thread) {
    senders.emplace_back([&, thread] {
      std::string payload = pattern(static_cast<std::size_t>(thread) * 3000, static_cast<std::uint64_t>(thread));
      for (int i = 0; i < kFrames; ++i) {
        const iovec piece = piece_of(payload);
        send_text(cluster[0], kOne, std::to_string(i), {&piece, 1}, static_cast<std::uint16_t>(kTestType + thread));
      }
    });
  }
  for (auto& sender : senders) sender.join();
  Recorder& sink = cluster.sinks[1];
  ASSERT_TRUE(eventually([&] { return sink.frames == kThreads * kFrames; }));
  std::lock_guard lock(sink.mu);
  std::vector<int> next(kThreads, 0);
  for (const Arrival& arrival : sink.arrivals) {
    const int thread = arrival.header.type - kTestType;
    ASSERT_EQ(arrival.body, std::to_string(next[static_cast<std::size_t>(thread)]++));
    ASSERT_EQ(arrival.payload, pattern(static_cast<std::size_t>(thread) * 3000, static_cast<std::uint64_t>(thread)));
  }
}

TEST_P(MeshTest, payloads_of_all_sizes_are_placed_in_their_pieces) {
  Cluster cluster(2, adjust);
  std::string memory(2 * kBlockBytes, '\0');
  std::size_t step = 0;  // distance of the pieces
  cluster.sinks[0].place = [&](NodeId, const wire::FrameHeader& header, std::span<const std::byte>,
                               std::span<iovec, 64> target) {
    std::size_t count = 0;
    for (std::size_t done = 0; done < header.payload_bytes; ++count) {
      const std::size_t part = std::min(kPageBytes, header.payload_bytes - done);
      target[count] = {memory.data() + count * step, part};
      done += part;
    }
    return count;
  };
  std::size_t frames = 0;
  for (const std::size_t bytes : {0ul, 1ul, 4095ul, 4096ul, 4097ul, 16384ul, 70000ul, kBlockBytes, kBlockBytes, 1ul}) {
    for (const std::size_t distance : {kPageBytes, 2 * kPageBytes}) {
      step = distance;
      memory.assign(memory.size(), '\0');
      std::string payload = pattern(bytes, bytes + 1);
      const iovec piece = piece_of(payload);
      std::thread sender([&] { send_text(cluster[1], kZero, "x", {&piece, 1}); });
      ++frames;
      const auto end = std::chrono::steady_clock::now() + 10s;
      while (cluster.sinks[0].frames < frames && std::chrono::steady_clock::now() < end)
        cluster[0].serve(cluster.sinks[0], 10ms);
      sender.join();
      ASSERT_EQ(cluster.sinks[0].frames, frames);
      for (std::size_t at = 0; at < bytes; at += kPageBytes) {
        const std::size_t part = std::min(kPageBytes, bytes - at);
        ASSERT_EQ(payload.substr(at, part), memory.substr(at / kPageBytes * distance, part)) << bytes << " " << at;
      }
      std::lock_guard lock(cluster.sinks[0].mu);
      EXPECT_TRUE(cluster.sinks[0].arrivals.back().payload.empty());
    }
  }
}

TEST_P(MeshTest, random_frames_arrive_whole) {
  constexpr int kFrames = 400;
  Cluster cluster(2, adjust);
  std::string memory(kBlockBytes, '\0');
  int arrived = 0;
  const auto body_of = [](int i) {
    Prng prng(static_cast<std::uint64_t>(i));
    return pattern(prng.one_in(10) ? prng.below(wire::kMaxBodyBytes + 1) : prng.below(200), prng());
  };
  const auto payload_of = [](int i) {
    Prng prng(static_cast<std::uint64_t>(i) + 1'000'000);
    return pattern(prng.one_in(3) ? prng.below(kBlockBytes + 1) : prng.below(5000), prng());
  };
  Recorder& sink = cluster.sinks[1];
  sink.keep = false;
  sink.place = [&](NodeId, const wire::FrameHeader& header, std::span<const std::byte>, std::span<iovec, 64> target) {
    if (arrived % 2 == 0) return 0ul;
    const std::size_t half = header.payload_bytes / 2;
    target[0] = {memory.data(), half};
    target[1] = {memory.data() + half, header.payload_bytes - half};
    return 2ul;
  };
  sink.arrived = [&](NodeId, const wire::FrameHeader& header, std::span<const std::byte> body,
                     std::span<const std::byte> payload) {
    const bool placed = arrived % 2 == 1 && header.payload_bytes > 0;
    EXPECT_EQ(Recorder::text(body), body_of(arrived));
    EXPECT_EQ(placed ? memory.substr(0, header.payload_bytes) : Recorder::text(payload), payload_of(arrived));
    ++arrived;
  };
  cluster.start_loops();
  for (int i = 0; i < kFrames; ++i) {
    std::string payload = payload_of(i);
    const iovec piece = piece_of(payload);
    send_text(cluster[0], kOne, body_of(i), {&piece, 1});
  }
  EXPECT_TRUE(eventually([&] { return sink.frames == kFrames; }));
  const auto sent = cluster[0].counters(kOne);
  EXPECT_EQ(sent.frames_sent, kFrames);
  EXPECT_TRUE(eventually([&] { return cluster[1].counters(kZero).bytes_received == sent.bytes_sent; }));
  EXPECT_TRUE(eventually([&] { return cluster[1].counters(kZero).frames_received == kFrames; }));
}

TEST_P(MeshTest, a_sender_waits_while_its_peer_does_not_poll) {
  Cluster cluster(2, adjust);
  cluster.start_loop(0);
  constexpr std::size_t kFrames = 200;  // 50 MiB: more than the outbox and what the kernel buffers
  std::atomic<std::size_t> sent{0};
  std::string payload = pattern(kBlockBytes, 3);
  std::thread sender([&] {
    const iovec piece = piece_of(payload);
    for (; sent < kFrames; ++sent) send_text(cluster[0], kOne, "x", {&piece, 1});
  });
  std::size_t seen = 0;
  // It stops: nothing moves for a while, long before all frames are sent.
  ASSERT_TRUE(eventually([&] {
    const std::size_t before = std::exchange(seen, sent.load());
    std::this_thread::sleep_for(20ms);
    return before == sent && before > 0;
  }));
  EXPECT_LT(sent, kFrames);
  cluster.sinks[1].keep = false;
  cluster.start_loop(1);
  EXPECT_TRUE(eventually([&] { return cluster.sinks[1].frames == kFrames; })) << cluster.sinks[1].frames;
  sender.join();
}

TEST_P(MeshTest, a_peer_that_takes_nothing_for_the_peer_timeout_is_down) {
  Cluster cluster(2, [](MeshOptions& options) {
    adjust(options);
    options.peer_timeout = 300ms;
  });
  cluster.start_loop(0);
  std::string payload = pattern(kBlockBytes, 3);
  const iovec piece = piece_of(payload);
  for (int i = 0; i < 200; ++i) send_text(cluster[0], kOne, "x", {&piece, 1});  // fails instead of waiting for ever
  ASSERT_TRUE(eventually([&] { return cluster.sinks[0].down_count() == 1; }));
  EXPECT_EQ(cluster.sinks[0].downs[0].first, kOne);
}

TEST_P(MeshTest, the_poller_never_waits_and_gives_up_a_peer_that_lets_too_much_pile_up) {
  Cluster cluster(3, adjust);
  // Node 0 answers node 1's one frame with more than node 1, which does not poll, takes.
  std::string payload = pattern(kBlockBytes, 3);
  cluster.sinks[0].keep = false;
  cluster.sinks[0].arrived = [&](NodeId from, auto&&...) {
    const iovec piece = piece_of(payload);
    if (from == kOne)
      for (std::size_t sent = 0; sent < 2 * kOutboxCapBytes; sent += kBlockBytes)
        send_text(cluster[0], kOne, "x", {&piece, 1});
  };
  cluster.start_loop(0);
  send_text(cluster[1], kZero, "go");
  ASSERT_TRUE(eventually([&] { return cluster.sinks[0].down_count() == 1; }));
  EXPECT_EQ(cluster.sinks[0].downs[0], std::make_pair(kOne, std::string("does not take data")));
  send_text(cluster[2], kZero, "still there");
  EXPECT_TRUE(eventually([&] { return cluster.sinks[0].frames == 2; }));
}

TEST_P(MeshTest, what_a_peer_sent_before_it_left_is_delivered_and_then_it_is_down) {
  Cluster cluster(3, adjust);
  constexpr std::size_t kFrames = 100;
  std::string payload = pattern(4096, 5);
  const iovec piece = piece_of(payload);
  for (std::size_t i = 0; i < kFrames; ++i) send_text(cluster[1], kZero, std::to_string(i), {&piece, 1});
  cluster.start_loop(0);
  cluster[1].close(5s);
  Recorder& sink = cluster.sinks[0];
  ASSERT_TRUE(eventually([&] { return sink.down_count() == 1; }));
  EXPECT_EQ(sink.frames, kFrames);
  EXPECT_EQ(sink.downs[0].first, kOne);
  send_text(cluster[0], kOne, "discarded");
  send_text(cluster[2], kZero, "the others go on");
  EXPECT_TRUE(eventually([&] { return sink.frames == kFrames + 1; }));
  EXPECT_EQ(cluster.sinks[1].down_count(), 0u);  // who closes is told nothing
}

TEST_P(MeshTest, a_sender_that_waits_is_freed_when_its_peer_dies) {
  Cluster cluster(2, adjust);
  cluster.start_loop(0);
  std::atomic<bool> done{false};
  std::atomic<int> sent{0};
  std::string payload = pattern(kBlockBytes, 3);
  std::thread sender([&] {
    const iovec piece = piece_of(payload);
    for (; sent < 400; ++sent) send_text(cluster[0], kOne, "x", {&piece, 1});
    done = true;
  });
  EXPECT_TRUE(eventually([&] { return sent > 30; }));
  cluster[1].close(0ms);
  EXPECT_TRUE(eventually([&] { return done.load(); }));
  sender.join();
  EXPECT_TRUE(eventually([&] { return cluster.sinks[0].down_count() == 1; }));
}

TEST_P(MeshTest, wake_ends_serve) {
  Cluster cluster(2, adjust);
  for (int i = 0; i < 20; ++i) {
    std::thread waker([&] { cluster[0].wake(); });
    const auto start = std::chrono::steady_clock::now();
    cluster[0].serve(cluster.sinks[0], 10s);
    EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
    waker.join();
  }
}

TEST_P(MeshTest, while_claimed_the_loop_thread_receives_nothing_and_gets_what_is_left_at_release) {
  Cluster cluster(2, adjust);
  cluster.start_loop(0);
  ASSERT_TRUE(cluster[0].try_claim());
  std::thread([&] { EXPECT_FALSE(cluster[0].try_claim()); }).join();
  send_text(cluster[1], kZero, "first");
  std::this_thread::sleep_for(20ms);  // would be enough for the loop thread
  EXPECT_EQ(cluster.sinks[0].frames, 0u);
  Recorder mine;
  EXPECT_TRUE(cluster[0].poll(mine, 5s));
  EXPECT_EQ(mine.frames, 1u);
  send_text(cluster[1], kZero, "second");
  std::this_thread::sleep_for(5ms);
  cluster[0].release();
  EXPECT_TRUE(eventually([&] { return cluster.sinks[0].frames == 1; }));
  EXPECT_EQ(cluster.sinks[0].arrivals[0].body, "second");
}

// Several threads ask and wait for their answers, taking the role where they get it; the loop threads serve. Every
// answer must come, to whoever polls.
TEST_P(MeshTest, claims_and_the_loop_race_without_losing_frames) {
  constexpr int kThreads = 3, kRounds = 300;
  for (const auto spin : {50us, 0us}) {
    Cluster cluster(2, [&](MeshOptions& options) {
      adjust(options);
      options.spin = options.loop_spin = spin;
    });
    std::vector<std::atomic<int>> answers(kThreads);
    for (std::size_t node = 0; node < 2; ++node) {
      Recorder& sink = cluster.sinks[node];
      sink.keep = false;
      sink.arrived = [&, node](NodeId from, const wire::FrameHeader& header, std::span<const std::byte> body, auto) {
        if (body.size() == 3) {  // a request: answer it
          cluster[node].send(from, {.type = header.type, .body_bytes = 2}, body.first(2), {});
        } else {
          answers[header.type - kTestType].fetch_add(1);
        }
      };
    }
    cluster.start_loops();
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        auto& mine = answers[static_cast<std::size_t>(thread)];
        Prng prng(static_cast<std::uint64_t>(thread));
        for (int round = 0; round < kRounds; ++round) {
          const auto type = static_cast<std::uint16_t>(kTestType + thread);
          const bool claims_first = prng.one_in(2);
          bool claimed = claims_first && cluster[0].try_claim();
          cluster[0].send(kOne, {.type = type, .body_bytes = 3}, bytes_of("ask"), {});
          if (!claims_first && !prng.one_in(4)) claimed = cluster[0].try_claim();
          const auto end = std::chrono::steady_clock::now() + 10s;
          while (mine <= round && std::chrono::steady_clock::now() < end) {
            if (claimed) {
              cluster[0].poll(cluster.sinks[0], prng.one_in(2) ? 20s : 0s);
            } else {
              std::this_thread::yield();
            }
          }
          if (claimed) cluster[0].release();
          ASSERT_LT(std::chrono::steady_clock::now(), end);  // no wake-up was lost
          ASSERT_EQ(mine, round + 1);
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }
}

// A peer that knows the secret and then breaks the protocol: node 1, connected to node 0, with its link in our hands.
Connection rogue_peer(Mesh& zero, MeshOptions options) {
  options.self = kOne;
  const PeerAddress address = zero.address();
  Result<> accepted;
  std::thread acceptor([&] { accepted = zero.connect({address, address}); });
  auto tls = options.encrypt ? std::move(*TlsContext::create(options.secret)) : nullptr;
  const Fd doorbell(::eventfd(0, EFD_NONBLOCK));
  const Attempt::Setting setting{.identity = {.self = NodeId{1},
                                              .nodes = 2,
                                              .links = options.links,
                                              .secret = options.secret,
                                              .build_id = options.build_id},
                                 .tls = tls.get(),
                                 .doorbell = doorbell.get(),
                                 .peer_timeout = options.peer_timeout};
  Fd socket;
  EXPECT_EQ(start_connect(options.links == LinkKind::kShm ? unix_address(address.port)
                                                          : resolve(address.host, address.port)->front(),
                          socket),
            0);
  Attempt attempt(setting, std::move(socket), Attempt::Clock::now() + 10s, kZero);
  EXPECT_TRUE(eventually([&] { return attempt.step() != Attempt::State::kRunning; }));
  acceptor.join();
  EXPECT_TRUE(accepted) << accepted.error().message;
  return attempt.take_connection();
}

TEST_P(MeshTest, a_peer_that_breaks_the_protocol_is_down) {
  MeshOptions options = test_options(0, 2);
  adjust(options);
  for (const wire::FrameHeader broken : {wire::FrameHeader{.reserved16 = 1}, wire::FrameHeader{.reserved32 = 1},
                                         wire::FrameHeader{.body_bytes = wire::kMaxBodyBytes + 1},
                                         wire::FrameHeader{.payload_bytes = wire::kMaxPayloadBytes + 1}}) {
    auto mesh = std::move(*Mesh::open(options));
    const Connection connection = rogue_peer(*mesh, options);
    Recorder sink;
    LoopThread loop(*mesh, sink);
    const wire::FrameHeader good{.type = kTestType};
    const iovec pieces[] = {{const_cast<wire::FrameHeader*>(&good), sizeof good},
                            {const_cast<wire::FrameHeader*>(&broken), sizeof broken},
                            {const_cast<wire::FrameHeader*>(&good), sizeof good}};
    std::optional<RingMapping> mapping;
    if (GetParam() == Kind::kShm) {
      mapping.emplace(connection.memory.get());
      RingWriter writer(mapping->rings().to_acceptor);
      writer.write(pieces);
      if (writer.must_wake_reader()) ::eventfd_write(connection.peer_doorbell.get(), 1);
    } else if (connection.tls) {
      connection.tls->write(pieces);
    } else {
      EXPECT_EQ(::writev(connection.socket.get(), pieces, 3), 48);
    }
    ASSERT_TRUE(eventually([&] { return sink.down_count() == 1; }));
    EXPECT_THAT(sink.downs[0].second, ::testing::HasSubstr("broke the protocol"));
    EXPECT_EQ(sink.frames, 1u);
  }
}

TEST_P(MeshTest, impossible_ring_positions_take_the_peer_down) {
  if (GetParam() != Kind::kShm) return;
  MeshOptions options = test_options(0, 2);
  adjust(options);
  for (const bool as_reader : {false, true}) {
    auto mesh = std::move(*Mesh::open(options));
    const Connection connection = rogue_peer(*mesh, options);
    Recorder sink;
    LoopThread loop(*mesh, sink);
    const RingMapping mapping(connection.memory.get());
    if (as_reader) {
      mapping.rings().to_dialer.read = std::uint64_t{1} << 40;
      std::string payload = pattern(kBlockBytes, 1);
      const iovec piece = piece_of(payload);
      for (std::size_t sent = 0; sent < 2 * kRingBytes; sent += kBlockBytes) send_text(*mesh, kOne, "x", {&piece, 1});
    } else {
      mapping.rings().to_acceptor.written = kRingBytes + 1;
    }
    ::eventfd_write(connection.peer_doorbell.get(), 1);
    ASSERT_TRUE(eventually([&] { return sink.down_count() == 1; }));
    EXPECT_THAT(sink.downs[0].second, ::testing::HasSubstr("impossible position"));
  }
}

}  // namespace
}  // namespace gallocy::net
