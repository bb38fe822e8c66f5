#include "personality/file_pages.h"

#include <gtest/gtest.h>

#include <bit>
#include <random>
#include <vector>

namespace gallocy::personality {
namespace {

using Kind = FilePages::Answer::Kind;

constexpr std::uint64_t kPage = 4096, kStep = FilePages::kLeastBytes, kBase = 64 * FilePages::kMostBytes;

constexpr NodeId kReader{0}, kOther{1};

FilePages opened(const FilePart& part, bool viewable = false) {
  FilePages pages;
  pages.add(part, viewable);
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
  const FilePages::Answer answer = pages.touch(kBase + 2 * kStep + 5 * kPage, kReader, false);
  EXPECT_EQ(answer.kind, Kind::kRead);
  EXPECT_EQ(answer.part, (FilePart{kBase + 2 * kStep, kBase + 3 * kStep, 3, kPage + 2 * kStep}));
  EXPECT_EQ(pages.touch(kBase + 2 * kStep, kReader, false).kind, Kind::kWait);
  pages.read(answer.part.begin, answer.part.end, answer.part.end);
  const FilePages::Answer there = pages.touch(kBase + 2 * kStep, kReader, false);
  EXPECT_EQ(there.kind, Kind::kThere);
  EXPECT_EQ(there.part.begin, kBase + 2 * kStep);
  EXPECT_EQ(there.part.end, kBase + 3 * kStep);
}

TEST(FilePages, reading_on_and_on_reads_more_at_once) {
  FilePages pages = opened({.begin = kBase, .end = kBase + 64 * kStep, .file = 0, .offset = 0});
  std::uint64_t last = 0;
  for (std::uint64_t at = kBase; at < kBase + 64 * kStep;) {
    const FilePart part = pages.touch(at, kReader, false).part;
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
  ASSERT_EQ(pages.touch(kBase, kReader, false).kind, Kind::kRead);
  pages.read(kBase, kBase + kStep, kBase + kPage);  // the file ends there
  EXPECT_EQ(pages.touch(kBase, kReader, false).kind, Kind::kThere);
  const FilePages::Answer beyond = pages.touch(kBase + 3 * kPage, kReader, false);
  EXPECT_EQ(beyond.kind, Kind::kRead);
  EXPECT_EQ(beyond.part.begin, kBase + kPage);
  EXPECT_EQ(beyond.part.offset, kPage);
}

TEST(FilePages, closed_pages_wait_and_are_not_read) {
  FilePages pages = opened({.begin = kBase, .end = kBase + 2 * kStep, .file = 0, .offset = 0});
  ASSERT_EQ(pages.touch(kBase, kReader, false).kind, Kind::kRead);
  EXPECT_FALSE(pages.close(kBase + kPage, kBase + 2 * kStep));  // the first of them is being read
  EXPECT_EQ(pages.touch(kBase + kStep, kReader, false).kind, Kind::kWait);
  pages.read(kBase, kBase + kStep, kBase);
  EXPECT_FALSE(pages.waits(kBase));
  EXPECT_TRUE(pages.close(kBase + kPage, kBase + 2 * kStep));
  EXPECT_TRUE(pages.waits(kBase + kPage));
  pages.remove(kBase + kPage, kBase + 2 * kStep);
  EXPECT_EQ(unread(pages), (std::vector<FilePart>{{kBase, kBase + kPage, 0, 0}}));
}

TEST(FilePages, who_only_reads_views) {
  const FilePart all{.begin = kBase, .end = kBase + 8 * kStep, .file = 3, .offset = kPage};
  FilePages pages = opened(all, /*viewable=*/true);
  const FilePages::Answer answer = pages.touch(kBase + kStep + kPage, kReader, true);
  EXPECT_EQ(answer.kind, Kind::kView);
  EXPECT_EQ(answer.part, (FilePart{kBase + kStep, kBase + 2 * kStep, 3, kPage + kStep}));
  EXPECT_EQ(pages.touch(kBase + kStep, kOther, true).kind, Kind::kWait);
  pages.viewed(answer.part.begin, answer.part.end, answer.part.end - kPage, kReader);  // the file ends there
  EXPECT_EQ(pages.touch(kBase + kStep, kReader, true).kind, Kind::kViewed);
  EXPECT_EQ(pages.viewers(kBase, kBase + 8 * kStep), std::vector{kReader});
  EXPECT_TRUE(pages.viewers(answer.part.end - kPage, answer.part.end).empty());
  const FilePages::Answer second = pages.touch(kBase + kStep, kOther, true);
  EXPECT_EQ(second.kind, Kind::kView);
  pages.viewed(second.part.begin, second.part.end, second.part.end, kOther);
  EXPECT_EQ(pages.viewers(kBase + kStep, kBase + kStep + 1), (std::vector{kReader, kOther}));
  std::uint64_t left = 0;
  for (const FilePart& part : unread(pages)) left += part.end - part.begin;
  EXPECT_EQ(left, all.end - all.begin);
}

TEST(FilePages, who_writes_reads_and_ends_the_views) {
  FilePages pages = opened({.begin = kBase, .end = kBase + 8 * kStep, .file = 3, .offset = 0}, /*viewable=*/true);
  const FilePart view = pages.touch(kBase, kReader, true).part;
  pages.viewed(view.begin, view.end, view.end, kReader);
  const FilePages::Answer answer = pages.touch(kBase, kOther, false);
  EXPECT_EQ(answer.kind, Kind::kRead);
  EXPECT_EQ(answer.viewers, std::vector{kReader});
  pages.read(answer.part.begin, answer.part.end, answer.part.end);
  EXPECT_TRUE(pages.viewers(kBase, kBase + 8 * kStep).empty());
  EXPECT_EQ(pages.touch(kBase + 4 * kStep, kReader, true).kind, Kind::kRead);  // the file is one that is written
}

TEST(FilePages, closed_pages_have_viewers_until_their_views_have_ended) {
  FilePages pages = opened({.begin = kBase, .end = kBase + 2 * kStep, .file = 3, .offset = 0}, /*viewable=*/true);
  const FilePart view = pages.touch(kBase, kReader, true).part;
  EXPECT_FALSE(pages.close(kBase, kBase + kPage));
  pages.viewed(view.begin, view.end, view.end, kReader);
  EXPECT_TRUE(pages.close(kBase, kBase + kPage));
  EXPECT_EQ(pages.viewers(kBase, kBase + kPage), std::vector{kReader});
  pages.views_ended(kBase, kBase + kPage);
  pages.remove(kBase, kBase + kPage);
  EXPECT_EQ(pages.viewers(kBase, kBase + kStep), std::vector{kReader});
}

// Against one record per page.
TEST(FilePages, agrees_with_a_naive_twin) {
  constexpr int kPages = 600;
  struct Twin {
    int file = -1;
    std::uint64_t offset = 0;
    char state = 'r';  // read, unread, closed, being read or viewed by somebody
    bool viewable = false;
    unsigned viewers = 0;  // a bit each
  };
  for (unsigned seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = [&](unsigned n) { return random() % n; };
    FilePages pages;
    std::vector<Twin> twin(kPages);
    struct Task {
      FilePart part;
      NodeId viewer = kNoNode;
    };
    std::vector<Task> tasks;
    const auto address = [](std::uint64_t page) { return kBase + page * kPage; };
    const auto page = [](std::uint64_t at) { return (at - kBase) / kPage; };
    for (int step = 0; step < 2000; ++step) {
      std::uint64_t first = below(kPages), last = first + 1 + below(static_cast<unsigned>(kPages - first));
      if (below(2) == 0) {
        const std::uint64_t at = below(kPages);
        const NodeId node{static_cast<std::uint16_t>(below(3))};
        const bool view = below(2) == 0;
        const FilePages::Answer answer = pages.touch(address(at) + below(kPage), node, view);
        switch (twin[at].state) {
          case 'u':
            if (view && (twin[at].viewers >> node.value & 1) != 0) {
              ASSERT_EQ(answer.kind, Kind::kViewed);
              break;
            }
            ASSERT_EQ(answer.kind, view && twin[at].viewable ? Kind::kView : Kind::kRead);
            ASSERT_TRUE(answer.part.begin <= address(at) && address(at) < answer.part.end);
            for (std::uint64_t p = page(answer.part.begin); p < page(answer.part.end); ++p) {
              ASSERT_EQ(twin[p].state, 'u');
              ASSERT_EQ(twin[p].file, answer.part.file);
              ASSERT_EQ(twin[p].offset, answer.part.offset + (address(p) - answer.part.begin));
              twin[p].state = 'b';
              if (answer.kind == Kind::kRead) {
                ASSERT_EQ(answer.viewers.size(), static_cast<std::size_t>(std::popcount(twin[p].viewers)));
                for (const NodeId viewer : answer.viewers) ASSERT_NE(twin[p].viewers >> viewer.value & 1, 0u);
              }
            }
            if (answer.kind == Kind::kRead && twin[at].viewable && twin[at].viewers != 0) {
              const int file = twin[at].file;
              for (Twin& other : twin) other.viewable = other.viewable && other.file != file;
            }
            tasks.push_back({answer.part, answer.kind == Kind::kView ? node : kNoNode});
            break;
          case 'r':
            ASSERT_EQ(answer.kind, Kind::kThere);
            for (std::uint64_t p = 0; p < kPages; ++p) {
              if (answer.part.begin <= address(p) && address(p) < answer.part.end) {
                ASSERT_EQ(twin[p].state, 'r');
              }
            }
            break;
          default:
            ASSERT_EQ(answer.kind, Kind::kWait);
        }
      } else if (below(2) == 0 && !tasks.empty()) {
        const std::size_t which = below(static_cast<unsigned>(tasks.size()));
        const FilePart task = tasks[which].part;
        const NodeId viewer = tasks[which].viewer;
        tasks.erase(tasks.begin() + static_cast<std::ptrdiff_t>(which));
        const std::uint64_t count = page(task.end) - page(task.begin), read = below(static_cast<unsigned>(count) + 1);
        for (std::uint64_t i = 0; i < count; ++i) {
          Twin& p = twin[page(task.begin) + i];
          p.state = 'u';
          if (viewer != kNoNode) {
            p.viewers |= i < read ? 1u << viewer.value : 0;
          } else if (i < read) {
            p = {};
          } else {
            p.viewers = 0;
          }
        }
        if (viewer != kNoNode) {
          pages.viewed(task.begin, task.end, task.begin + read * kPage, viewer);
        } else {
          pages.read(task.begin, task.end, task.begin + read * kPage);
        }
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
          unsigned viewers = 0;
          for (const NodeId viewer : pages.viewers(address(first), address(last))) viewers |= 1u << viewer.value;
          for (std::uint64_t p = first; p < last; ++p) {
            ASSERT_EQ(twin[p].viewers & ~viewers, 0u);
            twin[p] = {};
          }
          pages.views_ended(address(first), address(last));
          pages.remove(address(first), address(last));
          if (below(2) == 0) {
            const int file = static_cast<int>(below(5));
            const bool viewable = below(2) == 0;
            pages.add({.begin = address(first), .end = address(last), .file = file, .offset = 7 * kPage}, viewable);
            ASSERT_TRUE(pages.waits(address(first)));
            pages.open(address(first), address(last));
            for (std::uint64_t p = first; p < last; ++p) twin[p] = {file, (7 + p - first) * kPage, 'u', viewable};
          }
        }
      }
      pages.check_invariants();
    }
  }
}

}  // namespace
}  // namespace gallocy::personality
