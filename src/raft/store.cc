#include "raft/store.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace gallocy::raft {
namespace {

using wire::ByteReader;

constexpr const char* kSegmentName = "log-";
constexpr const char* kSnapshotName = "snapshot-";
constexpr const char* kUnfinished = "unfinished";

std::string name_of(const char* prefix, std::uint64_t number) { return fmt::format("{}{:016x}", prefix, number); }

std::optional<std::uint64_t> number_of(const std::string& name, std::string_view prefix) {
  if (name.size() != prefix.size() + 16 || !name.starts_with(prefix)) return std::nullopt;
  std::uint64_t number = 0;
  for (const char c : name.substr(prefix.size())) {
    const auto digit = std::string_view("0123456789abcdef").find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    number = number << 4 | digit;
  }
  return number;
}

tl::unexpected<Error> damaged(const std::string& name, std::string_view what) {
  return fail(ErrorCode::kProtocol,
              fmt::format("the log on disk is damaged: {}: {}. This node cannot go on with it", name, what));
}

template <typename Fixed>
std::span<const std::byte> bytes_of(const Fixed& fixed) {
  return std::as_bytes(std::span(&fixed, 1));
}

}  // namespace

// ---------------------------------------------------------------------------------------------- finding it again

Result<Store> Store::open(StoreFiles& files, const StoreOptions& options, PersistentState& found,
                          std::vector<std::string>& said) {
  Store store(files, options);
  GALLOCY_TRY(store.load(found, said));
  return store;
}

// What a process wrote that ended before it had synced is found, and may not be durable: it is made so before anybody
// acts on it.
Result<> Store::load(PersistentState& found, std::vector<std::string>& said) {
  found = {};
  if (!is(StoreMutant::kTrustCache)) GALLOCY_TRY(files_->sync_names());
  GALLOCY_ASSIGN(std::vector<std::string> names, files_->list());
  std::vector<std::uint64_t> numbers;
  for (const std::string& name : names) {
    if (const auto number = number_of(name, kSegmentName)) numbers.push_back(*number);
    if (name == kUnfinished) GALLOCY_TRY(files_->remove(name));
  }
  std::ranges::sort(numbers);
  GALLOCY_TRY(load_snapshot(names, found));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (i > 0 && numbers[i] != numbers[i - 1] + 1)
      return damaged(name_of(kSegmentName, numbers[i - 1] + 1), "this segment is missing");
    GALLOCY_TRY(load_segment(numbers[i], i + 1 == numbers.size(), found, said));
  }
  return join_snapshot_and_entries(found);
}

// The newest one. An older one may be left where a crash came before its removal.
Result<> Store::load_snapshot(std::vector<std::string>& names, PersistentState& found) {
  std::uint64_t newest = 0;
  for (const std::string& name : names) newest = std::max(newest, number_of(name, kSnapshotName).value_or(0));
  if (newest == 0) return {};
  const std::string name = name_of(kSnapshotName, newest);
  GALLOCY_ASSIGN(const Bytes bytes, files_->read(name));
  // It got its name when it was durable.
  auto snapshot = decode_snapshot(bytes);
  if (!snapshot || snapshot->index != LogIndex{newest}) return damaged(name, "its checksum is wrong");
  found.snapshot = *std::move(snapshot);
  snapshot_index_ = found.snapshot.index;
  for (const std::string& other : names) {
    const auto number = number_of(other, kSnapshotName);
    if (number && *number != newest) GALLOCY_TRY(files_->remove(other));
  }
  return {};
}

Result<> Store::load_segment(std::uint64_t number, bool last, PersistentState& found, std::vector<std::string>& said) {
  const std::string name = name_of(kSegmentName, number);
  GALLOCY_ASSIGN(const Bytes bytes, files_->read(name));
  const SegmentRecords got = read_records(bytes, mutant());
  const bool torn = got.good_bytes < bytes.size() || got.records.empty();
  const auto rest = std::span(bytes).subspan(got.good_bytes);
  const auto before = got.records.empty() ? last_good_ : std::optional(got.records.back());
  if (torn && (!last || was_durable(rest, before)))
    return damaged(name, fmt::format("a record at byte {} is wrong, and later ones are there", got.good_bytes));
  for (const StoreRecord& record : got.records) {
    const bool follows = !last_good_        ? number == 1 || segments_.empty()
                         : last_good_->last ? record.batch == last_good_->batch + 1
                                            : record.batch == last_good_->batch;
    const bool head = &record == &got.records.front();
    if (!follows || head != (record.kind == RecordKind::kSegment)) return damaged(name, "records are missing");
    GALLOCY_TRY(take(record, number, found));
    last_good_ = record;
    last_good_->body = {};
    batch_ = record.batch;
  }
  if (!torn) {
    segments_.back().bytes = bytes.size();
    // Those before were synced before the next was begun.
    return last && !is(StoreMutant::kTrustCache) ? files_->sync(name) : Result<>();
  }
  said.push_back(fmt::format("{}: the end of the last write, {} bytes, was cut off: nobody was told that it is there",
                             name, bytes.size() - got.good_bytes));
  if (got.records.empty()) {
    GALLOCY_TRY(files_->remove(name));
    return files_->sync_names();
  }
  segments_.back().bytes = is(StoreMutant::kKeepTear) ? bytes.size() : got.good_bytes;
  if (is(StoreMutant::kKeepTear)) return {};
  GALLOCY_TRY(files_->truncate(name, got.good_bytes));
  return files_->sync(name);
}

Result<> Store::take(const StoreRecord& record, std::uint64_t number, PersistentState& found) {
  ByteReader reader(record.body);
  const auto name = name_of(kSegmentName, number);
  // Segments before this one may be gone, because the snapshot stands for what they had. Then this one may speak of
  // entries up to its base.
  const auto cut = [&](LogIndex first) {
    if (first.value > base_.value + terms_.size() + 1 || (first <= base_ && base_ > snapshot_index_)) return false;
    terms_.resize(std::max(first.value, base_.value + 1) - base_.value - 1);
    found.entries.resize(terms_.size());
    return true;
  };
  switch (record.kind) {
    case RecordKind::kSegment: {
      const auto head = reader.get<SegmentHead>();
      const LogIndex base{head.base};
      const bool follows = !segments_.empty() && base >= base_ && base.value <= base_.value + terms_.size() &&
                           term_at(base) == Term{head.base_term};
      // Anything else begins the log anew, which only a snapshot does.
      if (!follows && !segments_.empty() && base > snapshot_index_)
        return damaged(name, "it does not follow the segment before");
      if (!follows) {
        base_ = base;
        base_term_ = Term{head.base_term};
        terms_.clear();
        found.entries.clear();
      }
      segments_.push_back({number, base});
      hard_ = {head.term, head.vote};
      break;
    }
    case RecordKind::kHardState:
      hard_ = reader.get<HardState>();
      break;
    case RecordKind::kTruncate:
      if (!cut(LogIndex{reader.get<std::uint64_t>()})) return damaged(name, "a truncation beyond the end");
      break;
    case RecordKind::kEntry: {
      const auto head = reader.get<EntryHead>();
      const auto data = reader.get_bytes(reader.left());
      if (!cut(LogIndex{head.index}) || head.kind > static_cast<std::uint64_t>(EntryKind::kNoOp))
        return damaged(name, "an entry out of its place");
      if (LogIndex{head.index} <= base_) {
        if (LogIndex{head.index} == base_) base_term_ = Term{head.term};
        break;
      }
      terms_.push_back(Term{head.term});
      found.entries.push_back({Term{head.term}, static_cast<EntryKind>(head.kind),
                               data.empty() ? nullptr : std::make_shared<const Bytes>(data.begin(), data.end())});
    }
  }
  if (!reader.done()) return damaged(name, "a record of a wrong length");
  found.term = Term{hard_.term};
  found.vote = ServerId{hard_.vote};
  return {};
}

// What the snapshot stands for is dropped. Entries after it count only if the log leads up to it: a snapshot of another
// leader's replaces all that was there (§5.1), and a crash may have come before the log was begun anew.
Result<> Store::join_snapshot_and_entries(PersistentState& found) {
  const LogIndex index = found.snapshot.index;
  if (index < base_) return damaged(name_of(kSnapshotName, base_.value), "this snapshot is missing");
  const bool leads = index.value <= base_.value + terms_.size() && term_at(index) == found.snapshot.term;
  const std::uint64_t gone = leads || index == LogIndex{} ? index.value - base_.value : terms_.size();
  found.entries.erase(found.entries.begin(), found.entries.begin() + static_cast<std::ptrdiff_t>(gone));
  terms_.erase(terms_.begin(), terms_.begin() + static_cast<std::ptrdiff_t>(gone));
  base_ = index;
  base_term_ = found.snapshot.term;
  // The same crash: the term of the snapshot was to be written after it. In it this server had voted for nobody.
  if (found.term < found.snapshot.term) found.term = found.snapshot.term, found.vote = kNoServer;
  return {};
}

Term Store::term_at(LogIndex index) const {
  return index == base_ ? base_term_ : terms_[index.value - base_.value - 1];
}

// ---------------------------------------------------------------------------------------------- writing

// A write with a snapshot begins a batch, and a segment whose head says where the log begins then.
Result<> Store::write(std::span<const Persist> writes) {
  while (!writes.empty() && !failed_) {
    std::size_t count = 1;
    while (count < writes.size() && !writes[count].snapshot) ++count;
    if (auto written = write_batch(writes.first(count)); !written) {
      // It can be tried again when there is room; a disk that fails otherwise may have lost what it said it had.
      if (written.error().code != ErrorCode::kNoSpace) failed_ = written.error();
      return written;
    }
    writes = writes.subspan(count);
  }
  return failed_ ? Result<>(tl::unexpected(*failed_)) : Result<>();
}

Result<> Store::write_batch(std::span<const Persist> writes) {
  undo_ = {.base = base_, .base_term = base_term_, .hard = hard_, .terms = terms_.size()};
  const auto& snapshot = writes.front().snapshot;
  const bool newer = snapshot && snapshot->index > snapshot_index_;
  const auto done = [&]() -> Result<> {
    if (newer) GALLOCY_TRY(write_snapshot(*snapshot));
    if (newer) begin_at(*snapshot);
    if (newer || segments_.empty() || segments_.back().bytes >= options_.segment_bytes) GALLOCY_TRY(begin_segment());
    Bytes out;
    std::size_t last_record = 0;
    for (const Persist& persist : writes) put(out, last_record, persist);
    end_batch(out, last_record);
    return append(out);
  }();
  if (!done) {
    undo();
    return done;
  }
  ++batch_;
  return newer ? forget_before(snapshot->index) : Result<>();
}

void Store::undo() {
  base_ = undo_.base, base_term_ = undo_.base_term, hard_ = undo_.hard;
  if (undo_.cut) terms_ = *std::move(undo_.cut);
  terms_.resize(undo_.terms);
}

void Store::before_cut() {
  if (!undo_.cut) undo_.cut = terms_;
}

// A snapshot that the log does not lead up to begins it anew.
void Store::begin_at(const Snapshot& snapshot) {
  const bool leads = snapshot.index.value <= base_.value + terms_.size() && term_at(snapshot.index) == snapshot.term;
  if (leads) return;
  before_cut();
  terms_.clear();
  base_ = snapshot.index;
  base_term_ = snapshot.term;
}

void Store::put(Bytes& out, std::size_t& last_record, const Persist& persist) {
  const auto record = [&](RecordKind kind, std::span<const std::byte> body) {
    last_record = out.size();
    put_record(out, batch_ + 1, kind, body);
  };
  hard_ = {persist.term.value, persist.vote.value};
  record(RecordKind::kHardState, bytes_of(hard_));
  // Entries that the snapshot stands for need not be written.
  std::uint64_t first = persist.first.value;
  std::span<const Entry> entries(persist.entries);
  if (first <= base_.value) {
    entries = entries.subspan(std::min<std::size_t>(base_.value + 1 - first, entries.size()));
    first = base_.value + 1;
  }
  if (first <= base_.value + terms_.size()) {
    record(RecordKind::kTruncate, bytes_of(first));
    before_cut();
    terms_.resize(first - base_.value - 1);
  }
  CHECK(entries.empty() || first == base_.value + terms_.size() + 1, first, base_, terms_.size());
  for (const Entry& entry : entries) {
    const EntryHead head{first++, entry.term.value, static_cast<std::uint64_t>(entry.kind)};
    Bytes body(bytes_of(head).begin(), bytes_of(head).end());
    body.insert(body.end(), entry.bytes().begin(), entry.bytes().end());
    record(RecordKind::kEntry, body);
    terms_.push_back(entry.term);
  }
}

Result<> Store::append(const Bytes& bytes) {
  Segment& segment = segments_.back();
  const std::string name = name_of(kSegmentName, segment.number);
  if (auto appended = files_->append(name, bytes); !appended) {
    // Half of it may be there; the next write must not come after that.
    const auto cut = segment.bytes == 0 ? files_->remove(name) : files_->truncate(name, segment.bytes);
    if (!cut) failed_ = cut.error();
    return appended;
  }
  if (!is(StoreMutant::kNoSync)) GALLOCY_TRY(files_->sync(name));
  segment.bytes += bytes.size();
  return {};
}

// A batch of its own, so that a segment without its head is always one whose name alone was written.
Result<> Store::begin_segment() {
  const LogIndex last{base_.value + terms_.size()};
  const SegmentHead head{last.value, term_at(last).value, hard_.term, hard_.vote};
  Bytes out;
  put_record(out, batch_ + 1, RecordKind::kSegment, bytes_of(head));
  end_batch(out, 0);
  segments_.push_back({segments_.empty() ? 1 : segments_.back().number + 1, last});
  if (auto appended = append(out); !appended) {
    segments_.pop_back();
    return appended;
  }
  ++batch_;
  return sync_names();
}

Result<> Store::sync_names() { return is(StoreMutant::kNoNameSync) ? Result<>() : files_->sync_names(); }

Result<> Store::write_snapshot(const Snapshot& snapshot) {
  if (auto written = files_->append(kUnfinished, encode_snapshot(snapshot)); !written) {
    (void)files_->remove(kUnfinished);
    return written;
  }
  if (is(StoreMutant::kForgetEarly)) GALLOCY_TRY(files_->remove(name_of(kSnapshotName, snapshot_index_.value)));
  if (!is(StoreMutant::kEarlyName)) GALLOCY_TRY(files_->sync(kUnfinished));
  GALLOCY_TRY(files_->rename(kUnfinished, name_of(kSnapshotName, snapshot.index.value)));
  return sync_names();
}

// Segments all of whose entries the snapshot stands for, and the snapshot before.
Result<> Store::forget_before(LogIndex index) {
  if (snapshot_index_ != LogIndex{}) GALLOCY_TRY(files_->remove(name_of(kSnapshotName, snapshot_index_.value)));
  snapshot_index_ = index;
  while (segments_.size() > 1 && segments_[1].base <= index) {
    GALLOCY_TRY(files_->remove(name_of(kSegmentName, segments_.front().number)));
    // In order: a later one must not be gone while an earlier one is still there.
    if (!is(StoreMutant::kForgetMany)) GALLOCY_TRY(files_->sync_names());
    segments_.erase(segments_.begin());
  }
  if (index > base_) {
    const std::uint64_t gone = std::min<std::uint64_t>(index.value - base_.value, terms_.size());
    base_term_ = term_at(LogIndex{base_.value + gone});
    terms_.erase(terms_.begin(), terms_.begin() + static_cast<std::ptrdiff_t>(gone));
    base_ = LogIndex{base_.value + gone};
  }
  return {};
}

}  // namespace gallocy::raft
