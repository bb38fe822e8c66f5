// What a node notes of its blocks, and how it goes on from there when it starts again.
#include <utility>

#include "base/check.h"
#include "durable/core.h"

namespace gallocy::durable {

// Epochs that came after the last note are still to come. Its blocks are taken for unsettled: whoever leads a company
// gives its records to the others in the next epoch. Transactions of its former life have a coordinator that died.
Core::Core(NodeId self, const History& history, std::span<const DurableRegion> regions, const Options& options,
           Kept kept)
    : self_(self), options_(options), history_(history), companies_(kCachedCompanies) {
  CHECK(history.is_member(self) && history.latest() == kept.epoch, self, history.latest(), kept.epoch);
  regions_.assign(regions.begin(), regions.end());
  for (auto& [id, has] : kept.blocks) {
    const DurableRegion* region = region_of(id);
    if (region == nullptr) continue;
    const Company members = history_.company(id, region->backups, region->founded);
    if (!members.has(self)) continue;
    places_.emplace(id, blocks_.size());
    Block& block = blocks_.emplace_back();
    block.id = id;
    block.company = members;
    block.complete = has.complete;
    block.image = std::move(has.image);
    block.records = std::move(has.records);
    block.settled = false;
    for (const Record& record : block.records) {
      if (record.committed) retained_.emplace_back(record.id, id);
    }
  }
}

void Core::note(Note note) {
  if (options_.keep) effects_.notes.push_back(std::move(note));
}

void Core::add_record(Block& block, const TransactionId& id, const Part& part) {
  block.records.push_back({.id = id, .part = part});
  if (!is(Mutant::kNoteNoRecords)) note({.kind = NoteKind::kRecorded, .block = block.id, .id = id, .part = part});
}

bool Core::erase(Block& block, const TransactionId& id) {
  const Record* record = block.find(id);
  if (record == nullptr) return false;
  note_erased(block, *record);
  return block.erase(id);
}

// One that is being dropped is gone already: whoever starts again is in another epoch, in which it would be forgotten.
void Core::note_erased(const Block& block, const Record& record) {
  if (!record.dropping && !is(Mutant::kNoteNoErasure))
    note({.kind = NoteKind::kErased, .block = block.id, .id = record.id, .part = {}});
}

void Core::note_all(const std::function<void(const Note&)>& f) const {
  f({.kind = NoteKind::kEpoch, .epoch = epoch(), .id = {}, .part = {}});
  for (const Block& block : blocks_) {
    const auto say = [&](Note note) {
      note.block = block.id;
      f(note);
    };
    say({.kind = NoteKind::kBegun, .complete = block.complete, .id = {}, .part = {}});
    for (const Record& record : block.records) {
      if (record.dropping) continue;
      say({.kind = NoteKind::kRecorded, .id = record.id, .part = record.part});
      if (record.committed) say({.kind = NoteKind::kApplied, .id = record.id, .part = {}});
    }
    for (std::uint32_t page = block.image.next_page(0); page < kBlockPages; page = block.image.next_page(page + 1))
      say({.kind = NoteKind::kPages, .id = {}, .offset = page, .part = {}, .pages = {block.image.share(page)}});
  }
}

}  // namespace gallocy::durable
