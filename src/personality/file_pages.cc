#include "personality/file_pages.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/ids.h"

namespace gallocy::personality {

FilePages::Parts::const_iterator FilePages::first_ending_after(std::uint64_t address) const {
  const auto after = parts_.upper_bound(address);
  if (after != parts_.begin() && std::prev(after)->second.end > address) return std::prev(after);
  return after;
}

void FilePages::split_at(std::uint64_t address) {
  const auto found = first_ending_after(address);
  if (found == parts_.end() || found->first >= address) return;
  Part right = found->second;
  right.offset += address - found->first;
  parts_[found->first].end = address;
  parts_.emplace(address, right);
}

void FilePages::set_state(std::uint64_t begin, std::uint64_t end, State from, State to) {
  // A part that is being read stays whole.
  for (const std::uint64_t border : {begin, end}) {
    const auto found = first_ending_after(border);
    if (found != parts_.end() && found->second.state == from) split_at(border);
  }
  for (auto it = parts_.lower_bound(begin); it != parts_.end() && it->first < end; ++it) {
    if (it->second.state == from) it->second.state = to;
  }
}

void FilePages::add(const FilePart& part, bool viewable) {
  CHECK(part.begin % kPageBytes == 0 && part.end % kPageBytes == 0 && part.begin < part.end, part.begin, part.end);
  const auto next = first_ending_after(part.begin);
  CHECK(next == parts_.end() || next->first >= part.end, part.begin, part.end, next->first);
  parts_[part.begin] = {
      .end = part.end, .file = part.file, .offset = part.offset, .state = State::kClosed, .viewable = viewable};
}

void FilePages::open(std::uint64_t begin, std::uint64_t end) { set_state(begin, end, State::kClosed, State::kUnread); }

bool FilePages::close(std::uint64_t begin, std::uint64_t end) {
  set_state(begin, end, State::kUnread, State::kClosed);
  return !reading(begin, end);
}

void FilePages::views_ended(std::uint64_t begin, std::uint64_t end) {
  split_at(begin);
  split_at(end);
  for (auto it = parts_.lower_bound(begin); it != parts_.end() && it->first < end; ++it) it->second.viewers.clear();
}

std::vector<NodeId> FilePages::viewers(std::uint64_t begin, std::uint64_t end) const {
  std::vector<NodeId> all;
  for (auto it = first_ending_after(begin); it != parts_.end() && it->first < end; ++it)
    all.insert(all.end(), it->second.viewers.begin(), it->second.viewers.end());
  std::ranges::sort(all);
  const auto repeated = std::ranges::unique(all);
  all.erase(repeated.begin(), repeated.end());
  return all;
}

void FilePages::remove(std::uint64_t begin, std::uint64_t end) {
  CHECK(!reading(begin, end) && viewers(begin, end).empty(), begin, end);
  split_at(begin);
  split_at(end);
  parts_.erase(parts_.lower_bound(begin), parts_.lower_bound(end));
}

FilePages::Answer FilePages::touch(std::uint64_t address, NodeId node, bool view_would_do) {
  const auto found = first_ending_after(address);
  if (found == parts_.end() || found->first > address) {
    const std::uint64_t before = found == parts_.begin() ? 0 : std::prev(found)->second.end;
    const std::uint64_t behind = found == parts_.end() ? ~(kPageBytes - 1) : found->first;
    return {.kind = Answer::Kind::kThere, .part = {.begin = before, .end = behind}};
  }
  if (found->second.state != State::kUnread) return {.kind = Answer::Kind::kWait};
  if (view_would_do && std::ranges::binary_search(found->second.viewers, node)) return {.kind = Answer::Kind::kViewed};
  const std::uint64_t step = std::min<std::uint64_t>(
      kLeastBytes << std::min<std::size_t>(parts_.size() / kManyParts, 16), std::uint64_t{1} << 40);
  const bool goes_on = address / step == found->first / step;  // what lies before it may just have been read
  const std::uint64_t run = goes_on ? std::max(found->second.run, step) : step;
  const std::uint64_t begin = goes_on ? found->first : std::max(found->first, address / step * step);
  const std::uint64_t end = std::min(found->second.end, (begin + run) / step * step);
  split_at(begin);
  split_at(end);
  CHECK(begin <= address && address < end, begin, address, end);
  Part& part = parts_.at(begin);
  part.state = State::kReading;
  part.run = view_would_do && part.viewable ? end - begin : kLeastBytes;
  if (const auto rest = parts_.find(end); rest != parts_.end() && rest->second.state == State::kUnread)
    rest->second.run = std::min(2 * (end - begin), kMostBytes);
  const FilePart task{.begin = begin, .end = end, .file = part.file, .offset = part.offset};
  if (view_would_do && part.viewable) return {.kind = Answer::Kind::kView, .part = task};
  // Who writes to a page that is viewed will write to more of them, which are cheaper read at once.
  if (part.viewable && !part.viewers.empty()) {
    for (auto& [at, other] : parts_) other.viewable = other.viewable && other.file != part.file;
  }
  return {.kind = Answer::Kind::kRead, .part = task, .viewers = part.viewers};
}

FilePages::Part& FilePages::end_task(std::uint64_t begin, std::uint64_t end, std::uint64_t done_end) {
  CHECK(begin <= done_end && done_end <= end, begin, end, done_end);
  const auto found = parts_.find(begin);
  CHECK(found != parts_.end() && found->second.end == end && found->second.state == State::kReading, begin, end);
  found->second.state = State::kUnread;
  return found->second;
}

void FilePages::read(std::uint64_t begin, std::uint64_t end, std::uint64_t read_end) {
  end_task(begin, end, read_end).viewers.clear();
  if (read_end > begin) remove(begin, read_end);
}

void FilePages::viewed(std::uint64_t begin, std::uint64_t end, std::uint64_t view_end, NodeId node) {
  Part& part = end_task(begin, end, view_end);
  if (view_end == begin) return;
  split_at(view_end);
  part.viewers.insert(std::ranges::upper_bound(part.viewers, node), node);
}

bool FilePages::reading(std::uint64_t begin, std::uint64_t end) const {
  for (auto it = first_ending_after(begin); it != parts_.end() && it->first < end; ++it) {
    if (it->second.state == State::kReading) return true;
  }
  return false;
}

bool FilePages::waits(std::uint64_t address) const {
  const auto found = first_ending_after(address);
  return found != parts_.end() && found->first <= address && found->second.state != State::kUnread;
}

void FilePages::visit(std::uint64_t begin, std::uint64_t end,
                      const std::function<void(const FilePart&)>& visitor) const {
  for (auto it = first_ending_after(begin); it != parts_.end() && it->first < end; ++it) {
    const std::uint64_t from = std::max(begin, it->first);
    visitor({.begin = from,
             .end = std::min(end, it->second.end),
             .file = it->second.file,
             .offset = it->second.offset + (from - it->first)});
  }
}

void FilePages::visit_others(std::uint64_t begin, std::uint64_t end,
                             const std::function<void(std::uint64_t, std::uint64_t)>& visitor) const {
  visit(begin, end, [&](const FilePart& part) {
    if (begin < part.begin) visitor(begin, part.begin);
    begin = part.end;
  });
  if (begin < end) visitor(begin, end);
}

void FilePages::check_invariants() const {
  std::uint64_t last = 0;
  for (const auto& [begin, part] : parts_) {
    CHECK(begin >= last && begin < part.end, begin, part.end, last);
    CHECK(begin % kPageBytes == 0 && part.end % kPageBytes == 0 && part.offset % kPageBytes == 0, begin, part.end);
    last = part.end;
  }
}

}  // namespace gallocy::personality
