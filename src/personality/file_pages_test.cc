#include "personality/file_pages.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace gallocy::personality {
namespace {

using Kind = FilePages::Answer::Kind;

constexpr std::uint64_t kPage = 4096, kStep = FilePages::kLeastBytes, kBase = 64 * FilePages::kMostBytes;

FilePages opened(const FilePart& part) {
  FilePages pages;
  pages.add(part);
  pages.open(part.begin, part.end);
  return pages;
}

std::vector<FilePart> unread(const FilePages& pages) {
  std::vector<FilePart> parts;
  pages.visit(0, ~0ull, [&](const FilePart& part) { parts.push_back(part); });
  return parts;
}

TEST(FilePages, a_touch_has_the_block_read_once) {
  FilePages pages = opened({.begin = kBase, .end = kBase + 8 * kStep, .file = 3, .offset = kPage});
  const FilePages::Answer answer = pages.touch(kBase + 2 * kStep + 5 * kPage);
  EXPECT_EQ(answer.kind, Kind::kRead);
  EXPECT_EQ(answer.part, (FilePart{kBase + 2 * kStep, kBase + 3 * kStep, 3, kPage + 2 * kStep}));
  EXPECT_EQ(pages.touch(kBase + 2 * kStep).kind, Kind::kWait);
  pages.read(answer.part.begin, answer.part.end, answer.part.end);
  const FilePages::Answer there = pages.touch(kBase + 2 * kStep);
  EXPECT_EQ(there.kind, Kind::kThere);
  EXPECT_EQ(there.part.begin, kBase + 2 * kStep);
  EXPECT_EQ(there.part.end, kBase + 3 * kStep);
}

TEST(FilePages, reading_on_and_on_reads_more_at_once) {
  FilePages pages = opened({.begin = kBase, .end = kBase + 64 * kStep, .file = 0, .offset = 0});
  std::uint64_t last = 0;
  for (std::uint64_t at = kBase; at < kBase + 64 * kStep;) {
    const FilePart part = pages.touch(at).part;
    ASSERT_EQ(part.begin, at);
    const std::uint64_t bytes = part.end - part.begin;
    EXPECT_TRUE(bytes >= last || part.end == kBase + 64 * kStep);
    EXPECT_LE(bytes, FilePages::kMostBytes);
    last = std::max(last, bytes);
    pages.read(part.begin, part.end, part.end);
    at = part.end;
  }
  EXPECT_EQ(last, FilePages::kMostBytes);
  EXPECT_TRUE(unread(pages).empty());
}

TEST(FilePages, what_was_not_read_is_unread_again) {
  FilePages pages = opened({.begin = kBase, .end = kBase + kStep, .file = 0, .offset = 0});
  ASSERT_EQ(pages.touch(kBase).kind, Kind::kRead);
  pages.read(kBase, kBase + kStep, kBase + kPage);  // the file ends there
  EXPECT_EQ(pages.touch(kBase).kind, Kind::kThere);
  const FilePages::Answer beyond = pages.touch(kBase + 3 * kPage);
  EXPECT_EQ(beyond.kind, Kind::kRead);
  EXPECT_EQ(beyond.part.begin, kBase + kPage);
  EXPECT_EQ(beyond.part.offset, kPage);
}

TEST(FilePages, closed_pages_wait_and_are_not_read) {
  FilePages pages = opened({.begin = kBase, .end = kBase + 2 * kStep, .file = 0, .offset = 0});
  ASSERT_EQ(pages.touch(kBase).kind, Kind::kRead);
  EXPECT_FALSE(pages.close(kBase + kPage, kBase + 2 * kStep));  // the first of them is being read
  EXPECT_EQ(pages.touch(kBase + kStep).kind, Kind::kWait);
  pages.read(kBase, kBase + kStep, kBase);
  EXPECT_FALSE(pages.waits(kBase));
  EXPECT_TRUE(pages.close(kBase + kPage, kBase + 2 * kStep));
  EXPECT_TRUE(pages.waits(kBase + kPage));
  pages.remove(kBase + kPage, kBase + 2 * kStep);
  EXPECT_EQ(unread(pages), (std::vector<FilePart>{{kBase, kBase + kPage, 0, 0}}));
}

// Against one record per page.
TEST(FilePages, agrees_with_a_naive_twin) {
  constexpr int kPages = 600;
  struct Twin {
    int file = -1;
    std::uint64_t offset = 0;
    char state = 'r';  // read, unread, closed, being read by somebody
  };
  for (unsigned seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = [&](unsigned n) { return random() % n; };
    FilePages pages;
    std::vector<Twin> twin(kPages);
    std::vector<FilePart> tasks;
    const auto address = [](std::uint64_t page) { return kBase + page * kPage; };
    const auto page = [](std::uint64_t at) { return (at - kBase) / kPage; };
    for (int step = 0; step < 2000; ++step) {
      std::uint64_t first = below(kPages), last = first + 1 + below(static_cast<unsigned>(kPages - first));
      if (below(2) == 0) {
        const std::uint64_t at = below(kPages);
        const FilePages::Answer answer = pages.touch(address(at) + below(kPage));
        switch (twin[at].state) {
          case 'u':
            ASSERT_EQ(answer.kind, Kind::kRead);
            ASSERT_TRUE(answer.part.begin <= address(at) && address(at) < answer.part.end);
            for (std::uint64_t p = page(answer.part.begin); p < page(answer.part.end); ++p) {
              ASSERT_EQ(twin[p].state, 'u');
              ASSERT_EQ(twin[p].file, answer.part.file);
              ASSERT_EQ(twin[p].offset, answer.part.offset + (address(p) - answer.part.begin));
              twin[p].state = 'b';
            }
            tasks.push_back(answer.part);
            break;
          case 'r':
            ASSERT_EQ(answer.kind, Kind::kThere);
            for (std::uint64_t p = 0; p < kPages; ++p) {
              if (answer.part.begin <= address(p) && address(p) < answer.part.end) ASSERT_EQ(twin[p].state, 'r');
            }
            break;
          default:
            ASSERT_EQ(answer.kind, Kind::kWait);
        }
      } else if (below(2) == 0 && !tasks.empty()) {
        const std::size_t which = below(static_cast<unsigned>(tasks.size()));
        const FilePart task = tasks[which];
        tasks.erase(tasks.begin() + static_cast<std::ptrdiff_t>(which));
        const std::uint64_t count = page(task.end) - page(task.begin), read = below(static_cast<unsigned>(count) + 1);
        pages.read(task.begin, task.end, task.begin + read * kPage);
        for (std::uint64_t i = 0; i < count; ++i) twin[page(task.begin) + i].state = i < read ? 'r' : 'u';
      } else {
        bool reading = false;
        for (std::uint64_t p = first; p < last; ++p) {
          reading = reading || twin[p].state == 'b';
          if (twin[p].state == 'u') twin[p].state = 'c';
        }
        ASSERT_EQ(pages.close(address(first), address(last)), !reading);
        if (reading) {
          pages.open(address(first), address(last));
          for (std::uint64_t p = first; p < last; ++p) twin[p].state = twin[p].state == 'c' ? 'u' : twin[p].state;
        } else {
          pages.remove(address(first), address(last));
          for (std::uint64_t p = first; p < last; ++p) twin[p] = {};
          if (below(2) == 0) {
            const int file = static_cast<int>(below(5));
            pages.add({.begin = address(first), .end = address(last), .file = file, .offset = 7 * kPage});
            ASSERT_TRUE(pages.waits(address(first)));
            pages.open(address(first), address(last));
            for (std::uint64_t p = first; p < last; ++p) twin[p] = {file, (7 + p - first) * kPage, 'u'};
          }
        }
      }
      pages.check_invariants();
    }
  }
}

}  // namespace
}  // namespace gallocy::personality
