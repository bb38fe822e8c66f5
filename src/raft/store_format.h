// The form of a log on disk: records, one after the other, in segments.
//
//   length u32 | crc32c u32 of all that follows | batch u64 | kind u8 | last u8 | body (length bytes)
//
// A batch is what is made durable at once; its last record says so. The next one is begun only when it is durable.
// Therefore a damaged record is either the torn end of a write that nobody was promised, which is cut off, or a damage
// of what was durable, which must not be passed over in silence: it is the latter if a record of a batch after the
// damaged one's follows.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "raft/mutant.h"
#include "raft/types.h"

namespace gallocy::raft {

enum class RecordKind : std::uint8_t {
  kSegment = 1,  // SegmentHead: the first of each segment
  kHardState,    // HardState
  kEntry,        // EntryHead and its data; whatever had this index, or a higher one, is gone
  kTruncate,     // LogIndex: entries from this one on are gone
};

// Where a segment begins: the state so far, but for the entries.
struct SegmentHead {
  std::uint64_t base = 0;  // index and term of the entry before its first one
  std::uint64_t base_term = 0;
  std::uint64_t term = 0;
  std::uint64_t vote = 0;
};
static_assert(sizeof(SegmentHead) == 32);

struct HardState {
  std::uint64_t term = 0;
  std::uint64_t vote = 0;
};
static_assert(sizeof(HardState) == 16);

struct EntryHead {
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  std::uint64_t kind = 0;  // EntryKind
};
static_assert(sizeof(EntryHead) == 24);

struct StoreRecord {
  std::uint64_t batch = 0;
  RecordKind kind{};
  bool last = false;
  std::span<const std::byte> body;  // of the bytes that were read
};

void put_record(Bytes& out, std::uint64_t batch, RecordKind kind, std::span<const std::byte> body);
// The record that was put last, at `at`, ends its batch.
void end_batch(Bytes& out, std::size_t at);

// The records of a segment's whole batches, up to the first that is damaged or cut short.
struct SegmentRecords {
  std::vector<StoreRecord> records;
  std::size_t good_bytes = 0;
};
SegmentRecords read_records(std::span<const std::byte> segment, StoreMutant mutant = StoreMutant::kNone);

// Whether, somewhere after the damage at good_bytes, there is a record that was written only when the damaged one was
// durable. `before`: the last good record, of this segment or the one before; none: the log begins with the damage.
bool was_durable(std::span<const std::byte> after, const std::optional<StoreRecord>& before);

// A snapshot in a file of its own: crc32c u32 of all that follows | index u64 | term u64 | configuration | state.
Bytes encode_snapshot(const Snapshot& snapshot);
std::optional<Snapshot> decode_snapshot(std::span<const std::byte> bytes);

}  // namespace gallocy::raft
