#include "agent_protocol.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace gallocy::command {
namespace {

constexpr std::size_t kHeaderBytes = 5;

tl::unexpected<Failure> broken(std::string_view what) {
  return fail_with(ErrorCode::kProtocol, fmt::format("broken connection to the agent: {}", what));
}

void put_long_text(wire::ByteWriter& writer, std::string_view text) {
  writer.put(static_cast<std::uint32_t>(text.size()));
  writer.put_bytes(std::as_bytes(std::span(text)));
}

std::string get_long_text(wire::ByteReader& reader) {
  const auto bytes = reader.get_bytes(reader.get<std::uint32_t>());
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void put_list(wire::ByteWriter& writer, const std::vector<std::string>& texts) {
  writer.put(static_cast<std::uint32_t>(texts.size()));
  for (const auto& text : texts) put_long_text(writer, text);
}

std::vector<std::string> get_list(wire::ByteReader& reader) {
  std::vector<std::string> texts;
  const auto count = reader.get<std::uint32_t>();
  for (std::uint32_t i = 0; i < count && reader.ok(); ++i) texts.push_back(get_long_text(reader));
  return texts;
}

}  // namespace

void append_frame(wire::Bytes& out, AgentFrameType type, std::span<const std::byte> body,
                  std::span<const std::byte> tail) {
  CHECK(body.size() + tail.size() <= kMaxAgentBody, body.size(), tail.size());
  wire::ByteWriter writer(out);
  writer.put(static_cast<std::uint32_t>(body.size() + tail.size()));
  writer.put(type);
  writer.put_bytes(body);
  writer.put_bytes(tail);
}

Outcome<bool> AgentFrameReader::skip_greeting() {
  const auto greeting = std::as_bytes(std::span(kAgentGreeting));
  const auto found = std::search(in_.begin(), in_.end(), greeting.begin(), greeting.end());
  if (found == in_.end()) {
    if (in_.size() > kMaxBeforeGreeting) return broken("no greeting, perhaps another version of gallocy");
    return false;
  }
  in_.erase(in_.begin(), found + static_cast<std::ptrdiff_t>(greeting.size()));
  return true;
}

Outcome<std::optional<AgentFrame>> AgentFrameReader::next() {
  if (in_.size() < kHeaderBytes) return std::nullopt;
  wire::ByteReader reader(in_);
  const auto body_bytes = reader.get<std::uint32_t>();
  const auto type = reader.get<std::uint8_t>();
  if (body_bytes > kMaxAgentBody) return broken("frame too long");
  if (type < static_cast<std::uint8_t>(AgentFrameType::kStart) ||
      type > static_cast<std::uint8_t>(AgentFrameType::kInputTaken)) {
    return broken("unknown frame");
  }
  if (reader.left() < body_bytes) return std::nullopt;
  const auto body = reader.get_bytes(body_bytes);
  AgentFrame frame{static_cast<AgentFrameType>(type), {body.begin(), body.end()}};
  in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(kHeaderBytes + body_bytes));
  return frame;
}

wire::Bytes encode_plan(const InstancePlan& plan) {
  wire::Bytes body;
  wire::ByteWriter writer(body);
  writer.put(static_cast<std::uint16_t>(plan.nodes.size()));
  for (const auto node : plan.nodes) writer.put(node.value);
  put_list(writer, plan.environment);
  put_list(writer, plan.arguments);
  put_long_text(writer, plan.directory);
  put_long_text(writer, plan.secret);
  return body;
}

Outcome<InstancePlan> decode_plan(std::span<const std::byte> body) {
  wire::ByteReader reader(body);
  InstancePlan plan;
  plan.nodes.resize(std::min<std::size_t>(reader.get<std::uint16_t>(), kMaxNodes));
  for (auto& node : plan.nodes) node.value = reader.get<std::uint16_t>();
  plan.environment = get_list(reader);
  plan.arguments = get_list(reader);
  plan.directory = get_long_text(reader);
  plan.secret = get_long_text(reader);
  if (!reader.done() || plan.nodes.empty() || plan.arguments.empty()) return broken("bad plan");
  return plan;
}

wire::Bytes encode_failure(const Failure& failure) {
  wire::Bytes body;
  wire::ByteWriter writer(body);
  writer.put(static_cast<std::int32_t>(failure.status));
  put_long_text(writer, failure.message);
  return body;
}

Outcome<Failure> decode_failure(std::span<const std::byte> body) {
  wire::ByteReader reader(body);
  const auto status = reader.get<std::int32_t>();
  auto message = get_long_text(reader);
  if (!reader.done()) return broken("bad failure");
  return Failure(status, std::move(message));
}

}  // namespace gallocy::command
