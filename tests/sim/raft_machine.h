// RegisterMachine: the state machine of the simulated servers, a few registers that are read, written, and compared and
// set.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "network.h"
#include "raft/types.h"
#include "raft_linearizability.h"

namespace gallocy::sim {

struct RegisterCommand {
  std::uint64_t operation = 0;  // number of the client's operation
  RegisterOperation::Kind kind = RegisterOperation::Kind::kWrite;
  std::uint32_t reg = 0;
  std::uint64_t value = 0;
  std::uint64_t expected = 0;

  raft::Bytes encode() const {
    raft::Bytes bytes;
    wire::ByteWriter writer(bytes);
    writer.put(operation);
    writer.put(kind);
    writer.put(reg);
    writer.put(value);
    writer.put(expected);
    return bytes;
  }
  static std::optional<RegisterCommand> decode(std::span<const std::byte> bytes) {
    wire::ByteReader reader(bytes);
    RegisterCommand c;
    c.operation = reader.get<std::uint64_t>();
    c.kind = reader.get<RegisterOperation::Kind>();
    c.reg = reader.get<std::uint32_t>();
    c.value = reader.get<std::uint64_t>();
    c.expected = reader.get<std::uint64_t>();
    return reader.done() ? std::optional(c) : std::nullopt;
  }
};

class RegisterMachine {
 public:
  static constexpr std::size_t kRegisters = 4;

  LogIndex applied() const { return applied_; }
  std::uint64_t read(std::uint32_t reg) const { return values_[reg]; }
  std::uint64_t digest() const { return digest_; }

  // Whether the command had an effect.
  bool apply(LogIndex index, const raft::Entry& entry) {
    CHECK(index.value == applied_.value + 1, index, applied_);
    applied_ = index;
    digest_ = mix(digest_, entry.term.value);
    if (entry.kind != raft::EntryKind::kNormal) return false;
    const auto c = RegisterCommand::decode(entry.bytes());
    CHECK(c.has_value(), index);
    digest_ = mix(digest_, c->operation);
    const bool success = c->kind == RegisterOperation::Kind::kWrite || values_[c->reg] == c->expected;
    if (success) values_[c->reg] = c->value;
    return success;
  }

  raft::Bytes snapshot() const {
    const auto bytes = std::as_bytes(std::span(this, 1));
    return {bytes.begin(), bytes.end()};
  }
  static RegisterMachine restore(const raft::Snapshot& snapshot) {
    wire::ByteReader reader(*snapshot.state);
    const auto machine = reader.get<RegisterMachine>();
    CHECK(reader.done() && machine.applied_ == snapshot.index, snapshot.index, machine.applied_);
    return machine;
  }

 private:
  LogIndex applied_{};
  std::array<std::uint64_t, kRegisters> values_{};
  std::uint64_t digest_ = 0;
};

}  // namespace gallocy::sim
