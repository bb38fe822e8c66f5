#include "vmm/keeper_replication.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "vmm/replication_body.h"

namespace gallocy::vmm {
namespace {

using wire::ByteReader;
using wire::ByteWriter;

// Far above what kMaxRegions and kMaxNames allow, home runs of a large window included.
constexpr std::uint64_t kMaxSnapshotBytes = std::uint64_t{1} << 30;

}  // namespace

KeeperReplication::KeeperReplication(const KeeperOptions& options, ReplicatedState& state)
    : options_(options), state_(state) {}

void KeeperReplication::start(std::uint64_t now, Effects& effects) {
  if (!orders()) subscribe(now, effects);
}

void KeeperReplication::submit(Bytes record, std::uint64_t, Effects& effects) {
  if (orders()) {
    const auto appended = append(std::move(record), effects);
    CHECK(appended.has_value(), appended.error().message);
  } else if (!keeper_down_) {
    effects.sends.push_back({{options_.keeper}, wire::kVmmPropose, body_of(wire::VmmPropose{}, record)});
  }
}

Result<> KeeperReplication::message(NodeId from, wire::MessageType type, std::span<const std::byte> body,
                                    std::uint64_t now, Effects& effects) {
  const bool for_keeper = type == wire::kVmmSubscribe || type == wire::kVmmPropose;
  if (for_keeper != orders()) return garbled("a message for the keeper and none else, or the reverse");
  if (!orders() && from != options_.keeper) return garbled("an order from a node that is not the keeper");
  if (type == wire::kVmmSubscribe) return subscribed(from, ByteReader(body), effects);
  if (type == wire::kVmmPropose) return proposed(from, ByteReader(body), effects);
  if (type == wire::kVmmAppend) return appended(ByteReader(body), now, effects);
  if (type == wire::kVmmSnapshot) return snapshot_chunk(ByteReader(body), effects);
  return garbled("a message of unknown type");
}

void KeeperReplication::tick(std::uint64_t now, Effects& effects) {
  if (catching_up_ && !keeper_down_ && now >= subscribe_due_) subscribe(now, effects);
}

void KeeperReplication::flush(std::uint64_t, Effects& effects) {
  if (!orders() || unsent_ > last()) return;
  if (!followers_.empty()) send_records(unsent_, {followers_.begin(), followers_.end()}, effects);
  unsent_ = LogIndex{last().value + 1};
  while (tail_.size() > options_.tail_records) {
    tail_.pop_front();
    ++tail_first_.value;
  }
}

void KeeperReplication::peer_down(NodeId peer, std::uint64_t, Effects&) {
  followers_.erase(peer);
  keeper_down_ |= peer == options_.keeper;
  if (keeper_down_) catching_up_ = false;
}

Result<> KeeperReplication::usable() const {
  if (!keeper_down_) return {};
  return fail(ErrorCode::kPeerLost, fmt::format("node {}, which kept the cluster's log, is gone", options_.keeper));
}

Result<> KeeperReplication::append(Bytes record, Effects& effects) {
  GALLOCY_TRY(state_.commit(LogIndex{last().value + 1}, record, effects));
  tail_.push_back(std::move(record));
  return {};
}

Result<> KeeperReplication::proposed(NodeId from, ByteReader reader, Effects& effects) {
  reader.get<wire::VmmPropose>();
  const auto record = reader.get_bytes(reader.left());
  if (!reader.done()) return garbled("a proposal without a record");
  GALLOCY_TRY(state_.acceptable(from, record));
  return append({record.begin(), record.end()}, effects);
}

Result<> KeeperReplication::subscribed(NodeId from, ByteReader reader, Effects& effects) {
  const LogIndex has{reader.get<wire::VmmSubscribe>().applied};
  if (!reader.done() || has > last()) return garbled("a subscription from beyond the end of the log");
  followers_.insert(from);
  if (has.value + 1 < tail_first_.value) {
    send_snapshot(from, effects);
  } else if (has < last()) {
    send_records(LogIndex{has.value + 1}, {from}, effects);
  }
  return {};
}

void KeeperReplication::send_records(LogIndex first, const std::vector<NodeId>& to, Effects& effects) const {
  CHECK(first >= tail_first_, first, tail_first_);
  for (std::uint64_t next = first.value; next <= last().value;) {
    wire::VmmAppend head{.first = next};
    std::size_t bytes = sizeof head;
    const auto record_at = [&](std::uint64_t index) -> const Bytes& { return tail_[index - tail_first_.value]; };
    while (next <= last().value && bytes + 4 + record_at(next).size() <= wire::kMaxBodyBytes) {
      bytes += 4 + record_at(next++).size();
      ++head.count;
    }
    CHECK(head.count > 0, next);
    Bytes body = body_of(head);
    ByteWriter writer(body);
    for (std::uint64_t index = head.first; index < next; ++index) {
      writer.put(static_cast<std::uint32_t>(record_at(index).size()));
      writer.put_bytes(record_at(index));
    }
    effects.sends.push_back({to, wire::kVmmAppend, std::move(body)});
  }
}

// The snapshot holds records that the next flush() sends too; receivers pass over those by their index.
void KeeperReplication::send_snapshot(NodeId to, Effects& effects) const {
  const Bytes snapshot = state_.snapshot();
  wire::VmmSnapshot head{.index = state_.applied().value, .total_bytes = snapshot.size()};
  while (head.offset < snapshot.size()) {
    const auto rest = std::span(snapshot).subspan(head.offset);
    const auto chunk = rest.first(std::min<std::size_t>(rest.size(), wire::kMaxSnapshotChunkBytes));
    effects.sends.push_back({{to}, wire::kVmmSnapshot, body_of(head, chunk)});
    head.offset += chunk.size();
  }
}

void KeeperReplication::subscribe(std::uint64_t now, Effects& effects) {
  catching_up_ = true;
  subscribe_due_ = now + options_.subscribe_us;
  effects.sends.push_back(
      {{options_.keeper}, wire::kVmmSubscribe, body_of(wire::VmmSubscribe{state_.applied().value})});
}

Result<> KeeperReplication::appended(ByteReader reader, std::uint64_t now, Effects& effects) {
  const auto head = reader.get<wire::VmmAppend>();
  for (std::uint64_t i = 0; i < head.count && reader.ok(); ++i) {
    const auto record = reader.get_bytes(reader.get<std::uint32_t>());
    if (!reader.ok()) break;
    const LogIndex index{head.first + i}, next{state_.applied().value + 1};
    if (index < next) continue;
    if (index > next) {
      if (!catching_up_ && !keeper_down_) subscribe(now, effects);
      return {};
    }
    GALLOCY_TRY(state_.commit(index, record, effects));
    catching_up_ = false;
  }
  if (!reader.done() || head.count == 0) return garbled("records cut short");
  return {};
}

Result<> KeeperReplication::snapshot_chunk(ByteReader reader, Effects& effects) {
  const auto head = reader.get<wire::VmmSnapshot>();
  const auto chunk = reader.get_bytes(reader.left());
  if (!reader.ok() || chunk.empty() || head.total_bytes > kMaxSnapshotBytes || head.offset > head.total_bytes ||
      chunk.size() > head.total_bytes - head.offset)
    return garbled("a snapshot with a wrong chunk");
  if (head.offset == 0) {
    chunks_.clear();
    chunks_index_ = LogIndex{head.index};
  }
  // A chunk of another snapshot, or after a lost one: the subscription is repeated in time.
  if (head.offset != chunks_.size() || LogIndex{head.index} != chunks_index_) return {};
  chunks_.insert(chunks_.end(), chunk.begin(), chunk.end());
  if (chunks_.size() < head.total_bytes) return {};
  const Bytes whole = std::exchange(chunks_, {});
  catching_up_ = false;
  if (chunks_index_ <= state_.applied()) return {};
  return state_.restore(chunks_index_, whole, effects);
}

}  // namespace gallocy::vmm
