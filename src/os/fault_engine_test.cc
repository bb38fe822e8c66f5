// What a single thread sees of each engine.
#include "os/fault_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>

#include "os/fault_engine_testing.h"

namespace gallocy::os {
namespace {

using FaultEngineTest = EngineTest;
ON_EVERY_ENGINE(FaultEngineTest);

TEST_P(FaultEngineTest, read_fault_is_delivered_as_read) {
  TestRegion region(GetParam(), 4);
  region.behind(2, 5).store(77);
  EXPECT_EQ(region.word(2, 5).load(), 77u);
  EXPECT_EQ(region.read_faults(), 1u);
  EXPECT_EQ(region.write_faults(), 0u);
  EXPECT_EQ(region.last_address(), reinterpret_cast<std::uint64_t>(region.page(2)) + 5 * 8);
  EXPECT_EQ(region.last_in_thread(), GetParam() != FaultEngineKind::kUffdThread);
}

TEST_P(FaultEngineTest, write_fault_is_delivered_as_write) {
  TestRegion region(GetParam(), 4);
  region.word(1, 3).store(5);
  EXPECT_EQ(region.read_faults(), 0u);
  EXPECT_EQ(region.write_faults(), 1u);
  EXPECT_EQ(region.behind(1, 3).load(), 5u);
  EXPECT_EQ(region.last_address(), reinterpret_cast<std::uint64_t>(region.page(1)) + 3 * 8);
}

TEST_P(FaultEngineTest, write_after_read_faults_once_more) {
  TestRegion region(GetParam(), 1);
  region.word(0).load();
  region.word(0).store(1);
  region.word(0, 9).store(2);
  EXPECT_EQ(region.read_faults(), 1u);
  EXPECT_EQ(region.write_faults(), 1u);
}

TEST_P(FaultEngineTest, atomic_update_of_a_missing_page_ends_writable) {
  TestRegion region(GetParam(), 1);
  region.behind(0).store(41);
  region.word(0).fetch_add(1);
  EXPECT_EQ(region.behind(0).load(), 42u);
  EXPECT_EQ(region.write_faults(), 1u);
}

// Of the program's own handler, which is there before the engine; a death test would not do, as a forked child has no
// global memory anyway.
class OwnSegvHandler {
 public:
  OwnSegvHandler() {
    struct sigaction own {};
    own.sa_handler = [](int) { siglongjmp(g_place, 1); };
    own.sa_flags = SA_NODEFER;
    CHECK(::sigaction(SIGSEGV, &own, &before_) == 0, errno);
  }
  ~OwnSegvHandler() { ::sigaction(SIGSEGV, &before_, nullptr); }
  template <typename Access>
  bool is_raised_by(Access access) const {
    if (sigsetjmp(g_place, 1) != 0) return true;
    access();
    return false;
  }

 private:
  static inline sigjmp_buf g_place;
  struct sigaction before_ {};
};

TEST_P(FaultEngineTest, limit_forbids_what_protect_allows) {
  const OwnSegvHandler segv;
  TestRegion region(GetParam(), 4);
  region.word(1).store(7);
  region.limit(1, 2, Protection::kRead);
  EXPECT_FALSE(segv.is_raised_by([&] { EXPECT_EQ(region.word(1).load(), 7u); }));
  EXPECT_TRUE(segv.is_raised_by([&] { region.word(1).store(8); }));
  EXPECT_TRUE(segv.is_raised_by([&] { region.word(2).store(8); }));
  EXPECT_FALSE(segv.is_raised_by([&] { region.word(3).store(8); }));
  region.limit(1, 2, Protection::kReadWrite);
  for (const std::size_t page : {1, 2, 3}) region.word(page).store(9);
  EXPECT_EQ(region.behind(1).load(), 9u);
}

TEST_P(FaultEngineTest, limit_to_nothing_keeps_the_bytes) {
  const OwnSegvHandler segv;
  TestRegion region(GetParam(), 2);
  region.word(0).store(5);
  region.limit(0, 1, Protection::kNone);
  EXPECT_TRUE(segv.is_raised_by([&] { (void)region.word(0).load(); }));
  EXPECT_FALSE(segv.is_raised_by([&] { (void)region.word(1).load(); }));
  region.limit(0, 1, Protection::kReadWrite);
  EXPECT_EQ(region.word(0).load(), 5u);
}

TEST_P(FaultEngineTest, downgraded_page_reads_and_faults_on_write) {
  TestRegion region(GetParam(), 1);
  region.word(0).store(1);
  for (unsigned round = 1; round <= 3; ++round) {
    region.set(0, 1, Protection::kRead);
    EXPECT_EQ(region.word(0).load(), round);
    EXPECT_EQ(region.write_faults(), round);
    region.word(0).store(round + 1);
    EXPECT_EQ(region.write_faults(), round + 1);
  }
  EXPECT_EQ(region.read_faults(), 0u);
}

TEST_P(FaultEngineTest, dropped_page_faults_on_read_and_shows_new_bytes) {
  TestRegion region(GetParam(), 1);
  region.word(0).store(1);
  for (const Protection held : {Protection::kReadWrite, Protection::kRead}) {
    region.set(0, 1, held);
    const unsigned before = region.read_faults();
    region.set(0, 1, Protection::kNone);
    region.behind(0).store(100 + before);
    EXPECT_EQ(region.word(0).load(), 100 + before);
    EXPECT_EQ(region.read_faults(), before + 1);
  }
}

// Dropping a read-only page leaves a write-protect mark in the page table of userfaultfd engines.
TEST_P(FaultEngineTest, page_dropped_while_read_only_becomes_fully_writable) {
  TestRegion region(GetParam(), 1);
  region.word(0).load();
  region.set(0, 1, Protection::kNone);
  region.set(0, 1, Protection::kReadWrite);
  region.word(0).store(3);
  EXPECT_EQ(region.write_faults(), 0u);
  EXPECT_EQ(region.behind(0).load(), 3u);
}

TEST_P(FaultEngineTest, page_dropped_while_writable_becomes_read_only) {
  TestRegion region(GetParam(), 1);
  region.word(0).store(1);
  region.set(0, 1, Protection::kNone);
  region.set(0, 1, Protection::kRead);
  EXPECT_EQ(region.word(0).load(), 1u);
  EXPECT_EQ(region.faults(), 1u);
  region.word(0).store(2);
  EXPECT_EQ(region.write_faults(), 2u);
}

TEST_P(FaultEngineTest, discarded_page_reads_zero_again) {
  TestRegion region(GetParam(), 2);
  region.word(0).store(9);
  region.word(1).store(8);
  region.set(1, 1, Protection::kRead);
  region.set(0, 2, Protection::kNone);
  region.frames().discard(0, 2 * kPageBytes);
  EXPECT_EQ(region.frames().resident_bytes(), 0u);
  EXPECT_EQ(region.word(0).load(), 0u);
  EXPECT_EQ(region.word(1).load(), 0u);
  EXPECT_EQ(region.read_faults(), 2u);
  region.word(1).store(1);
  EXPECT_EQ(region.behind(1).load(), 1u);
}

TEST_P(FaultEngineTest, hole_reads_zero_and_shares_its_frame_with_the_runtime_view) {
  TestRegion region(GetParam(), 2);
  EXPECT_EQ(region.word(0, 511).load(), 0u);
  region.behind(0, 511).store(4);
  EXPECT_EQ(region.word(0, 511).load(), 4u);
  region.word(1).store(6);  // a hole written first
  EXPECT_EQ(region.behind(1).load(), 6u);
  EXPECT_EQ(region.faults(), 2u);
}

TEST_P(FaultEngineTest, one_call_protects_a_run_of_pages_holes_included) {
  constexpr std::size_t kPages = 3 * kBlockPages;
  TestRegion region(GetParam(), kPages);
  for (std::size_t i = 0; i < kPages; ++i) {
    if (i % 7 < 3) region.behind(i).store(i);  // runs of frames and of holes
  }
  region.set(0, kPages, Protection::kRead);
  for (std::size_t i = 0; i < kPages; ++i) EXPECT_EQ(region.word(i).load(), i % 7 < 3 ? i : 0);
  EXPECT_EQ(region.faults(), 0u);
  region.set(0, kBlockPages, Protection::kReadWrite);
  for (std::size_t i = 0; i < kPages; ++i) region.word(i).store(i + 1);
  EXPECT_EQ(region.write_faults(), kPages - kBlockPages);
  region.set(0, kPages, Protection::kNone);
  for (std::size_t i = 0; i < kPages; ++i) EXPECT_EQ(region.word(i).load(), i + 1);
  EXPECT_EQ(region.read_faults(), kPages);
}

TEST_P(FaultEngineTest, bulk_grant_keeps_every_scattered_page_apart) {
  TestRegion region(GetParam(), kBlockPages);
  for (std::size_t i = 0; i < kBlockPages; i += 3) region.set(i, 1, Protection::kReadWrite);
  for (std::size_t i = 0; i < kBlockPages; ++i) region.word(i).store(i);
  EXPECT_EQ(region.write_faults(), kBlockPages - (kBlockPages + 2) / 3);
  region.set(0, kBlockPages, Protection::kRead);
  for (std::size_t i = 1; i < kBlockPages; i += 2) region.set(i, 1, Protection::kNone);
  for (std::size_t i = 0; i < kBlockPages; ++i) EXPECT_EQ(region.word(i).load(), i);
  EXPECT_EQ(region.read_faults(), kBlockPages / 2);
}

TEST_P(FaultEngineTest, applying_a_protection_again_changes_nothing) {
  TestRegion region(GetParam(), 2);
  region.set(0, 1, Protection::kRead);
  region.set(1, 1, Protection::kReadWrite);
  region.engine().protect(region.page(0), kPageBytes, Protection::kRead, Protection::kRead);
  region.engine().protect(region.page(1), kPageBytes, Protection::kReadWrite, Protection::kReadWrite);
  region.word(0).load();
  region.word(1).store(1);
  EXPECT_EQ(region.faults(), 0u);
  region.word(0).store(1);
  EXPECT_EQ(region.write_faults(), 1u);
}

// What swapping does: the kernel drops page table entries behind the engine's back.
TEST_P(FaultEngineTest, access_survives_page_table_entries_lost_to_the_kernel) {
  TestRegion region(GetParam(), 2);
  region.word(0).store(1);
  region.behind(1).store(2);
  region.word(1).load();
  ASSERT_EQ(::madvise(region.page(0), 2 * kPageBytes, MADV_DONTNEED), 0);
  EXPECT_EQ(region.word(0).load(), 1u);
  region.word(0).store(3);
  EXPECT_EQ(region.word(1).load(), 2u);
  EXPECT_EQ(region.write_faults() + region.read_faults() > 2, GetParam() != FaultEngineKind::kSigsegv);
  const unsigned before = region.write_faults();
  region.word(1).store(4);  // still only readable
  EXPECT_EQ(region.write_faults(), before + 1);
}

TEST_P(FaultEngineTest, locked_memory_can_be_dropped) {
  TestRegion region(GetParam(), 3);
  region.word(1).store(1);
  if (::mlock(region.page(1), kPageBytes) != 0) GTEST_SKIP() << "mlock is not permitted here";
  region.set(0, 3, Protection::kNone);
  EXPECT_EQ(region.word(1).load(), 1u);
  EXPECT_EQ(region.read_faults(), 1u);
}

TEST_P(FaultEngineTest, system_calls_on_missing_pages_do_as_kernel_faults_says) {
  TestRegion region(GetParam(), 4);
  region.behind(0).store(0x1234);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const bool works = region.engine().kernel_faults();
  errno = 0;
  EXPECT_EQ(::write(ends[1], region.page(0), 8), works ? 8 : -1);
  EXPECT_EQ(errno, works ? 0 : EFAULT);
  EXPECT_EQ(region.read_faults(), works ? 1u : 0u);

  const int zeros = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  region.set(1, 1, Protection::kRead);
  errno = 0;
  EXPECT_EQ(::read(zeros, region.page(1), kPageBytes), works ? static_cast<ssize_t>(kPageBytes) : -1);
  EXPECT_EQ(errno, works ? 0 : EFAULT);
  EXPECT_EQ(region.write_faults(), works ? 1u : 0u);

  region.set(2, 1, Protection::kReadWrite);  // an accessible page works with every engine
  EXPECT_EQ(::read(zeros, region.page(2), kPageBytes), static_cast<ssize_t>(kPageBytes));
  for (const int descriptor : {ends[0], ends[1], zeros}) ::close(descriptor);
}

TEST_P(FaultEngineTest, removed_range_can_be_mapped_and_added_anew) {
  for (std::uint64_t round = 0; round < 3; ++round) {
    TestRegion region(GetParam(), 8);
    EXPECT_EQ(region.word(3).load(), 0u);
    region.word(3).store(round);
    region.set(4, 4, Protection::kRead);
  }
}

TEST_P(FaultEngineTest, engine_serves_several_ranges) {
  struct TwoRanges final : FaultHandler {
    std::atomic<FaultEngine*> engine{nullptr};
    std::atomic<unsigned> faults{0};
    bool fault(std::uint64_t address, FaultKind, bool) override {
      ++faults;
      engine.load()->protect(reinterpret_cast<std::byte*>(address & ~(kPageBytes - 1)), kPageBytes, Protection::kNone,
                             Protection::kReadWrite);
      return true;
    }
  } handler;
  const auto window = must(Window::reserve(kTestWindow, 16 * kPageBytes));
  const auto low = must(PageFrames::map(window->base(), 4 * kPageBytes));
  auto high = must(PageFrames::map(window->base() + 8 * kPageBytes, 8 * kPageBytes));
  const auto engine = must(FaultEngine::create(GetParam(), handler));
  handler.engine = engine.get();
  must(engine->add(low->program_view(), low->bytes()));
  must(engine->add(high->program_view(), high->bytes()));
  low->program_view()[kPageBytes] = std::byte{1};
  high->program_view()[kPageBytes] = std::byte{2};
  engine->remove(high->program_view(), high->bytes());
  high.reset();
  low->program_view()[0] = std::byte{3};
  EXPECT_EQ(handler.faults, 3u);
  EXPECT_EQ(low->runtime_view()[kPageBytes], std::byte{1});
  engine->remove(low->program_view(), low->bytes());
}

TEST_P(FaultEngineTest, region_of_terabytes_costs_what_is_touched) {
#ifdef GALLOCY_SANITIZE_THREAD
  GTEST_SKIP() << "ThreadSanitizer leaves no terabytes of addresses";
#endif
  constexpr std::size_t kPages = (std::size_t{8} << 40) / kPageBytes;
  const auto window = must(Window::reserve(kTestWindow, kPages * kPageBytes));
  struct Grant final : FaultHandler {
    std::atomic<FaultEngine*> engine{nullptr};
    bool fault(std::uint64_t address, FaultKind, bool) override {
      engine.load()->protect(reinterpret_cast<std::byte*>(address & ~(kPageBytes - 1)), kPageBytes, Protection::kNone,
                             Protection::kReadWrite);
      return true;
    }
  } handler;
  const auto frames = must(PageFrames::map(window->base(), window->bytes()));
  const auto engine = must(FaultEngine::create(GetParam(), handler));
  handler.engine = engine.get();
  must(engine->add(frames->program_view(), frames->bytes()));
  for (std::size_t page = 1; page < kPages; page *= 8) {
    frames->program_view()[page * kPageBytes] = std::byte{1};
    frames->program_view()[(kPages - page) * kPageBytes] = std::byte{2};
  }
  EXPECT_LE(frames->resident_bytes(), 64 * kPageBytes);
  EXPECT_EQ(frames->runtime_view()[(kPages - 1) * kPageBytes], std::byte{2});
  engine->remove(frames->program_view(), frames->bytes());
}

// Those that begin in the region; elsewhere an allocator may map as it likes.
std::size_t mapping_count(const TestRegion& region, std::size_t pages) {
  const auto begin = reinterpret_cast<std::uint64_t>(region.page(0));
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);)
    count += std::stoull(line, nullptr, 16) - begin < pages * kPageBytes;
  return count;
}

TEST(SigsegvEngineTest, mappings_merge_again_when_neighbours_are_equal) {
  constexpr std::size_t kPages = 512;
  TestRegion region(FaultEngineKind::kSigsegv, kPages);
  for (std::size_t i = 0; i < kPages; i += 2) region.set(i, 1, Protection::kRead);
  EXPECT_EQ(mapping_count(region, kPages), kPages);
  for (std::size_t i = 1; i < kPages; i += 2) region.set(i, 1, Protection::kRead);
  EXPECT_EQ(mapping_count(region, kPages), 1);
}

TEST(SigsegvEngineDeathTest, too_many_mappings_end_with_advice) {
  std::size_t limit = 0;
  std::ifstream("/proc/sys/vm/max_map_count") >> limit;
  if (limit > 200'000) GTEST_SKIP() << "vm.max_map_count is " << limit << ", too much to use up in a test";
  EXPECT_EXIT(
      {
        TestRegion region(FaultEngineKind::kSigsegv, limit + 2);
        for (std::size_t i = 0; i < limit; i += 2) region.set(i, 1, Protection::kRead);
      },
      testing::ExitedWithCode(static_cast<int>(ErrorCode::kOutOfMemory)), "sysctl -w vm.max_map_count");
}

TEST(FaultEngineNameTest, names_are_found_and_others_refused) {
  for (const FaultEngineKind kind : kFaultEngineKinds) EXPECT_EQ(fault_engine_by_name(name_of(kind)).value(), kind);
  const auto unknown = fault_engine_by_name("mprotect");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(unknown.error().message, testing::HasSubstr("uffd-sigbus"));
}

}  // namespace
}  // namespace gallocy::os
