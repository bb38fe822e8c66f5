// What a launcher and the agent it started on another machine say to each other, over the agent's standard input and
// output. They are as trustworthy as the command that carries them (ssh); the secret travels to the agent here.
//
//   agent     the line kAgentGreeting; whatever a login script printed before it is skipped
//   both      frames: body_bytes u32 | type u8 | body
//
// The end of either direction ends the other side's part of the cluster.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "failure.h"
#include "instances.h"
#include "wire/bytes.h"

namespace gallocy::command {

inline constexpr std::string_view kAgentGreeting = "gallocy agent 1 is ready\n";
inline constexpr std::size_t kMaxBeforeGreeting = 64 << 10;
// Arguments and environment of a program are limited to about 2 MiB by the kernel.
inline constexpr std::uint32_t kMaxAgentBody = 4 << 20;
inline constexpr std::size_t kMaxAgentChunk = 64 << 10;  // of output or input in one frame
// Input on its way that node 0 has not read: bounds the agent's memory without holding up signals behind it.
inline constexpr std::size_t kInputWindow = 256 << 10;

enum class AgentFrameType : std::uint8_t {
  kStart = 1,   // launcher: encode_plan
  kSignal,      // launcher: AgentSignal
  kInput,       // launcher: bytes for node 0's standard input
  kInputEnd,    // launcher
  kStarted,     // agent: AgentStarted
  kFailed,      // agent: encode_failure; it ends after this
  kOutput,      // agent: AgentOutput and the bytes
  kOutputEnd,   // agent: AgentOutput
  kExited,      // agent: AgentExited
  kInputTaken,  // agent: u32, bytes of input that node 0 has read or that are discarded
};

struct AgentSignal {
  std::int32_t signal = 0;
  std::uint16_t node = kNoNode.value;  // kNoNode: all
  std::uint8_t group = 0;              // 1: everything the instance started, too
  std::uint8_t zero = 0;
};
struct AgentStarted {
  std::int64_t pid = 0;
  std::uint16_t node = 0;
  std::uint16_t zero[3] = {};
};
struct AgentOutput {
  std::uint16_t node = 0;
  Stream stream{};
  std::uint8_t zero = 0;
};
struct AgentExited {
  std::int32_t wait_status = 0;
  std::uint16_t node = 0;
  std::uint16_t zero = 0;
};
static_assert(sizeof(AgentSignal) == 8 && sizeof(AgentStarted) == 16 && sizeof(AgentOutput) == 4 &&
              sizeof(AgentExited) == 8);

struct AgentFrame {
  AgentFrameType type{};
  wire::Bytes body;

  template <wire::Plain T>
  std::optional<T> as() const {
    wire::ByteReader reader(body);
    const T value = reader.get<T>();
    return reader.ok() ? std::optional(value) : std::nullopt;
  }
};

void append_frame(wire::Bytes& out, AgentFrameType type, std::span<const std::byte> body,
                  std::span<const std::byte> tail = {});

class AgentFrameReader {
 public:
  void feed(std::span<const std::byte> bytes) { in_.insert(in_.end(), bytes.begin(), bytes.end()); }
  // Skips to the end of the greeting; false until it has come. kProtocol: it does not come.
  Outcome<bool> skip_greeting();
  Outcome<std::optional<AgentFrame>> next();

 private:
  wire::Bytes in_;
};

wire::Bytes encode_plan(const InstancePlan& plan);
Outcome<InstancePlan> decode_plan(std::span<const std::byte> body);
wire::Bytes encode_failure(const Failure& failure);
Outcome<Failure> decode_failure(std::span<const std::byte> body);

}  // namespace gallocy::command
