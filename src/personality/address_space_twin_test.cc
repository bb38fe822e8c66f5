// AddressSpace against a naive twin: an array of pages on which each operation is spelled out as the manual pages have
// it. A second array, the cluster, knows only the changes it is told, and must come to hold the same bytes and
// permissions.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <map>
#include <set>

#include "base/prng.h"
#include "personality/address_space.h"
#include "personality/address_space_support.h"
#include "personality/testing/page_model.h"

namespace gallocy::personality {
namespace {

using namespace testing_pages;

constexpr int kFiles = 3;
constexpr std::uint64_t kSeeds = 40;
constexpr int kSteps = 400;

void agree(long result, long wanted) { EXPECT_EQ(result, wanted); }

class Twin {
 public:
  explicit Twin(std::uint64_t seed) : prng_(seed) { space_.add_range(kLow, kLow + kLowPages * kP); }

  void step();
  void compare();

 private:
  using Kind = Change::Kind;
  long below(long n) { return static_cast<long>(prng_.below(static_cast<std::uint64_t>(n))); }
  long some_bytes() { return (below(8) == 0 ? below(100) : below(10)) * static_cast<long>(kP) + below(2) * 100; }
  std::uint64_t some_address() {
    const std::uint64_t address = address_at(below(kSpacePages + kLowPages));
    return below(60) == 0 ? address + 8 : address;
  }
  int some_protection() {
    if (below(2) == 0) return PROT_READ | PROT_WRITE;
    return below(3) == 0 ? PROT_NONE : static_cast<int>(below(8));
  }
  Page& page(std::uint64_t address) { return pages_.at(static_cast<std::size_t>(index_of(address))); }
  bool mapped(std::uint64_t address) { return index_of(address) >= 0 && page(address).mapped; }

  void carry_out();
  void fill(std::uint64_t begin, std::uint64_t end);
  void write_back(Page& page) {
    if (page.file != kNoFile && page.shared && (page.protection & PROT_WRITE)) {
      files_.pages[{page.file, page.file_page}] = page.content;
    }
  }
  void forget(std::uint64_t begin, std::uint64_t end, bool with_write_back = true);
  std::set<int> files_in_use() const;
  bool continues_before(long index) const;

  void do_map();
  void do_unmap();
  void do_protect();
  void do_remap();
  void do_brk();
  void do_discard();
  void do_write();
  void check_place(std::uint64_t address, std::uint64_t bytes, bool anonymous, bool in_32_bits);

  Prng prng_;
  AddressSpace space_{SpaceBounds{.begin = kBegin,
                                  .end = kBegin + kSpacePages * kP,
                                  .brk_begin = kBegin + kBrkFirst * kP,
                                  .brk_end = kBegin + (kBrkFirst + kBrkPages) * kP}};
  std::array<Page, kSpacePages + kLowPages> pages_;
  Files files_;
  std::uint64_t brk_ = kBegin + kBrkFirst * kP;
  Cluster cluster_;
  Changes changes_;
  std::set<int> files_before_;
  std::array<Page, kSpacePages + kLowPages> pages_before_;
  long writes_ = 10'000;
};

void Twin::carry_out() {
  cluster_.carry_out(changes_);
  std::set<int> released;
  for (const Change& change : changes_) {
    if (change.kind != Kind::kFileReleased) continue;
    ASSERT_TRUE(released.insert(change.file).second);
  }
  std::set<int> gone = files_before_;
  for (const int file : files_in_use()) gone.erase(file);
  ASSERT_EQ(released, gone);
}

std::set<int> Twin::files_in_use() const {
  std::set<int> files;
  for (const Page& page : pages_) {
    if (page.mapped && page.file != kNoFile) files.insert(page.file);
  }
  return files;
}

// munmap, of pages only.
void Twin::forget(std::uint64_t begin, std::uint64_t end, bool with_write_back) {
  for (std::uint64_t at = begin; at < end; at += kP) {
    if (!mapped(at)) continue;
    if (with_write_back) write_back(page(at));
    page(at) = Page{};
  }
}

void Twin::check_place(std::uint64_t address, std::uint64_t bytes, bool anonymous, bool in_32_bits) {
  const auto fits = [&](long first, long limit) {
    for (long i = first; i < first + static_cast<long>(bytes / kP); ++i) {
      if (i >= limit || pages_.at(static_cast<std::size_t>(i)).mapped) return false;
      if (i >= kBrkFirst && i < kBrkFirst + kBrkPages) return false;
    }
    return true;
  };
  const long step = anonymous && bytes >= 16 * kP ? static_cast<long>(kBlockBytes / kP) : 1;
  std::uint64_t best = 0;
  for (long i = kSpacePages; in_32_bits && best == 0 && i < kSpacePages + kLowPages; ++i) {
    if (fits(i, kSpacePages + kLowPages)) best = address_at(i);
  }
  for (long i = 0; best == 0 && i < kSpacePages; i += step) {
    if (fits(i, kSpacePages)) best = address_at(i);
  }
  for (long i = 0; best == 0 && i < kSpacePages; ++i) {
    if (fits(i, kSpacePages)) best = address_at(i);
  }
  ASSERT_EQ(address, best);
}

void Twin::do_map() {
  MapRequest request{.address = some_address(),
                     .bytes = static_cast<std::uint64_t>(some_bytes()),
                     .protection = some_protection(),
                     .flags = below(4) == 0 ? MAP_SHARED : MAP_PRIVATE,
                     .file = static_cast<int>(below(kFiles)),
                     .offset = static_cast<std::uint64_t>(below(6)) * kP};
  const bool anonymous = below(3) != 0;
  if (anonymous) request.flags |= MAP_ANONYMOUS;
  const long placement = below(5);  // 0: anywhere, 1: hint, 2, 3: fixed, 4: no replace
  if (placement == 0) request.address = 0;
  if (placement == 2 || placement == 3) request.flags |= MAP_FIXED;
  if (placement == 4) request.flags |= MAP_FIXED_NOREPLACE;
  if (below(10) == 0) request.flags |= MAP_32BIT;
  if (below(8) == 0) request.name = "named";

  const long result = space_.map(request, changes_);
  const std::uint64_t bytes = page_up(request.bytes);
  const std::uint64_t hint = request.address / kP * kP;
  bool whole = true;
  bool free = true;
  bool placeable = hint >= kBegin;
  for (std::uint64_t at = hint; at < hint + bytes; at += kP) {
    whole = whole && index_of(at) >= 0;
    free = free && !mapped(at);
    placeable = placeable && (index_of(at) < kBrkFirst || index_of(at) >= kBrkFirst + kBrkPages);
  }
  if (bytes == 0) return agree(result, -EINVAL);
  if (placement >= 2) {
    if (request.address != hint) return agree(result, -EINVAL);
    if (placement == 4 && !(whole && free)) return agree(result, -EEXIST);
    if (!whole) return agree(result, -ENOMEM);
    ASSERT_EQ(result, static_cast<long>(hint));
  } else if (hint != 0 && whole && free && placeable) {
    ASSERT_EQ(result, static_cast<long>(hint));
  } else {
    check_place(result == -ENOMEM ? 0 : static_cast<std::uint64_t>(result), bytes, anonymous,
                request.flags & MAP_32BIT);
    if (result == -ENOMEM) return;
  }
  const auto begin = static_cast<std::uint64_t>(result);
  forget(begin, begin + bytes);
  for (std::uint64_t at = begin; at < begin + bytes; at += kP) {
    Page& it = page(at);
    it = {.mapped = true,
          .protection = request.protection,
          .shared = (request.flags & MAP_TYPE) == MAP_SHARED,
          .file = anonymous ? kNoFile : request.file,
          .file_page = anonymous ? 0 : static_cast<long>((request.offset + (at - begin)) / kP),
          .name = request.name};
    if (!anonymous) it.content = files_.read(it.file, it.file_page);
  }
  carry_out();
  if (anonymous) return;
  for (std::uint64_t at = begin; at < begin + bytes; at += kP) {  // what the caller of map() does
    cluster_.content.at(static_cast<std::size_t>(index_of(at))) = cluster_.files.read(request.file, page(at).file_page);
  }
}

void Twin::do_unmap() {
  const std::uint64_t address = some_address();
  const std::uint64_t bytes = static_cast<std::uint64_t>(some_bytes());
  const long result = space_.unmap(address, bytes, changes_);
  if (address % kP != 0 || bytes == 0) return agree(result, -EINVAL);
  ASSERT_EQ(result, 0);
  forget(address, address + page_up(bytes));
  carry_out();
}

void Twin::do_protect() {
  const std::uint64_t address = some_address();
  const std::uint64_t bytes = static_cast<std::uint64_t>(some_bytes());
  const int protection = some_protection();
  const long result = space_.protect(address, bytes, protection, changes_);
  if (address % kP != 0) return agree(result, -EINVAL);
  const std::uint64_t end = address + page_up(bytes);
  std::uint64_t at = address;
  for (; at < end && mapped(at); at += kP) {
    if (!(protection & PROT_WRITE)) write_back(page(at));
    page(at).protection = protection;
  }
  ASSERT_EQ(result, at == end ? 0 : -ENOMEM);
  carry_out();
}

bool Twin::continues_before(long index) const {
  if (!adjoin(index)) return false;
  const Page& a = pages_.at(static_cast<std::size_t>(index - 1));
  const Page& b = pages_.at(static_cast<std::size_t>(index));
  return a.mapped && b.mapped && a.protection == b.protection && a.shared == b.shared && a.file == b.file &&
         (a.file == kNoFile || a.file_page + 1 == b.file_page) && a.name == b.name;
}

void Twin::do_remap() {
  const std::uint64_t from = some_address();
  const std::uint64_t old_bytes = static_cast<std::uint64_t>(below(6)) * kP;
  const std::uint64_t new_bytes = static_cast<std::uint64_t>(below(9)) * kP;
  const std::uint64_t target = some_address();
  const int flags = std::array{0, MREMAP_MAYMOVE, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED}.at(
      static_cast<std::size_t>(below(4)));
  const bool fixed = flags & MREMAP_FIXED;
  const long result = space_.remap(from, old_bytes, new_bytes, flags, target, changes_);
  if (from % kP != 0 || old_bytes == 0 || new_bytes == 0) return agree(result, -EINVAL);
  if (fixed && (target % kP != 0 || (target < from + old_bytes && from < target + new_bytes))) {
    return agree(result, -EINVAL);
  }
  if (!mapped(from)) return agree(result, -EFAULT);
  if (!fixed && new_bytes <= old_bytes) {
    ASSERT_EQ(result, static_cast<long>(from));
    forget(from + new_bytes, from + old_bytes);
    return carry_out();
  }
  for (std::uint64_t at = from + kP; at < from + old_bytes; at += kP) {
    if (index_of(at) < 0 || !continues_before(index_of(at))) return agree(result, -EFAULT);
  }
  std::uint64_t to = target;
  if (fixed) {
    if (index_of(to) < 0 || index_of(to + new_bytes - kP) < 0) return agree(result, -ENOMEM);
  } else {
    bool in_place = true;
    for (std::uint64_t at = from + old_bytes; at < from + new_bytes; at += kP) {
      const long i = index_of(at);
      in_place = in_place && i >= 0 && !mapped(at) && (i < kBrkFirst || i >= kBrkFirst + kBrkPages);
    }
    if (!in_place && !(flags & MREMAP_MAYMOVE)) return agree(result, -ENOMEM);
    if (!in_place) {
      check_place(result == -ENOMEM ? 0 : static_cast<std::uint64_t>(result), new_bytes, page(from).file == kNoFile,
                  false);
      if (result == -ENOMEM) return;
    }
    to = in_place ? from : static_cast<std::uint64_t>(result);
  }
  ASSERT_EQ(result, static_cast<long>(to));
  const std::uint64_t kept = std::min(old_bytes, new_bytes);
  forget(from + kept, from + old_bytes);
  std::vector<Page> moved;
  for (std::uint64_t at = 0; at < new_bytes; at += kP) {
    Page copy = page(at < kept ? from + at : from);
    if (at >= kept) {
      copy.file_page += copy.file == kNoFile ? 0 : static_cast<long>(at / kP);
      copy.content = 0;
      copy.may_hold_bytes = false;
    }
    moved.push_back(copy);
  }
  if (to != from) forget(to, to + new_bytes);
  // The bytes the file had when its pages were replaced are what a grown part reads.
  for (std::uint64_t at = kept; at < new_bytes; at += kP) {
    Page& copy = moved[at / kP];
    if (copy.file != kNoFile) copy.content = files_.read(copy.file, copy.file_page);
  }
  forget(from, from + kept, false);
  for (std::uint64_t at = 0; at < new_bytes; at += kP) page(to + at) = moved[at / kP];
  carry_out();
}

void Twin::do_brk() {
  const std::uint64_t low = kBegin + kBrkFirst * kP;
  const std::uint64_t address = low - 100 + static_cast<std::uint64_t>(below((kBrkPages + 1) * static_cast<long>(kP)));
  const long result = space_.set_brk(address, changes_);
  bool free = address >= low && address <= low + kBrkPages * kP;
  for (std::uint64_t at = page_up(brk_); at < page_up(address); at += kP) free = free && !mapped(at);
  if (!free) return agree(result, static_cast<long>(brk_));
  ASSERT_EQ(result, static_cast<long>(address));
  forget(page_up(address), page_up(brk_));
  for (std::uint64_t at = page_up(brk_); at < page_up(address); at += kP) {
    page(at) = {.mapped = true, .protection = PROT_READ | PROT_WRITE, .name = "[heap]"};
  }
  brk_ = address;
  carry_out();
}

void Twin::do_discard() {
  const std::uint64_t address = some_address();
  const std::uint64_t bytes = static_cast<std::uint64_t>(some_bytes());
  const long result = space_.discard(address, bytes, changes_);
  if (address % kP != 0) return agree(result, -EINVAL);
  bool holes = false;
  for (std::uint64_t at = address; at < address + page_up(bytes); at += kP) {
    holes = holes || !mapped(at);
    if (!mapped(at) || page(at).shared) continue;
    page(at).content = page(at).file == kNoFile ? 0 : files_.read(page(at).file, page(at).file_page);
    page(at).may_hold_bytes = false;
  }
  ASSERT_EQ(result, holes ? -ENOMEM : 0);
  carry_out();
}

// The guest writes here and there.
void Twin::do_write() {
  for (int i = 0; i < 40; ++i) {
    const auto at = static_cast<std::size_t>(below(kSpacePages + kLowPages));
    if (!pages_.at(at).mapped || !(pages_.at(at).protection & PROT_WRITE)) continue;
    ASSERT_EQ(cluster_.permission.at(at), PROT_READ | PROT_WRITE);
    pages_.at(at).content = cluster_.content.at(at) = ++writes_;
  }
}

void Twin::step() {
  changes_.clear();
  files_before_ = files_in_use();
  pages_before_ = pages_;
  switch (below(12)) {
    case 0:
    case 1:
    case 2:
      do_map();
      break;
    case 3:
    case 4:
      do_unmap();
      break;
    case 5:
    case 6:
      do_protect();
      break;
    case 7:
    case 8:
      do_remap();
      break;
    case 9:
      do_brk();
      break;
    case 10:
      do_discard();
      break;
    default:
      do_write();
      break;
  }
  // A discard speaks only of pages that may have held bytes since they were last zero.
  std::set<std::uint64_t> seen;
  for (const Change& change : changes_) {
    for (std::uint64_t at = change.begin; change.kind == Kind::kDiscard && at < change.end; at += kP) {
      ASSERT_TRUE(seen.insert(at).second) << "discarded twice";
      ASSERT_TRUE(pages_before_.at(static_cast<std::size_t>(index_of(at))).may_hold_bytes) << "needless discard";
    }
  }
  for (Page& it : pages_) it.may_hold_bytes |= it.mapped && (it.file != kNoFile || it.protection != PROT_NONE);
}

void Twin::compare() {
  space_.check_invariants();
  std::vector<Area> wanted;
  for (long i = 0; i < kSpacePages + kLowPages; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const Page& it = pages_.at(at);
    ASSERT_EQ(cluster_.content.at(at), it.mapped ? it.content : 0) << "page " << i;
    if (!it.mapped) continue;
    ASSERT_EQ(cluster_.permission.at(at), effective(it.protection)) << "page " << i;
    if (continues_before(i)) {
      wanted.back().end += kP;
    } else {
      wanted.push_back({.begin = address_at(i),
                        .end = address_at(i) + kP,
                        .protection = it.protection,
                        .shared = it.shared,
                        .file = it.file,
                        .offset = static_cast<std::uint64_t>(it.file_page) * kP,
                        .name = it.name});
    }
  }
  std::vector<Area> areas;
  space_.visit(kBegin, kAddressEnd, [&](const Area& area) { areas.push_back(area); });
  space_.visit(0, kBegin, [&](const Area& area) { areas.push_back(area); });
  ASSERT_EQ(areas.size(), wanted.size());
  ASSERT_TRUE(areas == wanted);
  ASSERT_EQ(cluster_.files.pages, files_.pages);
}

TEST(AddressSpaceTwinTest, agrees_with_the_naive_twin) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Twin twin(seed);
    for (int step = 0; step < kSteps; ++step) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", step " << step);
      twin.step();
      if (!HasFailure()) twin.compare();
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace gallocy::personality
