#include "runtime/durable_journal.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace gallocy::runtime {
namespace {

constexpr raft::Term kTerm{1};  // of all entries: they are nobody's but this node's

}  // namespace

Result<durable::Kept> DurableJournal::recover(const raft::PersistentState& found) {
  durable::Bytes notes;
  if (found.snapshot.state) notes = *found.snapshot.state;
  bytes_anew_ = notes.size();
  for (const raft::Entry& entry : found.entries) notes.insert(notes.end(), entry.bytes().begin(), entry.bytes().end());
  bytes_ = notes.size() - bytes_anew_;
  last_ = LogIndex{found.snapshot.index.value + found.entries.size()};
  durable::Kept kept;
  GALLOCY_TRY(kept.take(notes));
  return kept;
}

raft::Persist DurableJournal::append(std::span<const durable::Note> notes) {
  durable::Bytes bytes;
  for (const durable::Note& note : notes) durable::encode(note, bytes);
  raft::Persist persist = next();
  append(bytes, persist);
  return persist;
}

// An entry has a limit, so notes are cut in pieces. The pieces of one write are all there or none.
void DurableJournal::append(const durable::Bytes& notes, raft::Persist& persist) {
  for (std::span<const std::byte> rest = notes; !rest.empty();) {
    const auto piece = rest.first(std::min(rest.size(), options_.piece_bytes));
    persist.entries.push_back({.term = kTerm,
                               .kind = raft::EntryKind::kNormal,
                               .data = std::make_shared<const raft::Bytes>(piece.begin(), piece.end())});
    rest = rest.subspan(piece.size());
  }
  last_.value += persist.entries.size();
  bytes_ += notes.size();
}

raft::Persist DurableJournal::anew(const durable::Core& core) {
  durable::Bytes bytes;
  core.note_all([&](const durable::Note& note) { durable::encode(note, bytes); });
  raft::Persist persist = next();
  if (last_ == LogIndex{}) {
    append(bytes, persist);
    return persist;
  }
  bytes_ = 0, bytes_anew_ = bytes.size();
  persist.snapshot = raft::Snapshot{.index = last_,
                                    .term = kTerm,
                                    .configuration = {.voters = {raft::server_id(self_, 1)}, .learners = {}},
                                    .state = std::make_shared<const raft::Bytes>(std::move(bytes))};
  return persist;
}

bool DurableJournal::has_grown() const {
  return bytes_ > std::max(options_.least_bytes, options_.least_times * bytes_anew_);
}

raft::Persist DurableJournal::next() {
  return {.sequence = ++sequence_, .term = kTerm, .first = LogIndex{last_.value + 1}};
}

}  // namespace gallocy::runtime
