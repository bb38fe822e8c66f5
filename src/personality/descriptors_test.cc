#include "personality/descriptors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace gallocy::personality {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

long number(const void* address) { return reinterpret_cast<long>(address); }

class DescriptorsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &as_started_), 0);
    if (as_started_.rlim_cur <= kFirstRuntimeDescriptor + 10) GTEST_SKIP() << "too few descriptors (ulimit -n)";
    low_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    runtimes_ = ::fcntl(low_, F_DUPFD_CLOEXEC, kFirstRuntimeDescriptor + 1);
    descriptors_.begin({.rlim_cur = 64, .rlim_max = as_started_.rlim_max});
    programs_ = ::fcntl(low_, F_DUPFD_CLOEXEC, kFirstRuntimeDescriptor + 2);
    ASSERT_EQ(runtimes_ + 1, programs_);
  }
  void TearDown() override {
    ::setrlimit(RLIMIT_NOFILE, &as_started_);
    for (const int fd : {low_, runtimes_, programs_}) {
      if (fd >= 0) ::close(fd);
    }
  }

  rlimit as_started_{};
  int low_ = -1, runtimes_ = -1, programs_ = -1;
  Descriptors descriptors_;
};

TEST_F(DescriptorsTest, what_was_open_far_up_before_the_program_began_is_the_runtimes) {
  EXPECT_FALSE(descriptors_.is_runtimes(low_));
  EXPECT_TRUE(descriptors_.is_runtimes(runtimes_));
  EXPECT_FALSE(descriptors_.is_runtimes(programs_)) << "the program has opened it";
  EXPECT_FALSE(descriptors_.is_runtimes(-1));
  EXPECT_FALSE(descriptors_.is_runtimes((1L << 32) + runtimes_)) << "a number that is no descriptor";
}

TEST_F(DescriptorsTest, the_program_closes_ranges_but_for_the_runtimes) {
  EXPECT_EQ(descriptors_.close_range({.number = SYS_close_range, .arguments = {runtimes_, programs_, 0}}), 0);
  EXPECT_TRUE(is_open(runtimes_));
  EXPECT_FALSE(is_open(programs_));
  EXPECT_EQ(descriptors_.close_range({.number = SYS_close_range, .arguments = {5, 4, 0}}), -EINVAL);
}

TEST_F(DescriptorsTest, what_is_the_runtimes_no_more_the_program_may_have) {
  descriptors_.keep(programs_);
  EXPECT_TRUE(descriptors_.is_runtimes(programs_));
  descriptors_.close(programs_);
  EXPECT_FALSE(descriptors_.is_runtimes(programs_));
  EXPECT_FALSE(is_open(programs_));
}

TEST_F(DescriptorsTest, a_child_keeps_one_of_the_runtimes) {
  descriptors_.keep(programs_);
  const pid_t child = descriptors_.fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    descriptors_.close_runtimes(programs_);
    ::_exit(is_open(low_) && !is_open(runtimes_) && is_open(programs_) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(is_open(runtimes_));
}

TEST_F(DescriptorsTest, the_program_sees_the_limit_that_it_was_started_with_and_changes_it) {
  rlimit seen{};
  EXPECT_EQ(descriptors_.limit_call({.number = SYS_getrlimit, .arguments = {RLIMIT_NOFILE, number(&seen)}}), 0);
  EXPECT_EQ(seen.rlim_cur, 64u);
  const rlimit wanted{.rlim_cur = 128, .rlim_max = as_started_.rlim_max};
  EXPECT_EQ(descriptors_.limit_call(
                {.number = SYS_prlimit64, .arguments = {0, RLIMIT_NOFILE, number(&wanted), number(&seen)}}),
            0);
  EXPECT_EQ(seen.rlim_cur, 64u);
  EXPECT_EQ(descriptors_.limit_call({.number = SYS_getrlimit, .arguments = {RLIMIT_NOFILE, number(&seen)}}), 0);
  EXPECT_EQ(seen.rlim_cur, 128u);
  EXPECT_EQ(descriptors_.limit_call({.number = SYS_getrlimit, .arguments = {RLIMIT_STACK, number(&seen)}}), -ENOSYS);
  const rlimit upside_down{.rlim_cur = 2, .rlim_max = 1};
  EXPECT_EQ(descriptors_.limit_call({.number = SYS_setrlimit, .arguments = {RLIMIT_NOFILE, number(&upside_down)}}),
            -EINVAL);
}

}  // namespace
}  // namespace gallocy::personality
