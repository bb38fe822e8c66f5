// A cluster under load is attacked from outside, in the clear on one machine and encrypted between several: nothing
// leaks, strangers are refused with a line, who breaks the rules is parted with, and the work goes on. What is promised
// and what is not is said in docs/protocol.md, "Security".
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "attacker.h"
#include "members_fixture.h"
#include "net/handshake.h"
#include "net/open_cluster.h"

namespace gallocy::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

constexpr const char* kSecret = "the secret of this cluster";
constexpr std::uint16_t kHeartbeat = static_cast<std::uint16_t>(wire::MessageType::kHeartbeat);

template <typename T>
std::string bytes_of(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

std::size_t entries_of(const std::string& folder) {
  return static_cast<std::size_t>(std::ranges::distance(std::filesystem::directory_iterator(folder)));
}

std::size_t resident_bytes(pid_t process) {
  std::size_t whole = 0, resident = 0;
  std::ifstream("/proc/" + std::to_string(process) + "/statm") >> whole >> resident;
  return resident * kPageBytes;
}

class Security : public MembersFixture, public ::testing::WithParamInterface<bool> {
 protected:
  static bool encrypted() { return GetParam(); }
  static constexpr unsigned kNodes = 3;

  void SetUp() override {
    MembersFixture::SetUp();
    if (encrypted()) {
      hosts_ = std::make_unique<FakeHosts>(kNodes);
      if (!hosts_->made()) GTEST_SKIP() << "no network namespaces here";
      listen_ = "10.77.0.2:0";
      enter_hub();
    }
    memory_ = "64M";
    for (unsigned i = 0; i < kNodes; ++i) add_node({}, encrypted() ? static_cast<int>(i) : -1);
    load_ = tenant({"transfers", "bank", "0"});
    await_progress();
  }
  // The attackers' sockets are this thread's.
  void enter_hub() {
    home_ = net::Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    const net::Fd hub(::open(("/var/run/netns/" + hosts_->hub()).c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(::setns(hub.get(), CLONE_NEWNET), 0);
  }
  void TearDown() override {
    if (load_ != nullptr) {
      load_->signal(SIGTERM);
      EXPECT_EQ(load_->wait(kSoon), 0) << load_->output() << load_->error();
    }
    for (const auto& node : nodes_) {
      EXPECT_THAT(node->error(), Not(HasSubstr(kSecret)));
      EXPECT_LE(lines_of(node->error()).size(), 250u) << node->error();
    }
    end_all();
    if (home_) {
      EXPECT_EQ(::setns(home_.get(), CLONE_NEWNET), 0);
    }
    MembersFixture::TearDown();
  }

  static net::PeerAddress parsed(const std::string& address) { return *net::parse_address("an address", address); }
  net::PeerAddress door() const { return parsed(contact_); }
  std::string here() const { return encrypted() ? "10.77.0.1" : "127.0.0.1"; }
  Impostor impostor() const { return Impostor({.secret = kSecret, .encrypt = encrypted(), .contact = door()}); }

  // So many more transfers have happened by now.
  void await_progress() {
    const std::size_t before = lines_of(load_->output()).size();
    ASSERT_TRUE(eventually([&] { return lines_of(load_->output()).size() > before + 3; }, kSoon))
        << load_->output() << load_->error();
  }
  std::size_t said_by(unsigned node, const std::string& text) const {
    const auto lines = lines_of(nodes_[node]->error());
    return static_cast<std::size_t>(
        std::ranges::count_if(lines, [&](const std::string& line) { return line.find(text) != std::string::npos; }));
  }
  bool is_member(NodeId node) {
    const nlohmann::json report = status();
    return std::ranges::any_of(report.at("cluster").at("members"),
                               [&](const auto& member) { return member.at("node") == node.value; });
  }
  // The work does, a program is let in and finds all money there, and nobody was lost but who should be.
  void expect_goes_on() {
    await_progress();
    EXPECT_TRUE(eventually([&] { return status().at("cluster").at("members").size() == nodes_.size() + 1; }, kSoon))
        << status();
    expect_done(*tenant({"audit", "bank", "transfers", "bank", "20", "audit", "bank"}));
  }
  // Somebody is let in, links to all members, and then says this. They part with it, and go on.
  void expect_parted_with(const std::function<void(Impostor&)>& say) {
    Impostor rogue = impostor();
    const auto number = rogue.join();
    ASSERT_TRUE(number) << number.error().message;
    const auto linked = rogue.dial_all();
    ASSERT_TRUE(linked) << linked.error().message;
    rogue.say({.type = kHeartbeat, .body_bytes = 8}, std::string(8, '\0'));
    say(rogue);
    EXPECT_TRUE(eventually([&] { return rogue.is_parted_with(); }, kSoon));
    EXPECT_TRUE(eventually([&] { return !is_member(*number); }, kSoon)) << status();
    await_progress();
  }

  // What one who encrypts says first.
  std::string client_hello() {
    Relay relay(here(), door());
    expect_done(*tool({"status", net::to_string(relay.address())}));
    return relay.said_by_dialer().substr(0, 200);
  }

  std::unique_ptr<Process> load_;
  net::Fd home_;  // the network namespace of this program
};

INSTANTIATE_TEST_SUITE_P(Of, Security, ::testing::Bool(),
                         [](const auto& given) { return std::string(given.param ? "tls" : "tcp"); });

TEST_P(Security, who_does_not_know_the_secret_learns_nothing) {
  const std::string right = std::exchange(secret_, write_secret("wrong", "the secret of another cluster\n", 0600));
  Relay relay(here(), door());
  const auto refused = tool({"status", net::to_string(relay.address())});
  EXPECT_EQ(refused->wait(kSoon), 77) << refused->error();
  EXPECT_THAT(lines_of(refused->error()), SizeIs(1)) << refused->error();
  EXPECT_LE(relay.said_by_acceptor().size(), sizeof(net::Hello) + sizeof(net::Verdict));
  const auto newcomer = tenant({});
  EXPECT_EQ(newcomer->wait(kSoon), 77) << newcomer->error();
  secret_ = right;
  EXPECT_TRUE(eventually([&] { return said_by(0, "connection_refused") >= 2; }, kSoon));
  expect_goes_on();
}

// The version is judged first, so that what follows it may have changed.
TEST_P(Security, another_version_is_named) {
  Stranger stranger(door());
  net::Hello hello{.version = wire::kProtocolVersion + 1, .from = kNoNode.value, .to = kNoNode.value};
  ASSERT_TRUE(stranger.say(bytes_of(hello)));
  EXPECT_TRUE(eventually([&] { return stranger.is_cut_off(); }, kSoon));
  if (!encrypted()) {  // else it is told nothing, as it does not even encrypt
    ASSERT_EQ(stranger.heard().size(), sizeof hello);
    std::memcpy(&hello, stranger.heard().data(), sizeof hello);
    EXPECT_EQ(hello.version, wire::kProtocolVersion);
    EXPECT_EQ(hello.answer, net::Answer::kOtherVersion);
    EXPECT_EQ(said_by(0, "speaks version"), 1u);
  }
  EXPECT_EQ(said_by(0, "connection_refused"), 1u);
  expect_goes_on();
}

TEST_P(Security, a_recorded_handshake_opens_nothing) {
  std::string recording;
  {
    Relay relay(here(), door());
    expect_done(*tool({"status", net::to_string(relay.address())}));
    recording = relay.said_by_dialer();
  }
  // All at once, and cut where an answer would have been awaited.
  for (const std::size_t cut : {recording.size(), sizeof(net::Hello), std::size_t{1}}) {
    Stranger stranger(door());
    (void)stranger.say(recording.substr(0, cut));
    (void)eventually([&] { return !stranger.heard().empty() || stranger.is_cut_off(); }, milliseconds(500));
    (void)stranger.say(recording.substr(cut));
    EXPECT_TRUE(eventually([&] { return stranger.is_cut_off(); }, kSoon));
    EXPECT_THAT(stranger.heard(), Not(HasSubstr("members")));
    if (!encrypted()) {
      EXPECT_LE(stranger.heard().size(), sizeof(net::Hello) + sizeof(net::Verdict));
    }
  }
  EXPECT_EQ(said_by(0, "connection_refused"), 3u);
  expect_goes_on();
}

TEST_P(Security, who_breaks_the_framing_is_parted_with) {
  using wire::FrameHeader;
  for (const FrameHeader header :
       {FrameHeader{.type = kHeartbeat, .reserved16 = 1}, FrameHeader{.type = kHeartbeat, .body_bytes = ~0u},
        FrameHeader{.type = kHeartbeat, .payload_bytes = wire::kMaxPayloadBytes + 1}})
    expect_parted_with([&](Impostor& rogue) { rogue.say(header); });
  expect_parted_with([](Impostor& rogue) { rogue.say(std::string(1'000, '\xa5')); });
  expect_parted_with([](Impostor& rogue) {  // a frame that ends with the connection
    rogue.say(FrameHeader{.type = 0x102, .body_bytes = 64, .payload_bytes = 4096}, "a few");
    rogue.hang_up();
  });
  expect_goes_on();
}

// Frames of all types that are cut short: none has an effect, and the lines about them are bounded.
TEST_P(Security, frames_that_make_no_sense_have_no_effect) {
  Impostor rogue = impostor();
  const auto number = rogue.join();
  ASSERT_TRUE(number) << number.error().message;
  ASSERT_TRUE(rogue.dial_all());
  for (unsigned type = 0; type < 0x1000; ++type)
    rogue.say({.type = static_cast<std::uint16_t>(type), .body_bytes = 3}, "cut");
  EXPECT_FALSE(rogue.is_parted_with());
  EXPECT_TRUE(eventually([&] { return said_by(0, "frame_refused") > 0; }, kSoon));
  await_progress();
  rogue.hang_up();
  rogue.drop_visit();
  EXPECT_TRUE(eventually([&] { return !is_member(*number); }, kSoon)) << status();
  expect_goes_on();
}

// Somebody in between repeats, changes and cuts what is said on a connection that is up.
TEST_P(Security, an_encrypted_link_is_not_repeated_changed_or_cut_unnoticed) {
  if (!encrypted()) GTEST_SKIP() << "in the clear, who is in between can do anything";
  const auto repeat = [](std::string bytes) { return bytes + bytes; };
  const auto flip = [](std::string bytes) { return bytes.back() ^= 1, bytes; };
  const auto cut = [](std::string bytes) { return bytes.substr(0, bytes.size() - 1) + "\x17\x03\x03"; };
  for (const Relay::Change& change : std::vector<Relay::Change>{repeat, flip, cut}) {
    Impostor victim = impostor();
    const auto number = victim.join();
    ASSERT_TRUE(number) << number.error().message;
    Relay relay(here(), parsed(addresses_[0]));
    const auto linked = victim.dial(NodeId{0}, relay.address());
    ASSERT_TRUE(linked) << linked.error().message;
    // It takes part until then.
    ASSERT_TRUE(eventually([&] { return victim.heard(wire::MessageType::kHeartbeat) > 1; }, kSoon));
    relay.set_change(change);
    for (int i = 0; i < 3; ++i) victim.say({.type = kHeartbeat, .body_bytes = 8}, std::string(8, '\0'));
    EXPECT_TRUE(eventually([&] { return victim.is_parted_with(); }, kSoon));
    victim.drop_visit();
    EXPECT_TRUE(eventually([&] { return !is_member(*number); }, kSoon)) << status();
  }
  EXPECT_EQ(said_by(0, "changed on its way"), 3u) << nodes_[0]->error();
  expect_goes_on();
}

// It was admitted, and the cluster took it for dead before it had come: nobody lets it in any more, and it is told.
TEST_P(Security, who_comes_after_its_death_is_told_so) {
  Impostor late = impostor();
  const auto number = late.join();
  ASSERT_TRUE(number) << number.error().message;
  late.drop_visit();
  ASSERT_TRUE(eventually([&] { return !is_member(*number); }, kSoon)) << status();
  const auto linked = late.dial_all();
  ASSERT_TRUE(linked) << linked.error().message;
  EXPECT_TRUE(eventually([&] { return late.heard(wire::MessageType::kExpelled) >= kNodes + 1; }, kSoon));
  EXPECT_EQ(late.heard(wire::MessageType::kWelcome), 0u);
  // And what it says has no effect.
  late.say({.type = static_cast<std::uint16_t>(wire::MessageType::kLeave)});
  late.say({.type = 0x100, .body_bytes = 3}, "cut");
  await_progress();
  EXPECT_EQ(said_by(0, "frame_refused"), 0u);
  late.hang_up();
  expect_goes_on();
}

// Hundreds of connections that say nothing, stop in the middle, or say a byte now and then: what they cost is bounded,
// newcomers are let in meanwhile, and each of them is cut off.
TEST_P(Security, a_flood_of_connections_is_borne) {
  constexpr std::size_t kFlood = 600, kPending = 64;
  const auto descriptors = [&] { return entries_of("/proc/" + std::to_string(nodes_[0]->pid()) + "/fd"); };
  const std::size_t descriptors_before = descriptors(), memory_before = resident_bytes(nodes_[0]->pid());
  std::string hello = bytes_of(net::Hello{.from = kNoNode.value, .to = kNoNode.value, .nodes = kMaxNodes});
  if (encrypted()) hello = client_hello();
  std::atomic<bool> over{false};
  std::vector<std::unique_ptr<Stranger>> strangers;
  for (std::size_t i = 0; i < kFlood; ++i) strangers.push_back(std::make_unique<Stranger>(door()));
  std::thread flood([&] {
    for (std::size_t byte = 0; !over; ++byte, ::poll(nullptr, 0, 50)) {
      for (std::size_t i = 0; i < kFlood; ++i) {
        if (i % 3 == 1 && byte == 0) (void)strangers[i]->say(hello);
        if (i % 3 == 2 && byte < hello.size()) (void)strangers[i]->say(hello.substr(byte, 1));
      }
      // Who was cut off comes again.
      for (std::size_t i = 0; i < kFlood && byte < 100; i += 10)
        strangers.push_back(std::make_unique<Stranger>(door()));
    }
  });
  add_node({}, encrypted() ? 1 : -1);
  expect_goes_on();
  EXPECT_LE(descriptors(), descriptors_before + kPending + 30);
  EXPECT_LE(resident_bytes(nodes_[0]->pid()), memory_before + (std::size_t{48} << 20));
  over = true;
  flood.join();
  EXPECT_TRUE(eventually(
      [&] { return std::ranges::all_of(strangers, [](const auto& stranger) { return stranger->is_cut_off(); }); },
      kSoon));
  EXPECT_TRUE(eventually([&] { return descriptors() <= descriptors_before + 30; }, kSoon)) << descriptors();
  expect_goes_on();
}

// Numbers are given once: who has the number of one that was there is not let in, whatever it knows.
TEST_P(Security, a_number_that_was_used_is_not_used_again) {
  Impostor first = impostor();
  const auto number = first.join();
  ASSERT_TRUE(number) << number.error().message;
  ASSERT_TRUE(first.dial_all());
  Impostor second = impostor();
  second.take_number(*number);
  for (const bool is_dead : {false, true}) {
    const auto linked = second.dial(NodeId{0}, door());
    ASSERT_FALSE(linked) << is_dead;
    EXPECT_EQ(linked.error().code, ErrorCode::kExists) << linked.error().message;
    first.hang_up();
    first.drop_visit();
    ASSERT_TRUE(eventually([&] { return !is_member(*number); }, kSoon)) << status();
  }
  expect_goes_on();
}

// Longer than the others wait.
TEST_P(Security, who_was_stopped_and_given_up_ends_with_one_line) {
  Process& victim = *nodes_.back();
  victim.signal(SIGSTOP);
  ASSERT_TRUE(eventually([&] { return !is_member(NodeId{kNodes - 1}); }, kSoon)) << status();
  await_progress();
  victim.signal(SIGCONT);
  EXPECT_EQ(victim.wait(kSoon), 70) << victim.error();
  EXPECT_EQ(said_by(kNodes - 1, "took it for dead"), 1u) << victim.error();
  nodes_.pop_back();
  expect_goes_on();
}

}  // namespace
}  // namespace gallocy::testing
