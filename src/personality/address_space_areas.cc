// The areas as a data structure: splitting, merging, adding and removing them, and the changes that follow from it.
#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "personality/address_space_support.h"

namespace gallocy::personality {

void append(Changes& changes, const Change& change) {
  if (!changes.empty()) {
    Change& last = changes.back();
    const std::uint64_t bytes = last.end - last.begin;
    const bool has_offset = change.kind == Change::Kind::kWriteBack || change.kind == Change::Kind::kReload;
    if (last.kind == change.kind && change.kind != Change::Kind::kFileReleased && last.end == change.begin &&
        last.protection == change.protection && last.file == change.file &&
        (!has_offset || last.offset + bytes == change.offset) &&
        (change.kind != Change::Kind::kMove || last.to + bytes == change.to)) {
      last.end = change.end;
      return;
    }
  }
  changes.push_back(change);
}

bool AddressSpace::inside(std::uint64_t begin, std::uint64_t end) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](const auto& range) { return range.first <= begin && end <= range.second; });
}

AddressSpace::Areas::const_iterator AddressSpace::first_ending_after(std::uint64_t address) const {
  const auto after = areas_.upper_bound(address);
  if (after != areas_.begin() && std::prev(after)->second.end > address) return std::prev(after);
  return after;
}

bool AddressSpace::unmapped(std::uint64_t begin, std::uint64_t end) const {
  const auto area = first_ending_after(begin);
  return area == areas_.end() || area->first >= end;
}

bool AddressSpace::within_one_area(std::uint64_t begin, std::uint64_t end) const {
  const Area* area = find(begin);
  return area != nullptr && end <= area->end;
}

bool AddressSpace::would_split(std::uint64_t address) const {
  const Area* area = find(address);
  return area != nullptr && area->begin < address;
}

const Area* AddressSpace::find(std::uint64_t address) const {
  const auto area = first_ending_after(address);
  return area != areas_.end() && area->first <= address ? &area->second : nullptr;
}

void AddressSpace::visit(std::uint64_t begin, std::uint64_t end,
                         const std::function<void(const Area&)>& visitor) const {
  for (auto it = first_ending_after(begin); it != areas_.end() && it->first < end; ++it) {
    visitor(cut(it->second, begin, end));
  }
}

void AddressSpace::split_at(std::uint64_t address) {
  if (!would_split(address)) return;
  Area& left = std::prev(areas_.upper_bound(address))->second;
  Area right = cut(left, address, left.end);
  left.end = address;
  areas_.emplace(address, std::move(right));
}

// Joins what can be joined at the boundaries from begin to end, both included.
void AddressSpace::merge_around(std::uint64_t begin, std::uint64_t end) {
  auto left = areas_.lower_bound(begin);
  if (left != areas_.begin()) --left;
  while (left != areas_.end()) {
    const auto right = std::next(left);
    if (right == areas_.end() || right->first > end) return;
    if (left->second.end == right->first && continues(left->second, right->second)) {
      left->second.end = right->second.end;
      areas_.erase(right);
    } else {
      left = right;
    }
  }
}

// The place has no area, holds zeroes, and may have any permission.
void AddressSpace::add_area(Area area, Changes& changes) {
  const auto [begin, end] = std::pair(area.begin, area.end);
  if (area.file != kNoFile) file_bytes_[area.file] += end - begin;
  free_.take(begin, end);
  low_free_.take(begin, end);
  set_permission(begin, end, area.protection, changes);
  if (holds_bytes(area)) used_.assign(begin, end, true);
  areas_.emplace(begin, std::move(area));
  merge_around(begin, end);
}

void AddressSpace::remove_areas(std::uint64_t begin, std::uint64_t end, Then then, Bytes bytes, Changes& changes) {
  split_at(begin);
  split_at(end);
  const auto first = areas_.lower_bound(begin);
  const auto last = areas_.lower_bound(end);
  for (auto it = first; it != last; ++it) {
    const Area& area = it->second;
    if (area.file == kNoFile) continue;
    if (bytes == Bytes::kWrittenBack && area.shared && (area.protection & PROT_WRITE)) {
      append(changes, {.kind = Change::Kind::kWriteBack,
                       .begin = area.begin,
                       .end = area.end,
                       .file = area.file,
                       .offset = area.offset});
    }
    std::uint64_t& mapped_bytes = file_bytes_.find(area.file)->second;
    mapped_bytes -= area.end - area.begin;
    if (mapped_bytes == 0) maybe_released_.push_back(area.file);
  }
  for (auto it = first; it != last; ++it) {
    if (then == Then::kUnmapped) set_permission(it->second.begin, it->second.end, PROT_NONE, changes);
    free_.give_back(it->second.begin, it->second.end);
    low_free_.give_back(it->second.begin, it->second.end);
  }
  discard_used(begin, end, changes);
  areas_.erase(first, last);
}

void AddressSpace::set_permission(std::uint64_t begin, std::uint64_t end, int protection, Changes& changes) {
  const int wanted = effective(protection);
  permission_.visit(begin, end, [&](std::uint64_t from, std::uint64_t to, int present) {
    if (present == wanted) return;
    append(changes, {.kind = Change::Kind::kProtect, .begin = from, .end = to, .protection = wanted});
  });
  permission_.assign(begin, end, wanted);
}

void AddressSpace::discard_used(std::uint64_t begin, std::uint64_t end, Changes& changes) {
  used_.visit(begin, end, [&](std::uint64_t from, std::uint64_t to, bool used) {
    if (used) append(changes, {.kind = Change::Kind::kDiscard, .begin = from, .end = to});
  });
  used_.assign(begin, end, false);
}

void AddressSpace::release_files(Changes& changes) {
  for (const int file : maybe_released_) {
    const auto entry = file_bytes_.find(file);
    if (entry == file_bytes_.end() || entry->second != 0) continue;
    file_bytes_.erase(entry);
    append(changes, {.kind = Change::Kind::kFileReleased, .file = file});
  }
  maybe_released_.clear();
}

}  // namespace gallocy::personality
