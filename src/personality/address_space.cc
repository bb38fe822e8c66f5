#include "personality/address_space.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <limits>

#include "base/check.h"
#include "base/ids.h"
#include "personality/address_space_support.h"

namespace gallocy::personality {
namespace {

constexpr std::uint64_t kHugeBytes = 2 << 20;
// From this size on an anonymous area gets blocks of its own: less would waste most of a block.
constexpr std::uint64_t kOwnBlocksBytes = 64 << 10;
constexpr std::uint64_t kEndOf32Bit = 1ull << 31;  // what MAP_32BIT means

std::uint64_t alignment_for(std::uint64_t bytes, int file) {
  if (bytes >= kHugeBytes) return kHugeBytes;
  return file == kNoFile && bytes >= kOwnBlocksBytes ? kBlockBytes : kPageBytes;
}

}  // namespace

AddressSpace::AddressSpace(const SpaceBounds& bounds)
    : bounds_(bounds), brk_(bounds.brk_begin), permission_(PROT_READ | PROT_WRITE), used_(false) {
  CHECK(page_aligned(bounds.begin) && page_aligned(bounds.end), bounds.begin, bounds.end);
  CHECK(page_aligned(bounds.brk_begin) && page_aligned(bounds.brk_end), bounds.brk_begin, bounds.brk_end);
  CHECK(0 < bounds.begin && bounds.begin <= bounds.brk_begin && bounds.brk_begin <= bounds.brk_end, bounds.begin,
        bounds.brk_begin, bounds.brk_end);
  CHECK(bounds.brk_end <= bounds.end && bounds.end <= kAddressEnd, bounds.brk_end, bounds.end);
  ranges_.emplace_back(bounds.begin, bounds.end);
  free_.add_window(bounds.begin, bounds.brk_begin);
  free_.add_window(bounds.brk_end, bounds.end);
}

void AddressSpace::add_range(std::uint64_t begin, std::uint64_t end) {
  CHECK(page_aligned(begin) && page_aligned(end) && begin < end && end <= kAddressEnd, begin, end);
  for (const auto& [from, to] : ranges_) CHECK(end <= from || to <= begin, begin, end, from, to);
  ranges_.emplace_back(begin, end);
  low_free_.add_window(begin, end);
}

std::optional<std::uint64_t> AddressSpace::place(std::uint64_t bytes, int file, int flags) const {
  std::optional<std::uint64_t> found;
  if (flags & MAP_32BIT) found = low_free_.find(bytes, kPageBytes, kEndOf32Bit);
  if (!found) found = free_.find(bytes, alignment_for(bytes, file), kAddressEnd);
  if (!found) found = free_.find(bytes, kPageBytes, kAddressEnd);
  return found;
}

// The place for a valid request of `bytes` whole pages, or -EINVAL, -ENOMEM, -EEXIST.
long AddressSpace::choose(const MapRequest& request, std::uint64_t bytes) const {
  const std::uint64_t address = request.address;
  if (request.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
    const bool may_replace = !(request.flags & MAP_FIXED_NOREPLACE);
    if (!page_aligned(address)) return -EINVAL;
    // What lies outside the space belongs to the runtime.
    if (!nameable(address, bytes) || !inside(address, address + bytes)) return may_replace ? -ENOMEM : -EEXIST;
    if (!may_replace && !unmapped(address, address + bytes)) return -EEXIST;
    return static_cast<long>(address);
  }
  const std::uint64_t hint = address & ~(kPageBytes - 1);
  if (hint != 0 && nameable(hint, bytes) && free_.contains(hint, hint + bytes)) return static_cast<long>(hint);
  const auto found = place(bytes, request.flags & MAP_ANONYMOUS ? kNoFile : request.file, request.flags);
  return found ? static_cast<long>(*found) : -ENOMEM;
}

long AddressSpace::map(const MapRequest& request, Changes& changes) {
  const bool anonymous = request.flags & MAP_ANONYMOUS;
  const int type = request.flags & MAP_TYPE;
  if (request.bytes == 0) return -EINVAL;
  if (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE) return -EINVAL;
  if (!anonymous && !page_aligned(request.offset)) return -EINVAL;
  if (!anonymous && request.file < 0) return -EBADF;
  if (!nameable(0, request.bytes)) return -ENOMEM;
  const std::uint64_t bytes = page_up(request.bytes);
  if (!anonymous && request.offset > std::numeric_limits<std::int64_t>::max() - bytes) return -EOVERFLOW;
  const long chosen = choose(request, bytes);
  if (chosen < 0) return chosen;
  const auto begin = static_cast<std::uint64_t>(chosen);
  const std::uint64_t end = begin + bytes;
  if (areas_.size() + 1 + (within_one_area(begin, end) ? 1 : 0) > kMaxAreas) return -ENOMEM;

  remove_areas(begin, end, Then::kReplaced, Bytes::kWrittenBack, changes);
  add_area({.begin = begin,
            .end = end,
            .protection = request.protection & (PROT_READ | PROT_WRITE | PROT_EXEC),
            .shared = type != MAP_PRIVATE,
            .file = anonymous ? kNoFile : request.file,
            .offset = anonymous ? 0 : request.offset,
            .name = request.name},
           changes);
  release_files(changes);
  return chosen;
}

long AddressSpace::unmap(std::uint64_t address, std::uint64_t bytes, Changes& changes) {
  if (!page_aligned(address) || bytes == 0 || !nameable(address, bytes)) return -EINVAL;
  const std::uint64_t end = address + page_up(bytes);
  if (areas_.size() >= kMaxAreas && within_one_area(address, end) && would_split(address) && would_split(end)) {
    return -ENOMEM;
  }
  remove_areas(address, end, Then::kUnmapped, Bytes::kWrittenBack, changes);
  release_files(changes);
  return 0;
}

long AddressSpace::protect(std::uint64_t address, std::uint64_t bytes, int protection, Changes& changes) {
  if (!page_aligned(address)) return -EINVAL;
  if (bytes == 0) return 0;
  if (!nameable(address, bytes)) return -ENOMEM;
  const std::uint64_t wanted_end = address + page_up(bytes);
  std::uint64_t end = address;  // of what is mapped without a hole
  for (auto it = first_ending_after(address); it != areas_.end() && it->first <= end && end < wanted_end; ++it) {
    end = std::min(it->second.end, wanted_end);
  }
  if (end == address) return -ENOMEM;
  if (areas_.size() + would_split(address) + would_split(end) > kMaxAreas) return -ENOMEM;

  split_at(address);
  split_at(end);
  const int masked = protection & (PROT_READ | PROT_WRITE | PROT_EXEC);
  for (auto it = areas_.find(address); it != areas_.end() && it->first < end; ++it) {
    Area& area = it->second;
    if (area.shared && area.file != kNoFile && (area.protection & PROT_WRITE) && !(masked & PROT_WRITE)) {
      append(changes, {.kind = Change::Kind::kWriteBack,
                       .begin = area.begin,
                       .end = area.end,
                       .file = area.file,
                       .offset = area.offset});
    }
    area.protection = masked;
    if (holds_bytes(area)) used_.assign(area.begin, area.end, true);
  }
  set_permission(address, end, masked, changes);
  merge_around(address, end);
  return end == wanted_end ? 0 : -ENOMEM;
}

long AddressSpace::set_brk(std::uint64_t address, Changes& changes) {
  const auto present = [this] { return static_cast<long>(brk_); };
  if (address < bounds_.brk_begin || address > bounds_.brk_end) return present();
  const std::uint64_t old_top = page_up(brk_);
  const std::uint64_t new_top = page_up(address);
  if (new_top > old_top) {
    if (!unmapped(old_top, new_top) || areas_.size() >= kMaxAreas) return present();
    add_area({.begin = old_top, .end = new_top, .protection = PROT_READ | PROT_WRITE, .name = "[heap]"}, changes);
  } else if (new_top < old_top && unmap(new_top, old_top - new_top, changes) != 0) {
    return present();
  }
  brk_ = address;
  return present();
}

long AddressSpace::discard(std::uint64_t address, std::uint64_t bytes, Changes& changes) {
  if (!page_aligned(address)) return -EINVAL;
  if (bytes == 0) return 0;
  if (!nameable(address, bytes)) return -EINVAL;
  const std::uint64_t end = address + page_up(bytes);
  std::uint64_t mapped_bytes = 0;
  visit(address, end, [&](const Area& part) {
    mapped_bytes += part.end - part.begin;
    if (part.shared) return;
    if (part.file != kNoFile) {
      append(changes, {.kind = Change::Kind::kReload,
                       .begin = part.begin,
                       .end = part.end,
                       .file = part.file,
                       .offset = part.offset});
      return;
    }
    discard_used(part.begin, part.end, changes);
    if (holds_bytes(part)) used_.assign(part.begin, part.end, true);
  });
  return mapped_bytes == end - address ? 0 : -ENOMEM;
}

}  // namespace gallocy::personality
