#include "agent_protocol.h"

#include <gmock/gmock.h>

#include "base/prng.h"

namespace gallocy::command {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(AgentFrameReader, skips_what_login_scripts_print) {
  AgentFrameReader reader;
  reader.feed(bytes("Welcome to host b\nLast login: today\ngallocy agent 1 is re"));
  EXPECT_FALSE(reader.skip_greeting().value());
  reader.feed(bytes("ady\n"));
  EXPECT_TRUE(reader.skip_greeting().value());
  EXPECT_FALSE(reader.next().value());
}

TEST(AgentFrameReader, gives_up_on_endless_talk) {
  AgentFrameReader reader;
  reader.feed(wire::Bytes(kMaxBeforeGreeting + 1, std::byte{'x'}));
  EXPECT_FALSE(reader.skip_greeting());
}

TEST(AgentFrameReader, delivers_frames_in_any_cut) {
  wire::Bytes sent;
  const AgentExited exited{.wait_status = 9, .node = 3};
  append_frame(sent, AgentFrameType::kExited, std::as_bytes(std::span(&exited, 1)));
  append_frame(sent, AgentFrameType::kInputEnd, {});
  AgentFrameReader reader;
  for (const auto byte : sent) reader.feed({&byte, 1});
  const auto first = reader.next().value();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->as<AgentExited>()->wait_status, 9);
  EXPECT_EQ(first->as<AgentExited>()->node, 3);
  EXPECT_FALSE(first->as<AgentStarted>()) << "too short for it";
  EXPECT_EQ(reader.next().value()->type, AgentFrameType::kInputEnd);
}

TEST(AgentFrameReader, garbage_breaks_the_stream_or_waits) {
  Prng random(3);
  for (int round = 0; round < 2000; ++round) {
    wire::Bytes garbage(random.below(64));
    for (auto& byte : garbage) byte = static_cast<std::byte>(random());
    AgentFrameReader reader;
    reader.feed(garbage);
    while (true) {
      const auto frame = reader.next();
      if (!frame || !*frame) break;
      (void)decode_plan((*frame)->body);
      (void)decode_failure((*frame)->body);
    }
  }
}

TEST(Plan, comes_back_as_it_was_and_not_when_cut) {
  const InstancePlan plan{.nodes = {NodeId{4}, NodeId{5}},
                          .environment = {"GALLOCY_NODES=6"},
                          .arguments = {"prog", "", "with space", "\xff\xfe"},
                          .directory = "/tmp",
                          .secret = "0123456789abcdef"};
  const auto body = encode_plan(plan);
  const auto back = decode_plan(body);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->nodes, plan.nodes);
  EXPECT_EQ(back->environment, plan.environment);
  EXPECT_EQ(back->arguments, plan.arguments);
  EXPECT_EQ(back->directory, plan.directory);
  EXPECT_EQ(back->secret, plan.secret);
  for (std::size_t length = 0; length < body.size(); ++length) EXPECT_FALSE(decode_plan(std::span(body).first(length)));
}

}  // namespace
}  // namespace gallocy::command
