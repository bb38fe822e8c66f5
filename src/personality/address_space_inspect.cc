// What can be seen of an address space as a whole: /proc/self/maps, and the check of its invariants.
#include <fmt/format.h>

#include <iterator>

#include "base/check.h"
#include "personality/address_space_support.h"

namespace gallocy::personality {
namespace {

// Where the kernel puts the name (fs/proc/task_mmu.c, show_vma_header_prefix).
constexpr std::size_t kNameColumn = 73;

void add_line(std::string& text, const Area& area) {
  const std::size_t start = text.size();
  const int protection = area.protection;
  fmt::format_to(std::back_inserter(text), "{:08x}-{:08x} {}{}{}{} {:08x} 00:00 {} ", area.begin, area.end,
                 protection & PROT_READ ? 'r' : '-', protection & PROT_WRITE ? 'w' : '-',
                 protection & PROT_EXEC ? 'x' : '-', area.shared ? 's' : 'p', area.offset,
                 static_cast<std::int64_t>(area.file) + 1);
  if (!area.name.empty()) {
    if (text.size() - start < kNameColumn) text.append(kNameColumn - (text.size() - start), ' ');
    for (const char c : area.name) c == '\n' ? text.append("\\012") : text.append(1, c);
  }
  text += '\n';
}

}  // namespace

std::string AddressSpace::maps_text() const {
  std::string text;
  for (const auto& [begin, area] : areas_) add_line(text, area);
  return text;
}

void AddressSpace::check_invariants() const {
  std::map<int, std::uint64_t> file_bytes;
  std::uint64_t mapped_bytes = 0;  // of what the free ranges speak of
  const Area* before = nullptr;
  std::uint64_t free_from = 0;
  const auto check_gap = [this](std::uint64_t from, std::uint64_t to) {
    used_.visit(from, to, [](std::uint64_t begin, std::uint64_t, bool used) { CHECK(!used, begin); });
  };
  for (const auto& [begin, area] : areas_) {
    CHECK(begin == area.begin && area.begin < area.end, begin, area.begin, area.end);
    CHECK(page_aligned(area.begin) && page_aligned(area.end) && inside(area.begin, area.end), area.begin, area.end);
    CHECK(area.begin >= free_from, area.begin, free_from);
    CHECK(before == nullptr || before->end < begin || !continues(*before, area), begin);
    check_gap(free_from, area.begin);
    permission_.visit(area.begin, area.end, [&, wanted = effective(area.protection)](auto from, auto, int present) {
      CHECK(present == wanted, from, present, wanted);
    });
    used_.visit(area.begin, area.end,
                [&, wanted = holds_bytes(area)](auto from, auto, bool used) { CHECK(used || !wanted, from); });
    const std::uint64_t in_brk_begin = std::clamp(area.begin, bounds_.brk_begin, bounds_.brk_end);
    const std::uint64_t in_brk_end = std::clamp(area.end, bounds_.brk_begin, bounds_.brk_end);
    mapped_bytes += area.end - area.begin - (in_brk_end - in_brk_begin);
    CHECK(!free_.contains(area.begin, area.begin + kPageBytes) && !low_free_.contains(area.begin, area.begin + 1),
          begin);
    if (area.file != kNoFile) file_bytes[area.file] += area.end - area.begin;
    before = &area;
    free_from = area.end;
  }
  check_gap(free_from, kAddressEnd);
  std::uint64_t all_bytes = 0;
  for (const auto& [begin, end] : ranges_) all_bytes += end - begin;
  all_bytes -= bounds_.brk_end - bounds_.brk_begin;
  const std::uint64_t free_bytes = free_.free_bytes() + low_free_.free_bytes();
  CHECK(free_bytes + mapped_bytes == all_bytes, free_bytes, mapped_bytes, all_bytes);
  CHECK(file_bytes == file_bytes_, file_bytes.size(), file_bytes_.size());
  CHECK(areas_.size() <= kMaxAreas, areas_.size());
}

}  // namespace gallocy::personality
