#include "os/page_frames.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "os/fault_engine_testing.h"

namespace gallocy::os {
namespace {

using testing::HasSubstr;

TEST(WindowTest, taken_addresses_are_refused_and_named) {
  const auto mine = must(Window::reserve(kTestWindow, 16 * kPageBytes));
  const auto again = Window::reserve(mine->base() + 8 * kPageBytes, 16 * kPageBytes);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kAddressInUse);
  EXPECT_THAT(again.error().message, HasSubstr(fmt::format("{:x}-", mine->base())));
}

TEST(WindowTest, whole_window_can_be_reserved_and_given_back) {
#ifdef GALLOCY_SANITIZE_THREAD
  GTEST_SKIP() << "ThreadSanitizer keeps the window's addresses for itself";
#endif
  for (int round = 0; round < 2; ++round) {
    const auto window = must(Window::reserve(kWindowBase, kWindowBytes));
    EXPECT_EQ(window->base(), kWindowBase);
  }
}

TEST(WindowTest, address_space_limit_is_named) {
#if defined(GALLOCY_SANITIZE_ADDRESS) || defined(GALLOCY_SANITIZE_THREAD)
  GTEST_SKIP() << "the sanitizers cannot work with a limit on addresses";
#endif
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit limit{.rlim_cur = 1 << 30, .rlim_max = 1 << 30};
    ::setrlimit(RLIMIT_AS, &limit);
    const auto window = Window::reserve(kWindowBase, kWindowBytes);
    const bool good = !window && window.error().code == ErrorCode::kOutOfMemory &&
                      window.error().message.find("ulimit -v") != std::string::npos;
    ::_exit(good ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

class PageFramesTest : public testing::Test {
 protected:
  static constexpr std::size_t kPages = 512;
  std::unique_ptr<Window> window_ = must(Window::reserve(kTestWindow, kPages* kPageBytes));
};

TEST_F(PageFramesTest, views_show_the_same_frames) {
  const auto frames = must(PageFrames::map(window_->base(), window_->bytes()));
  ASSERT_EQ(::mprotect(frames->program_view(), frames->bytes(), PROT_READ), 0);
  frames->runtime_view()[5 * kPageBytes + 1] = std::byte{7};
  EXPECT_EQ(frames->program_view()[5 * kPageBytes + 1], std::byte{7});
  EXPECT_EQ(reinterpret_cast<std::uint64_t>(frames->program_view()), window_->base());
}

TEST_F(PageFramesTest, populate_allocates_zeroed_frames_and_keeps_bytes) {
  const auto frames = must(PageFrames::map(window_->base(), window_->bytes()));
  EXPECT_EQ(frames->resident_bytes(), 0u);
  frames->runtime_view()[0] = std::byte{1};
  must(frames->populate(0, kPages * kPageBytes));
  EXPECT_EQ(frames->resident_bytes(), kPages * kPageBytes);
  EXPECT_EQ(frames->runtime_view()[0], std::byte{1});
  EXPECT_EQ(frames->runtime_view()[kPageBytes], std::byte{0});
}

// A profiling timer interrupts fallocate, which then gives up what it did.
TEST_F(PageFramesTest, populate_ends_under_a_fast_timer) {
  constexpr std::size_t kManyPages = 64 << 20 >> 12;
  const auto window = must(Window::reserve(0, kManyPages * kPageBytes));
  const auto frames = must(PageFrames::map(window->base(), window->bytes()));
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGALRM, &action, &before);
  const itimerval often{.it_interval = {0, 2000}, .it_value = {0, 2000}}, never{};
  ::setitimer(ITIMER_REAL, &often, nullptr);
  const auto populated = frames->populate(0, window->bytes());
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  EXPECT_TRUE(populated.has_value());
  EXPECT_EQ(frames->resident_bytes(), window->bytes());
}

TEST_F(PageFramesTest, discard_gives_frames_back) {
  const auto frames = must(PageFrames::map(window_->base(), window_->bytes()));
  std::memset(frames->runtime_view(), 1, frames->bytes());
  frames->discard(kPageBytes, 3 * kPageBytes);
  EXPECT_EQ(frames->resident_bytes(), (kPages - 3) * kPageBytes);
  EXPECT_EQ(frames->runtime_view()[0], std::byte{1});
  EXPECT_EQ(frames->runtime_view()[kPageBytes], std::byte{0});
  EXPECT_EQ(frames->runtime_view()[4 * kPageBytes], std::byte{1});
}

TEST_F(PageFramesTest, destroyed_region_leaves_the_reservation) {
  { const auto frames = must(PageFrames::map(window_->base() + kPageBytes, 4 * kPageBytes)); }
  EXPECT_FALSE(Window::reserve(window_->base(), window_->bytes()));
  const auto again = must(PageFrames::map(window_->base(), window_->bytes()));
  EXPECT_EQ(again->runtime_view()[kPageBytes], std::byte{0});
}

TEST_F(PageFramesTest, file_size_limit_is_named) {
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto frames = PageFrames::map(window_->base(), window_->bytes());
  ::setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(frames);
  EXPECT_EQ(frames.error().code, ErrorCode::kOutOfMemory);
  EXPECT_THAT(frames.error().message, HasSubstr("ulimit -f"));
}

// Neither view may be in a core dump: the kernel would walk every page of a sparse region.
TEST_F(PageFramesTest, views_are_left_out_of_core_dumps_and_children) {
  const auto frames = must(PageFrames::map(window_->base(), window_->bytes()));
  std::ifstream maps("/proc/self/smaps");
  int views = 0;
  bool in_view = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("memfd:gallocy") != std::string::npos) in_view = true;
    if (in_view && line.starts_with("VmFlags:")) {
      EXPECT_THAT(line, HasSubstr(" dc"));  // not copied on fork
      EXPECT_THAT(line, HasSubstr(" dd"));  // not dumped
      in_view = false;
      ++views;
    }
  }
  EXPECT_EQ(views, 2);
}

}  // namespace
}  // namespace gallocy::os
