#include "raft/store_format.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

#include "base/crc32c.h"
#include "wire/raft.h"

namespace gallocy::raft {
namespace {

using wire::ByteReader;
using wire::ByteWriter;

constexpr std::size_t kLengthAndCrc = 8, kHeadBytes = kLengthAndCrc + 10, kLastAt = 17;
constexpr std::size_t kMaxBody = sizeof(EntryHead) + wire::kMaxRaftEntryBytes;

void put_crc(std::byte* record, std::size_t bytes) {
  const std::uint32_t crc = crc32c({record + kLengthAndCrc, bytes - kLengthAndCrc});
  std::memcpy(record + 4, &crc, sizeof crc);
}

bool is(StoreMutant mutant, StoreMutant bug) { return kHasMutants && mutant == bug; }

std::optional<StoreRecord> read_record(std::span<const std::byte> bytes, StoreMutant mutant = StoreMutant::kNone) {
  ByteReader reader(bytes);
  const auto length = reader.get<std::uint32_t>(), crc = reader.get<std::uint32_t>();
  if (!reader.ok() || length > kMaxBody || bytes.size() < kHeadBytes + length) return std::nullopt;
  StoreRecord record{.batch = reader.get<std::uint64_t>(), .kind = reader.get<RecordKind>(), .body = {}};
  const auto last = reader.get<std::uint8_t>();
  if (record.kind < RecordKind::kSegment || record.kind > RecordKind::kTruncate || last > 1) return std::nullopt;
  if (!is(mutant, StoreMutant::kNoChecksum) &&
      crc32c(bytes.subspan(kLengthAndCrc, kHeadBytes - kLengthAndCrc + length)) != crc)
    return std::nullopt;
  record.last = last != 0;
  record.body = reader.get_bytes(length);
  return record;
}

}  // namespace

void put_record(Bytes& out, std::uint64_t batch, RecordKind kind, std::span<const std::byte> body) {
  const std::size_t at = out.size();
  ByteWriter writer(out);
  writer.put(static_cast<std::uint32_t>(body.size())), writer.put(std::uint32_t{0});
  writer.put(batch), writer.put(kind), writer.put(std::uint8_t{0});
  writer.put_bytes(body);
  put_crc(out.data() + at, out.size() - at);
}

void end_batch(Bytes& out, std::size_t at) {
  out[at + kLastAt] = std::byte{1};
  put_crc(out.data() + at, out.size() - at);
}

SegmentRecords read_records(std::span<const std::byte> segment, StoreMutant mutant) {
  SegmentRecords result;
  std::size_t at = 0, whole = 0;
  std::pair<std::size_t, std::size_t> before{};  // kStopEarly: the same two without the last batch
  while (at < segment.size()) {
    const auto record = read_record(segment.subspan(at), mutant);
    if (!record && is(mutant, StoreMutant::kPastTear)) {
      ++at;
      continue;
    }
    if (!record) break;
    result.records.push_back(*record);
    at += kHeadBytes + record->body.size();
    if (!record->last && !is(mutant, StoreMutant::kHalfBatch)) continue;
    before = {result.good_bytes, whole};
    result.good_bytes = at, whole = result.records.size();
  }
  if (is(mutant, StoreMutant::kStopEarly) && at < segment.size()) std::tie(result.good_bytes, whole) = before;
  result.records.resize(whole);
  return result;
}

bool was_durable(std::span<const std::byte> after, const std::optional<StoreRecord>& before) {
  const std::uint64_t damaged = !before ? 1 : before->last ? before->batch + 1 : before->batch;
  for (std::size_t at = 1; at + kHeadBytes <= after.size(); ++at) {
    const auto record = read_record(after.subspan(at));
    if (record && record->batch > damaged) return true;
  }
  return false;
}

Bytes encode_snapshot(const Snapshot& snapshot) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.put(std::uint32_t{0}), writer.put(snapshot.index.value), writer.put(snapshot.term.value);
  writer.put_bytes(snapshot.configuration.encode());
  writer.put_bytes(*snapshot.state);
  const std::uint32_t crc = crc32c(std::span(bytes).subspan(sizeof crc));
  std::memcpy(bytes.data(), &crc, sizeof crc);
  return bytes;
}

std::optional<Snapshot> decode_snapshot(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const auto crc = reader.get<std::uint32_t>();
  if (!reader.ok() || crc32c(bytes.subspan(sizeof crc)) != crc) return std::nullopt;
  Snapshot snapshot;
  snapshot.index = LogIndex{reader.get<std::uint64_t>()};
  snapshot.term = Term{reader.get<std::uint64_t>()};
  auto configuration = Configuration::decode(reader);
  if (!configuration || !reader.ok() || snapshot.index == LogIndex{}) return std::nullopt;
  snapshot.configuration = *std::move(configuration);
  const auto state = reader.get_bytes(reader.left());
  snapshot.state = std::make_shared<const Bytes>(state.begin(), state.end());
  return snapshot;
}

}  // namespace gallocy::raft
