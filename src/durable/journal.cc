#include "durable/journal.h"

#include <algorithm>
#include <cstring>

namespace gallocy::durable {
namespace {

struct Head {
  NoteKind kind{};
  std::uint8_t complete = 0;
  std::uint16_t coordinator = 0;
  std::uint32_t epoch = 0;  // of the note, or the life of the coordinator
  std::uint64_t sequence = 0;
  std::uint64_t block = 0;
  std::uint32_t offset = 0;
  std::uint32_t bytes = 0;  // that follow: a part, or pages
};
static_assert(sizeof(Head) == 32);

tl::unexpected<Error> damaged(const char* what) {
  return fail(ErrorCode::kProtocol, fmt::format("the journal of durable memory is damaged: {}", what));
}

}  // namespace

void encode(const Note& note, Bytes& out) {
  const auto part = note.part.empty() ? std::span<const std::byte>() : note.part.bytes();
  const Head head{.kind = note.kind,
                  .complete = note.complete,
                  .coordinator = note.id.coordinator.value,
                  .epoch = note.kind == NoteKind::kEpoch ? note.epoch.value : note.id.life.value,
                  .sequence = note.id.sequence,
                  .block = note.block.value,
                  .offset = note.offset,
                  .bytes = static_cast<std::uint32_t>(part.size() + note.pages.size() * kPageBytes)};
  const auto bytes = std::as_bytes(std::span(&head, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
  out.insert(out.end(), part.begin(), part.end());
  for (const SharedPage& page : note.pages) out.insert(out.end(), page->begin(), page->end());
}

Result<> Kept::take(std::span<const std::byte> notes) {
  while (!notes.empty()) {
    Head head;
    if (notes.size() < sizeof head) return damaged("a note is cut short");
    std::memcpy(&head, notes.data(), sizeof head);
    notes = notes.subspan(sizeof head);
    if (notes.size() < head.bytes) return damaged("a note is cut short");
    const auto tail = notes.first(head.bytes);
    notes = notes.subspan(head.bytes);
    Note note{.kind = head.kind,
              .epoch = Epoch{head.epoch},
              .block = BlockId{head.block},
              .complete = head.complete != 0,
              .id = {NodeId{head.coordinator}, Epoch{head.epoch}, head.sequence},
              .offset = head.offset,
              .part = {}};
    if (head.kind == NoteKind::kRecorded) {
      const auto part = Part::parse(tail);
      if (!part) return damaged("a record without a part");
      note.part = *part;
    } else {
      if (tail.size() % kPageBytes != 0) return damaged("pages of no block");
      note.pages = pages_with(tail);
    }
    GALLOCY_TRY(take(note));
  }
  return {};
}

Result<> Kept::take(const Note& note) {
  if (note.kind == NoteKind::kEpoch) return epoch = note.epoch, Result<>();
  if (note.kind == NoteKind::kBegun) return blocks[note.block] = {note.complete, {}, {}}, Result<>();
  const auto found = blocks.find(note.block);
  if (found == blocks.end()) return damaged("a block that was never begun");
  Has& has = found->second;
  const auto record = std::ranges::find(has.records, note.id, &Record::id);
  switch (note.kind) {
    case NoteKind::kRecorded:
      has.records.push_back({.id = note.id, .part = note.part});
      return {};
    case NoteKind::kApplied:
      if (record == has.records.end()) return damaged("a record that was applied is missing");
      record->committed = true;
      apply(record->part, has.image);
      return {};
    case NoteKind::kErased:
      if (record == has.records.end()) return damaged("a record that was erased is missing");
      has.records.erase(record);
      return {};
    case NoteKind::kPages: {
      if (note.offset + note.pages.size() > kBlockPages) return damaged("pages of no block");
      std::uint32_t at = note.offset;
      for (const SharedPage& page : note.pages) has.image.set_page(at++, page);
      return {};
    }
    case NoteKind::kCompleted:
      has.complete = true;
      return {};
    default:
      return damaged("a note of no kind");
  }
}

}  // namespace gallocy::durable
