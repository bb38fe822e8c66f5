#include "vmm/last_members.h"

#include <memory>

#include "vmm/log.h"
#include "vmm/raft_replication.h"

namespace gallocy::vmm {
namespace {

// Hands over everything that was found, and never anything more.
class Replay final : public Replication {
 public:
  Replay(const raft::PersistentState& found, ReplicatedState& state, Result<>& outcome)
      : found_(found), state_(state), outcome_(outcome) {}

  void start(std::uint64_t, Effects& effects) override { outcome_ = replay(effects); }
  void submit(Bytes, std::uint64_t, Effects&) override {}
  Result<> message(NodeId, wire::MessageType, std::span<const std::byte>, std::uint64_t, Effects&) override {
    return {};
  }
  void tick(std::uint64_t, Effects&) override {}
  std::uint64_t next_deadline() const override { return kNever; }
  void flush(std::uint64_t, Effects&) override {}
  void peer_down(NodeId, std::uint64_t, Effects&) override {}
  void peer_up(NodeId) override {}
  Result<> usable() const override { return {}; }
  std::uint64_t reign() const override { return 0; }
  bool orders() const override { return false; }
  bool votes() const override { return false; }

 private:
  Result<> replay(Effects& effects) {
    if (found_.snapshot.state) GALLOCY_TRY(restore_records(found_.snapshot, state_, effects));
    for (const raft::Entry& entry : found_.entries) {
      if (entry.kind == raft::EntryKind::kNormal)
        (void)state_.commit(LogIndex{state_.applied().value + 1}, entry.bytes(), effects);
    }
    return {};
  }

  const raft::PersistentState& found_;
  ReplicatedState& state_;
  Result<>& outcome_;
};

}  // namespace

Result<std::map<NodeId, Member>> last_members(const raft::PersistentState& found) {
  Result<> outcome;
  Log log({.self = NodeId{0}}, [&](ReplicatedState& state) { return std::make_unique<Replay>(found, state, outcome); });
  Effects effects;
  log.start(0, effects);
  if (!outcome) return tl::unexpected(outcome.error());
  std::map<NodeId, Member> members;
  for (const NodeId node : log.machine().members()) members.emplace(node, *log.machine().member(node));
  return members;
}

}  // namespace gallocy::vmm
