#include "personality/mapped_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "personality/address_space.h"

namespace gallocy::personality {
namespace {

class MappedFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &as_started_), 0);
    const rlimit enough{.rlim_cur = 4096, .rlim_max = as_started_.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &enough) != 0) GTEST_SKIP() << "too few descriptors (ulimit -Hn)";
    std::ofstream(path_) << "contents";
    programs_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(programs_, 0);
  }
  void TearDown() override {
    ::close(programs_);
    std::filesystem::remove(path_);
    ::setrlimit(RLIMIT_NOFILE, &as_started_);
  }

  rlimit as_started_{};
  const std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("gallocy-mapped-" + std::to_string(::getpid()));
  int programs_ = -1;
  Descriptors descriptors_;
  MappedFiles files_{descriptors_};
};

TEST_F(MappedFilesTest, a_file_stays_when_the_program_has_closed_it) {
  const int file = files_.keep(programs_);
  ASSERT_NE(file, kNoFile);
  const int own = files_.descriptor(file);
  EXPECT_TRUE(descriptors_.is_runtimes(own));
  EXPECT_NE(files_.keep(programs_), file) << "each mapping has its own";
  EXPECT_EQ(path_of(own), path_.string());
  files_.forget(file);
  EXPECT_EQ(files_.descriptor(file), -1);
  EXPECT_FALSE(descriptors_.is_runtimes(own));
  EXPECT_LT(::fcntl(own, F_GETFD), 0);
}

TEST_F(MappedFilesTest, a_file_is_opened_by_its_path_while_that_is_there) {
  const int file = files_.keep(programs_);
  files_.keep_path(file);
  EXPECT_EQ(files_.descriptor(file), -1);
  ASSERT_TRUE(files_.open(file));
  char bytes[8] = {};
  EXPECT_EQ(::pread(files_.descriptor(file), bytes, sizeof bytes, 0), 8);
  EXPECT_EQ(std::string(bytes, sizeof bytes), "contents");
  files_.close(file);
  EXPECT_EQ(files_.descriptor(file), -1);
  std::filesystem::remove(path_);
  EXPECT_FALSE(files_.open(file));
}

TEST_F(MappedFilesTest, a_file_that_is_forgotten_is_not_opened_again) {
  const int file = files_.keep(programs_);
  files_.keep_path(file);
  files_.forget(file);
  EXPECT_FALSE(files_.open(file));
}

TEST_F(MappedFilesTest, descriptors_are_scarce_near_the_limit) {
  const int file = files_.keep(programs_);
  EXPECT_FALSE(files_.is_scarce(file));
  const rlimit few{.rlim_cur = static_cast<rlim_t>(files_.descriptor(file)) + 10, .rlim_max = as_started_.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  EXPECT_TRUE(files_.is_scarce(file));
}

}  // namespace
}  // namespace gallocy::personality
