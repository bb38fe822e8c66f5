// mremap.
#include <cerrno>

#include "personality/address_space_support.h"

namespace gallocy::personality {

long AddressSpace::remap(std::uint64_t address, std::uint64_t old_bytes, std::uint64_t new_bytes, int flags,
                         std::uint64_t new_address, Changes& changes) {
  const bool fixed = flags & MREMAP_FIXED;
  if (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED)) return -EINVAL;  // MREMAP_DONTUNMAP serves userfaultfd users only
  if (fixed && !(flags & MREMAP_MAYMOVE)) return -EINVAL;
  if (!page_aligned(address) || old_bytes == 0 || new_bytes == 0) return -EINVAL;
  if (!nameable(address, old_bytes)) return -EFAULT;
  if (!nameable(0, new_bytes)) return fixed ? -EINVAL : -ENOMEM;
  old_bytes = page_up(old_bytes);
  new_bytes = page_up(new_bytes);
  const std::uint64_t old_end = address + old_bytes;
  if (fixed) {
    if (!page_aligned(new_address) || !nameable(new_address, new_bytes)) return -EINVAL;
    if (new_address < old_end && address < new_address + new_bytes) return -EINVAL;
  }
  const Area* area = find(address);
  if (area == nullptr) return -EFAULT;

  if (!fixed && new_bytes <= old_bytes) {
    const long shrunk = new_bytes == old_bytes ? 0 : unmap(address + new_bytes, old_bytes - new_bytes, changes);
    return shrunk == 0 ? static_cast<long>(address) : shrunk;
  }
  if (old_end > area->end) return -EFAULT;
  if (fixed && !inside(new_address, new_address + new_bytes)) return -ENOMEM;
  // The old area's two remains, the new area, and the remains of one that it replaces the middle of.
  if (areas_.size() + 3 > kMaxAreas) return -ENOMEM;

  const Area from = cut(*area, address, old_end);
  if (fixed) {
    move(from, new_address, new_bytes, changes);
    return static_cast<long>(new_address);
  }
  const std::uint64_t wanted_end = address + new_bytes;
  if (old_end == area->end && (free_.contains(old_end, wanted_end) || low_free_.contains(old_end, wanted_end))) {
    Area grown = from;
    grown.begin = old_end;
    grown.end = wanted_end;
    if (grown.file != kNoFile) grown.offset += old_bytes;
    add_area(grown, changes);
    if (grown.file != kNoFile) {
      append(changes, {.kind = Change::Kind::kReload,
                       .begin = grown.begin,
                       .end = grown.end,
                       .file = grown.file,
                       .offset = grown.offset});
    }
    return static_cast<long>(address);
  }
  if (!(flags & MREMAP_MAYMOVE)) return -ENOMEM;
  const auto place_found = place(new_bytes, from.file, 0);
  if (!place_found) return -ENOMEM;
  move(from, *place_found, new_bytes, changes);
  return static_cast<long>(*place_found);
}

// Makes `from` an area of new_bytes at `to`, in place of what lies there, and unmaps the old place.
void AddressSpace::move(const Area& from, std::uint64_t to, std::uint64_t new_bytes, Changes& changes) {
  const std::uint64_t kept_bytes = std::min(from.end - from.begin, new_bytes);
  const std::uint64_t kept_end = from.begin + kept_bytes;
  // As Linux: what is cut off goes first, and is written back as by munmap.
  if (kept_end < from.end) remove_areas(kept_end, from.end, Then::kUnmapped, Bytes::kWrittenBack, changes);
  remove_areas(to, to + new_bytes, Then::kReplaced, Bytes::kWrittenBack, changes);

  Area moved = from;
  moved.begin = to;
  moved.end = to + new_bytes;
  add_area(moved, changes);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> used_parts;
  used_.visit(from.begin, kept_end, [&](std::uint64_t begin, std::uint64_t end, bool used) {
    if (used) used_parts.emplace_back(begin, end);
  });
  for (const auto& [begin, end] : used_parts) {
    const std::uint64_t target = to + (begin - from.begin);
    append(changes, {.kind = Change::Kind::kMove, .begin = begin, .end = end, .to = target});
    used_.assign(target, target + (end - begin), true);
  }
  if (from.file != kNoFile && new_bytes > kept_bytes) {
    append(changes, {.kind = Change::Kind::kReload,
                     .begin = to + kept_bytes,
                     .end = to + new_bytes,
                     .file = from.file,
                     .offset = from.offset + kept_bytes});
  }
  remove_areas(from.begin, kept_end, Then::kUnmapped, Bytes::kMovedAway, changes);
  release_files(changes);
}

}  // namespace gallocy::personality
