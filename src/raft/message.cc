#include "raft/message.h"

#include <utility>

namespace gallocy::raft {
namespace {

using wire::ByteReader;
using wire::ByteWriter;

void put(ByteWriter& writer, const VoteRequest& m) {
  writer.put(wire::RaftVote{m.last_index.value, m.last_term.value, m.ballot == Ballot::kPreVote, m.transfer});
}

void put(ByteWriter& writer, const VoteReply& m) {
  writer.put(wire::RaftVoteReply{m.for_term.value, m.ballot == Ballot::kPreVote, m.granted});
}

void put(ByteWriter& writer, const Append& m) {
  writer.put(wire::RaftAppend{m.prev.value, m.prev_term.value, m.commit.value, m.round, m.number,
                              static_cast<std::uint32_t>(m.entries.size()), 0});
  for (const Entry& entry : m.entries) {
    const auto bytes = entry.bytes();
    writer.put(wire::RaftEntry{entry.term.value, static_cast<std::uint32_t>(bytes.size()),
                               static_cast<std::uint32_t>(entry.kind)});
    writer.put_bytes(bytes);
  }
}

void put(ByteWriter& writer, const AppendReply& m) {
  writer.put(wire::RaftAppendReply{m.index.value, m.hint.value, m.hint_term.value, m.round, m.number, m.accepted, 0});
}

void put(ByteWriter& writer, const SnapshotChunk& m) {
  writer.put(wire::RaftSnapshot{m.index.value, m.term.value, m.total_bytes, m.offset, m.round});
  writer.put_bytes(m.bytes);
}

void put(ByteWriter& writer, const SnapshotReply& m) {
  writer.put(wire::RaftSnapshotReply{m.index.value, m.received, m.round});
}

void put(ByteWriter&, const TimeoutNow&) {}

std::optional<VoteRequest> get_vote(ByteReader& reader) {
  const auto m = reader.get<wire::RaftVote>();
  if (m.pre > 1 || m.transfer > 1) return std::nullopt;
  return VoteRequest{m.pre == 1 ? Ballot::kPreVote : Ballot::kVote, m.transfer == 1, LogIndex{m.last_index},
                     Term{m.last_term}};
}

std::optional<VoteReply> get_vote_reply(ByteReader& reader) {
  const auto m = reader.get<wire::RaftVoteReply>();
  if (m.pre > 1 || m.granted > 1) return std::nullopt;
  return VoteReply{m.pre == 1 ? Ballot::kPreVote : Ballot::kVote, m.granted == 1, Term{m.for_term}};
}

std::optional<Entry> get_entry(ByteReader& reader) {
  const auto head = reader.get<wire::RaftEntry>();
  if (head.kind > static_cast<std::uint32_t>(EntryKind::kNoOp) || head.bytes > wire::kMaxRaftEntryBytes)
    return std::nullopt;
  Entry entry{Term{head.term}, static_cast<EntryKind>(head.kind), nullptr};
  const auto bytes = reader.get_bytes(head.bytes);
  if (!reader.ok()) return std::nullopt;
  if (entry.kind == EntryKind::kConfiguration && !Configuration::decode(bytes)) return std::nullopt;
  if (!bytes.empty()) entry.data = std::make_shared<const Bytes>(bytes.begin(), bytes.end());
  return entry;
}

std::optional<Append> get_append(ByteReader& reader) {
  const auto head = reader.get<wire::RaftAppend>();
  Append m{LogIndex{head.prev}, Term{head.prev_term}, LogIndex{head.commit}, head.round, head.number, {}};
  // The last index must be a number too.
  if (head.reserved != 0 || head.prev > ~std::uint64_t{0} - head.count) return std::nullopt;
  Term before = m.prev_term;
  for (std::uint32_t i = 0; i < head.count; ++i) {
    auto entry = get_entry(reader);
    if (!entry || entry->term < before) return std::nullopt;
    before = entry->term;
    m.entries.push_back(*std::move(entry));
  }
  return m;
}

std::optional<AppendReply> get_append_reply(ByteReader& reader) {
  const auto m = reader.get<wire::RaftAppendReply>();
  if (m.accepted > 1 || m.reserved != 0) return std::nullopt;
  return AppendReply{m.accepted == 1, LogIndex{m.index}, LogIndex{m.hint}, Term{m.hint_term}, m.round, m.number};
}

std::optional<SnapshotChunk> get_chunk(ByteReader& reader) {
  const auto m = reader.get<wire::RaftSnapshot>();
  const auto bytes = reader.get_bytes(reader.left());
  if (bytes.empty() || m.index == 0 || m.offset > m.total_bytes || bytes.size() > m.total_bytes - m.offset)
    return std::nullopt;
  return SnapshotChunk{LogIndex{m.index}, Term{m.term}, m.total_bytes,
                       m.offset,          m.round,      Bytes(bytes.begin(), bytes.end())};
}

SnapshotReply get_snapshot_reply(ByteReader& reader) {
  const auto m = reader.get<wire::RaftSnapshotReply>();
  return {LogIndex{m.index}, m.received, m.round};
}

constexpr wire::MessageType kTypes[] = {wire::kRaftVote,        wire::kRaftVoteReply, wire::kRaftAppend,
                                        wire::kRaftAppendReply, wire::kRaftSnapshot,  wire::kRaftSnapshotReply,
                                        wire::kRaftTimeoutNow};

template <typename What>
bool take(Message& message, std::optional<What> what) {
  if (!what) return false;
  message.what = *std::move(what);
  return true;
}

bool get(Message& message, wire::MessageType type, ByteReader& reader) {
  if (type == wire::kRaftVote) return take(message, get_vote(reader));
  if (type == wire::kRaftVoteReply) return take(message, get_vote_reply(reader));
  if (type == wire::kRaftAppend) return take(message, get_append(reader));
  if (type == wire::kRaftAppendReply) return take(message, get_append_reply(reader));
  if (type == wire::kRaftSnapshot) return take(message, get_chunk(reader));
  if (type == wire::kRaftSnapshotReply) return take(message, std::optional(get_snapshot_reply(reader)));
  if (type == wire::kRaftTimeoutNow) return take(message, std::optional(TimeoutNow{}));
  return false;
}

}  // namespace

wire::MessageType type_of(const Message& message) { return kTypes[message.what.index()]; }

Bytes encode(const Message& message) {
  Bytes body;
  ByteWriter writer(body);
  writer.put(wire::RaftHead{message.from.value, message.to.value, message.term.value});
  std::visit([&](const auto& what) { put(writer, what); }, message.what);
  return body;
}

std::optional<Message> decode(wire::MessageType type, std::span<const std::byte> body) {
  ByteReader reader(body);
  const auto head = reader.get<wire::RaftHead>();
  Message message{ServerId{head.from}, ServerId{head.to}, Term{head.term}, TimeoutNow{}};
  if (head.from == 0 || head.to == 0 || !get(message, type, reader) || !reader.done()) return std::nullopt;
  return message;
}

}  // namespace gallocy::raft
