#include "vmm/raft_replication.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "vmm/company.h"
#include "vmm/replication_body.h"

namespace gallocy::vmm {
namespace {

using raft::ServerId;
using wire::ByteReader;
using wire::ByteWriter;

raft::Options core_options(const RaftOptions& options) {
  raft::Options core = options.core;
  core.self = server_of({options.self, options.incarnation}, core.storage);
  return core;
}

bool is_founder(const RaftOptions& options) {
  return (options.incarnation == 1 || options.core.storage == raft::Storage::kDurable) &&
         std::ranges::find(options.founders, options.self) != options.founders.end();
}

}  // namespace

raft::PersistentState first_state(const RaftOptions& options) {
  if (!is_founder(options)) return {};
  raft::Configuration founders;
  const std::size_t voters = voters_among(options.founders.size(), options.most_voters);
  for (const NodeId node : options.founders)
    (founders.voters.size() < voters ? founders.voters : founders.learners).insert(raft::server_id(node, 1));
  return raft::PersistentState::founding(founders, raft::server_id(options.founders.front(), 1));
}

Result<> restore_records(const raft::Snapshot& snapshot, ReplicatedState& state, Effects& effects) {
  ByteReader reader(*snapshot.state);
  const LogIndex index{reader.get<std::uint64_t>()};
  if (index <= state.applied()) return {};  // it only goes beyond entries of Raft's own
  return state.restore(index, reader.get_bytes(reader.left()), effects);
}

RaftReplication::RaftReplication(const RaftOptions& options, ReplicatedState& state)
    : options_(options),
      state_(state),
      core_(core_options(options), options.found ? *options.found : first_state(options), options.seed, options.now) {}

void RaftReplication::start(std::uint64_t now, Effects& effects) {
  if (is_founder(options_) && options_.founders.front() == options_.self && !options_.found) core_.take_office(now);
  carry_out(effects);
}

// ---------------------------------------------------------------------------------------------- records

void RaftReplication::submit(Bytes record, std::uint64_t, Effects& effects) {
  if (orders()) {
    (void)core_.propose(std::move(record));  // refused: as lost
    carry_out(effects);
  } else if (core_.leader() != raft::kNoServer) {
    effects.sends.push_back({{raft::node_of(core_.leader())}, wire::kVmmPropose, body_of(wire::VmmPropose{}, record)});
  }
}

Result<> RaftReplication::message(NodeId from, wire::MessageType type, std::span<const std::byte> body,
                                  std::uint64_t now, Effects& effects) {
  const auto taken = type == wire::kVmmPropose ? proposed(from, ByteReader(body)) : raft_message(from, type, body, now);
  carry_out(effects);
  return taken;
}

Result<> RaftReplication::proposed(NodeId from, ByteReader reader) {
  reader.get<wire::VmmPropose>();
  const auto record = reader.get_bytes(reader.left());
  if (!reader.done()) return garbled("a proposal without a record");
  GALLOCY_TRY(state_.acceptable(from, record));
  if (orders()) (void)core_.propose({record.begin(), record.end()});
  return {};
}

Result<> RaftReplication::raft_message(NodeId from, wire::MessageType type, std::span<const std::byte> body,
                                       std::uint64_t now) {
  const auto message = raft::decode(type, body);
  if (!message) return garbled("a message that is none of Raft");
  if (raft::node_of(message->from) != from) return garbled("a message in the name of another node");
  if (!core_.message(*message, now)) return garbled("a message that contradicts what is decided");
  return {};
}

// A change of the company that is committed may make room for the next. Else, with programs that come and go all the
// time, there would hardly be a heartbeat left for those who should vote.
void RaftReplication::flush(std::uint64_t now, Effects& effects) {
  for (;;) {
    core_.flush(now);
    carry_out(effects);
    if (!std::exchange(company_changed_, false) || !orders()) return;
    keep_company(now);
  }
}

void RaftReplication::persisted(std::uint64_t sequence, std::uint64_t now, Effects& effects) {
  core_.persisted(sequence, now);
  carry_out(effects);
}

void RaftReplication::cannot_persist(std::uint64_t now, Effects& effects) {
  core_.resign(now);
  carry_out(effects);
}

void RaftReplication::carry_out(Effects& effects) {
  raft::Effects done = core_.take_effects();
  if (done.persist) effects.persist.push_back(*std::move(done.persist));
  if (done.restore) restore(*done.restore, effects);
  for (const raft::Committed& committed : done.committed) apply(committed, effects);
  if (bytes_since_snapshot_ > std::max(options_.snapshot_bytes, 4 * snapshot_bytes_)) take_snapshot(core_.commit());
  for (const raft::Message& message : done.messages)
    effects.sends.push_back({{raft::node_of(message.to)}, raft::type_of(message), raft::encode(message)});
}

// A record that is none was refused where it came from. Should one stand in the log all the same, all nodes pass it
// over.
void RaftReplication::apply(const raft::Committed& committed, Effects& effects) {
  bytes_since_snapshot_ += raft::bytes_on_wire(committed.entry);
  if (committed.entry.kind == raft::EntryKind::kConfiguration) company_changed_ = true;
  if (committed.entry.kind != raft::EntryKind::kNormal) return;
  (void)state_.commit(LogIndex{state_.applied().value + 1}, committed.entry.bytes(), effects);
}

void RaftReplication::take_snapshot(LogIndex index) {
  Bytes state;
  ByteWriter writer(state);
  writer.put(state_.applied().value);
  writer.put_bytes(state_.snapshot());
  snapshot_bytes_ = state.size();
  bytes_since_snapshot_ = 0;
  core_.snapshot_taken(index, std::move(state));
}

void RaftReplication::restore(const raft::Snapshot& snapshot, Effects& effects) {
  bytes_since_snapshot_ = 0;
  snapshot_bytes_ = snapshot.state->size();
  const auto restored = restore_records(snapshot, state_, effects);
  // A majority took this state over, and this server has told its leader that it has it.
  CHECK(restored.has_value(), restored.error().message);
}

// ---------------------------------------------------------------------------------------------- time, members

void RaftReplication::tick(std::uint64_t now, Effects& effects) {
  if (now >= core_.next_deadline()) core_.tick(now);
  if (orders()) keep_company(now);
  carry_out(effects);
}

std::uint64_t RaftReplication::next_deadline() const { return core_.next_deadline(); }

// What is refused, because something else has to be done first, is tried again after that, or at the next heartbeat.
void RaftReplication::keep_company(std::uint64_t now) {
  const Step step = next_step(core_, state_, down_, options_, now);
  if (step.resign) core_.resign(now);
  if (step.change && !core_.change(*step.change, now) && step.otherwise) (void)core_.change(*step.otherwise, now);
  if (step.successor) (void)core_.transfer(*step.successor, now);
}

void RaftReplication::peer_down(NodeId peer, std::uint64_t now, Effects& effects) {
  down_.insert(peer);
  if (core_.leader() != raft::kNoServer && raft::node_of(core_.leader()) == peer) core_.leader_lost(now);
  carry_out(effects);
}

void RaftReplication::peer_up(NodeId peer) { down_.erase(peer); }

Result<> RaftReplication::usable() const {
  const raft::Configuration& company = core_.configuration();
  std::size_t alive = 0;
  for (const ServerId server : company.voters) alive += !down_.contains(raft::node_of(server));
  if (company.voters.empty() || alive >= company.quorum()) return {};
  std::string nodes;
  for (const ServerId server : company.voters)
    nodes += fmt::format("{}{}", nodes.empty() ? "" : ", ", raft::node_of(server));
  if (company.voters.size() == 1)
    return fail(ErrorCode::kPeerLost, fmt::format("node {}, which kept the cluster's log, is gone", nodes));
  return fail(
      ErrorCode::kPeerLost,
      fmt::format("of the nodes {}, which keep the cluster's log, only {} are left: no majority", nodes, alive));
}

// Until it is committed that it does not, it may be needed.
bool RaftReplication::votes() const {
  const auto& configurations = core_.log().configurations();
  return configurations.latest().voters.contains(core_.self()) ||
         configurations.at(core_.commit()).voters.contains(core_.self());
}

std::uint64_t RaftReplication::reign() const { return core_.leader() == raft::kNoServer ? 0 : core_.term().value; }

}  // namespace gallocy::vmm
