// The journal on real files, each of whose writes may be torn.
#include "runtime/durable_disk.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/prng.h"
#include "runtime/testing/notes.h"

namespace gallocy::runtime {
namespace {

namespace fs = std::filesystem;
using durable::Note;

using namespace testing;

class DurableDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gallocy-durable-disk-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::unique_ptr<DurableDisk> open() const {
    auto disk = DurableDisk::open(folder_, kSelf);
    EXPECT_TRUE(disk) << disk.error().message;
    return disk ? *std::move(disk) : nullptr;
  }
  // Each is a write of its own.
  void write(const std::vector<std::vector<Note>>& writes) const {
    std::atomic<std::uint64_t> written{0};
    const auto disk = open();
    disk->start({.written =
                     [&](std::uint64_t number) {
                       written = number;
                       written.notify_one();
                     },
                 .full = [] {}});
    for (const auto& notes : writes) {
      const std::uint64_t number = disk->write(notes);
      for (auto so_far = written.load(); so_far < number; so_far = written) written.wait(so_far);
    }
  }
  std::string bytes_of_segment() const {
    std::ifstream file(segment(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void set_segment(const std::string& bytes) const { std::ofstream(segment(), std::ios::binary) << bytes; }
  std::string segment() const { return folder_ + "/log-0000000000000001"; }
  static std::byte first_of_pages(const durable::Kept& kept) {
    std::byte byte{};
    const auto& blocks = kept.blocks;
    if (blocks.contains(kBlock)) blocks.at(kBlock).image.read(3 * kPageBytes, std::span(&byte, 1));
    return byte;
  }

  std::string folder_;
};

TEST_F(DurableDiskTest, has_the_writes_before_one_that_is_torn_anywhere) {
  write({{epoch(1), begun(false), pages(std::byte{1})}});
  const std::string before = bytes_of_segment();
  write({{epoch(2), pages(std::byte{2})}});
  const std::string whole = bytes_of_segment();
  Prng random(1);
  for (std::size_t kept = before.size(); kept <= whole.size(); kept += 1 + (kept - before.size()) / 5) {
    for (const int rest : {0, 1, 2}) {  // is cut off, zeros, noise
      std::string torn = whole.substr(0, kept);
      while (rest > 0 && torn.size() < whole.size()) torn += rest == 1 ? '\0' : static_cast<char>(random.below(256));
      set_segment(torn);
      const auto disk = open();
      ASSERT_NE(disk, nullptr);
      const bool all = torn == whole;
      EXPECT_EQ(disk->found().epoch, Epoch{all ? 2u : 1u}) << kept;
      EXPECT_EQ(first_of_pages(disk->found()), std::byte{all ? std::uint8_t{2} : std::uint8_t{1}}) << kept;
    }
  }
}

TEST_F(DurableDiskTest, goes_on_after_a_torn_write) {
  write({{epoch(1), begun(false), pages(std::byte{1})}, {epoch(2), pages(std::byte{2})}});
  const std::string whole = bytes_of_segment();
  set_segment(whole.substr(0, whole.size() - 100));
  write({{pages(std::byte{3})}, {epoch(4)}});
  const auto disk = open();
  EXPECT_EQ(disk->found().epoch, Epoch{4});
  EXPECT_EQ(first_of_pages(disk->found()), std::byte{3});
}

TEST_F(DurableDiskTest, refuses_what_was_damaged_and_says_what_to_do) {
  write({{epoch(1), begun(false), pages(std::byte{1})}, {epoch(2), pages(std::byte{2})}});
  std::string bytes = bytes_of_segment();
  bytes[bytes.size() / 3] = static_cast<char>(bytes[bytes.size() / 3] ^ 4);
  set_segment(bytes);
  const auto disk = DurableDisk::open(folder_, kSelf);
  ASSERT_FALSE(disk);
  EXPECT_EQ(disk.error().code, ErrorCode::kProtocol);
  EXPECT_NE(disk.error().message.find(folder_), std::string::npos);
  EXPECT_NE(disk.error().message.find("remove this folder"), std::string::npos);
}

}  // namespace
}  // namespace gallocy::runtime
