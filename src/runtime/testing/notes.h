// Notes of one node about one block, for tests of its journal.
#pragma once

#include "durable/journal.h"

namespace gallocy::runtime::testing {

inline constexpr BlockId kBlock{4096};
inline constexpr NodeId kSelf{1};

inline durable::Note epoch(std::uint32_t number) {
  return {.kind = durable::NoteKind::kEpoch, .epoch = Epoch{number}, .id = {}, .part = {}};
}
inline durable::Note begun(bool complete) {
  return {.kind = durable::NoteKind::kBegun, .block = kBlock, .complete = complete, .id = {}, .part = {}};
}
// Two pages of this byte, from the fourth of the block on.
inline durable::Note pages(std::byte with) {
  const durable::Bytes bytes(2 * kPageBytes, with);
  return {.kind = durable::NoteKind::kPages,
          .block = kBlock,
          .id = {},
          .offset = 3,
          .part = {},
          .pages = durable::pages_with(bytes)};
}

}  // namespace gallocy::runtime::testing
