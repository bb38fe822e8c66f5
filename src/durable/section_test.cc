#include "durable/section.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "durable/image.h"

namespace gallocy::durable {
namespace {

using Step = Section::Step;

constexpr PageId kFirst{64 * 100};
constexpr PageId page(std::uint64_t i) { return PageId{kFirst.value + i}; }

// Frames of a driver that does what the section says.
struct Frames {
  std::map<PageId, Bytes> pages;
  Bytes& of(PageId p) {
    Bytes& frame = pages[p];
    frame.resize(kPageBytes);
    return frame;
  }
  Section::Frames lookup() {
    return [this](PageId p) { return std::span<const std::byte>(of(p)); };
  }
  void fetch(Section& section, PageId p, Access want, const Bytes& committed) {
    ASSERT_EQ(section.touch(p, want, of(p)), Step::kFetch);
    of(p) = committed;
    section.fetched(p, of(p));
    ASSERT_EQ(section.access(p), want);
  }
};

Bytes random_page(Prng& prng) {
  Bytes bytes(kPageBytes);
  for (std::byte& b : bytes) b = static_cast<std::byte>(prng());
  return bytes;
}

TEST(Section, covers_the_pages_of_its_locks) {
  const Section section({{page(0), 2}, {page(5), 1}});
  EXPECT_TRUE(section.covers(page(0)) && section.covers(page(1)) && section.covers(page(5)));
  EXPECT_FALSE(section.covers(page(2)) || section.covers(page(6)) || section.covers(PageId{kFirst.value - 1}));
  EXPECT_TRUE((PageRange{page(0), 2}.overlaps({page(1), 4})));
  EXPECT_TRUE((PageRange{page(1), 1}.overlaps({page(0), 4})));
  EXPECT_FALSE((PageRange{page(0), 2}.overlaps({page(2), 4})));
}

TEST(Section, fetches_a_page_once_with_the_most_that_was_wanted) {
  Section section({{page(0), 2}});
  Frames frames;
  EXPECT_EQ(section.touch(page(0), Access::kRead, frames.of(page(0))), Step::kFetch);
  EXPECT_EQ(section.touch(page(0), Access::kWrite, frames.of(page(0))), Step::kWait);
  EXPECT_EQ(section.touch(page(0), Access::kRead, frames.of(page(0))), Step::kWait);
  EXPECT_EQ(section.access(page(0)), Access::kNone);
  section.fetched(page(0), frames.of(page(0)));
  EXPECT_EQ(section.access(page(0)), Access::kWrite);
  EXPECT_EQ(section.touch(page(0), Access::kWrite, frames.of(page(0))), Step::kOpen);
  EXPECT_EQ(section.access(page(1)), Access::kNone);
}

TEST(Section, compares_what_it_read_and_writes_nothing) {
  Prng prng(1);
  Section section({{page(0), 3}});
  Frames frames;
  const Bytes committed = random_page(prng);
  frames.fetch(section, page(2), Access::kRead, committed);
  frames.fetch(section, page(0), Access::kWrite, committed);
  const auto items = section.items(frames.lookup());
  ASSERT_EQ(items.size(), 2u);
  for (const Item& item : items) {
    EXPECT_EQ(item.kind, ItemKind::kComparePage);
    EXPECT_TRUE(std::ranges::equal(item.bytes, digest_of_page(committed)));
  }
  EXPECT_EQ(items[0].address, address_of(page(0)));
  EXPECT_EQ(items[1].address, address_of(page(2)));
}

// Whatever is stored, the committed image becomes what the program sees, and nothing is written that was not compared.
TEST(Section, writes_all_that_was_stored) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Prng prng(seed);
    Section section({{page(0), 8}});
    Frames frames;
    Image image;
    for (std::uint32_t p = 0; p < 8; ++p) {
      if (!prng.one_in(4)) image.set_page(p, page_with(random_page(prng)));
    }
    for (std::uint64_t stores = prng.below(40); stores > 0; --stores) {
      const auto p = static_cast<std::uint32_t>(prng.below(8));
      Bytes committed(kPageBytes);
      image.read(p * kPageBytes, committed);
      const Access want = prng.one_in(2) ? Access::kWrite : Access::kRead;
      if (section.access(page(p)) == Access::kNone) frames.fetch(section, page(p), want, committed);
      ASSERT_EQ(section.touch(page(p), want, frames.of(page(p))), Step::kOpen);
      if (want == Access::kRead) continue;
      const std::size_t at = prng.below(kPageBytes);
      const std::size_t count = 1 + prng.below(std::min<std::uint64_t>(kPageBytes - at, prng.one_in(3) ? 4096 : 12));
      for (std::size_t i = 0; i < count; ++i) frames.of(page(p))[at + i] = static_cast<std::byte>(prng.below(3));
    }
    std::size_t bytes = 0;
    for (const Item& item : section.items(frames.lookup())) {
      const auto offset = static_cast<std::uint32_t>((item.address - kWindowBase) % kBlockBytes);
      if (item.kind == ItemKind::kWrite) {
        image.write(offset, item.bytes);
        bytes += item.bytes.size();
      } else {
        EXPECT_TRUE(std::ranges::equal(item.bytes, image.digest(offset / kPageBytes)));
      }
    }
    EXPECT_LE(bytes, frames.pages.size() * kPageBytes);
    for (auto& [p, frame] : frames.pages) {
      Bytes now(kPageBytes);
      image.read(static_cast<std::uint32_t>((p.value - kFirst.value) * kPageBytes), now);
      EXPECT_EQ(now, frame) << "seed " << seed << " page " << p.value;
    }
  }
}

TEST(Section, joins_changes_that_are_a_word_apart) {
  Section section({{page(0), 1}});
  Frames frames;
  frames.fetch(section, page(0), Access::kWrite, Bytes(kPageBytes));
  for (const std::size_t at : {0, 16, 40, 4088}) frames.of(page(0))[at] = std::byte{1};
  const auto items = section.items(frames.lookup());
  ASSERT_EQ(items.size(), 4u);
  EXPECT_EQ(items[1].bytes.size(), 24u);
  EXPECT_EQ(items[2].address, address_of(page(0)) + 40);
  EXPECT_EQ(items[2].bytes.size(), 8u);
  EXPECT_EQ(items[3].address, address_of(page(0)) + 4088);
}

TEST(Section, names_runs_of_pages) {
  Section section({{page(0), 10}});
  Frames frames;
  for (const std::uint64_t p : {1, 2, 4}) frames.fetch(section, page(p), Access::kRead, Bytes(kPageBytes));
  frames.fetch(section, page(3), Access::kWrite, Bytes(kPageBytes));
  (void)section.touch(page(7), Access::kRead, frames.of(page(7)));
  std::vector<std::tuple<std::uint64_t, std::uint64_t, Access>> runs;
  section.for_each_run([&](PageId first, std::uint64_t pages, Access access) {
    runs.emplace_back(first.value - kFirst.value, pages, access);
  });
  EXPECT_EQ(runs, (std::vector<std::tuple<std::uint64_t, std::uint64_t, Access>>{
                      {1, 2, Access::kRead}, {3, 1, Access::kWrite}, {4, 1, Access::kRead}, {7, 1, Access::kNone}}));
}

}  // namespace
}  // namespace gallocy::durable
