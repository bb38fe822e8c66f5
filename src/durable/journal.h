// Journal: what a member of companies has, as notes that its driver makes durable (Options::keep), and how it is found
// again. A node that starts again goes on from there: see "Starting again" in docs/durable.md.
//
// Every note says how the blocks of this node have changed. From the first note on, or from those of note_all(), they
// give its blocks as they were.
#pragma once

#include <functional>
#include <map>

#include "base/result.h"
#include "durable/block.h"

namespace gallocy::durable {

enum class NoteKind : std::uint8_t {
  kEpoch = 1,  // this node acts in it now
  kBegun,      // it keeps this block from now on; all zero, complete or to be restored
  kRecorded,   // it has this record
  kApplied,    // the record's writes are in the image
  kErased,     // it has the record no more
  kPages,      // these pages of the image are as follows
  kCompleted,  // the image is complete
};

struct Note {
  NoteKind kind = NoteKind::kEpoch;
  Epoch epoch{};
  BlockId block{};
  bool complete = false;  // kBegun
  TransactionId id;
  std::uint32_t offset = 0;  // of the first page
  Part part;
  std::vector<SharedPage> pages{};
};

void encode(const Note& note, Bytes& out);

// What notes tell.
struct Kept {
  struct Has {
    bool complete = false;
    Image image;
    std::vector<Record> records;
  };
  Epoch epoch{};
  std::map<BlockId, Has> blocks;

  // Takes whole notes, one after the other. kProtocol: these bytes are none.
  Result<> take(std::span<const std::byte> notes);

 private:
  Result<> take(const Note& note);
};

}  // namespace gallocy::durable
