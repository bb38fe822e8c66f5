#include "personality/address_space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <ostream>

#include "base/ids.h"

namespace gallocy::personality {

void PrintTo(const Change& change, std::ostream* out) {
  static constexpr const char* kNames[] = {"discard", "protect", "move", "write back", "reload", "file released"};
  *out << kNames[static_cast<int>(change.kind)] << std::hex << " [" << change.begin << ", " << change.end << ") to "
       << change.to << std::dec << " protection " << change.protection << " file " << change.file << " offset "
       << change.offset;
}

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Kind = Change::Kind;

constexpr std::uint64_t kP = kPageBytes;
constexpr std::uint64_t kBegin = 1ull << 45;
constexpr std::uint64_t kBrk = kBegin + (1ull << 40);
constexpr std::uint64_t kBrkEnd = kBrk + (1ull << 30);
constexpr std::uint64_t kEnd = kBegin + (1ull << 41);
constexpr int kRead = PROT_READ;
constexpr int kBoth = PROT_READ | PROT_WRITE;
constexpr int kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;

Change discarded(std::uint64_t begin, std::uint64_t end) {
  return {.kind = Kind::kDiscard, .begin = begin, .end = end};
}
Change protected_as(std::uint64_t begin, std::uint64_t end, int protection) {
  return {.kind = Kind::kProtect, .begin = begin, .end = end, .protection = protection};
}
Change of_file(Kind kind, std::uint64_t begin, std::uint64_t end, int file, std::uint64_t offset) {
  return {.kind = kind, .begin = begin, .end = end, .file = file, .offset = offset};
}
Change released(int file) { return {.kind = Kind::kFileReleased, .file = file}; }

class AddressSpaceTest : public testing::Test {
 protected:
  ~AddressSpaceTest() override { space_.check_invariants(); }

  std::uint64_t anonymous(std::uint64_t bytes, int protection = kBoth) {
    return static_cast<std::uint64_t>(
        space_.map({.bytes = bytes, .protection = protection, .flags = kAnonymous}, ignored_));
  }
  std::uint64_t fixed(std::uint64_t address, std::uint64_t bytes, int protection = kBoth) {
    return static_cast<std::uint64_t>(space_.map(
        {.address = address, .bytes = bytes, .protection = protection, .flags = kAnonymous | MAP_FIXED}, ignored_));
  }
  std::uint64_t file(std::uint64_t address, std::uint64_t bytes, int type, int id, std::uint64_t offset) {
    return static_cast<std::uint64_t>(space_.map({.address = address,
                                                  .bytes = bytes,
                                                  .protection = kBoth,
                                                  .flags = type | MAP_FIXED,
                                                  .file = id,
                                                  .offset = offset},
                                                 ignored_));
  }
  std::uint64_t reserve_hint(std::uint64_t address, std::uint64_t bytes, Changes& changes) {
    return static_cast<std::uint64_t>(
        space_.map({.address = address, .bytes = bytes, .protection = kBoth, .flags = kAnonymous}, changes));
  }

  AddressSpace space_{SpaceBounds{.begin = kBegin, .end = kEnd, .brk_begin = kBrk, .brk_end = kBrkEnd}};
  Changes changes_;
  Changes ignored_;
};

TEST_F(AddressSpaceTest, map_of_fresh_memory_needs_no_change) {
  EXPECT_EQ(reserve_hint(0, 3 * kP - 5, changes_), kBegin);
  EXPECT_THAT(changes_, IsEmpty());
  EXPECT_EQ(space_.find(kBegin + 3 * kP - 1)->end, kBegin + 3 * kP);
  EXPECT_EQ(space_.find(kBegin + 3 * kP), nullptr);
}

TEST_F(AddressSpaceTest, map_with_less_permission_protects) {
  EXPECT_EQ(space_.map({.bytes = kP, .protection = PROT_NONE, .flags = kAnonymous}, changes_), long(kBegin));
  EXPECT_EQ(space_.map({.bytes = kP, .protection = PROT_READ | PROT_EXEC, .flags = kAnonymous}, changes_),
            long(kBegin + kP));
  EXPECT_THAT(changes_, ElementsAre(protected_as(kBegin, kBegin + kP, PROT_NONE),
                                    protected_as(kBegin + kP, kBegin + 2 * kP, kRead)));
}

TEST_F(AddressSpaceTest, map_refuses_what_linux_refuses) {
  const auto map = [&](MapRequest request) { return space_.map(request, changes_); };
  EXPECT_EQ(map({.bytes = 0, .flags = kAnonymous}), -EINVAL);
  EXPECT_EQ(map({.bytes = kP, .flags = MAP_ANONYMOUS}), -EINVAL);
  EXPECT_EQ(map({.bytes = ~0ull, .flags = kAnonymous}), -ENOMEM);
  EXPECT_EQ(map({.bytes = 1ull << 42, .flags = kAnonymous}), -ENOMEM);
  EXPECT_EQ(map({.bytes = kP, .flags = MAP_PRIVATE}), -EBADF);
  EXPECT_EQ(map({.bytes = kP, .flags = MAP_PRIVATE, .file = 1, .offset = 12}), -EINVAL);
  EXPECT_EQ(map({.address = kBegin + 1, .bytes = kP, .flags = kAnonymous | MAP_FIXED}), -EINVAL);
  EXPECT_EQ(map({.address = kP, .bytes = kP, .flags = kAnonymous | MAP_FIXED}), -ENOMEM);
  EXPECT_EQ(map({.address = kEnd - kP, .bytes = 2 * kP, .flags = kAnonymous | MAP_FIXED_NOREPLACE}), -EEXIST);
  EXPECT_EQ(space_.area_count(), 0u);
  EXPECT_THAT(changes_, IsEmpty());
}

TEST_F(AddressSpaceTest, place_is_aligned_by_size) {
  anonymous(kP);
  EXPECT_EQ(anonymous(64 << 10), kBegin + kBlockBytes);
  EXPECT_EQ(anonymous(60 << 10), kBegin + kP);
  EXPECT_EQ(anonymous(2 << 20), kBegin + (2 << 20));
  EXPECT_EQ(space_.map({.bytes = 64 << 10, .flags = MAP_PRIVATE, .file = 0}, changes_), long(kBegin + kP + (60 << 10)));
}

TEST_F(AddressSpaceTest, hint_is_honoured_where_free) {
  EXPECT_EQ(reserve_hint(kBegin + 100 * kP + 7, kP, changes_), kBegin + 100 * kP);
  EXPECT_EQ(reserve_hint(kBegin + 99 * kP, 2 * kP, changes_), kBegin);
  EXPECT_EQ(reserve_hint(kBrk, kP, changes_), kBegin + 2 * kP);
  EXPECT_EQ(reserve_hint(kP, kP, changes_), kBegin + 3 * kP);
}

TEST_F(AddressSpaceTest, noreplace_refuses_an_overlap) {
  anonymous(4 * kP);
  MapRequest request{
      .address = kBegin + 3 * kP, .bytes = 2 * kP, .protection = kBoth, .flags = kAnonymous | MAP_FIXED_NOREPLACE};
  EXPECT_EQ(space_.map(request, changes_), -EEXIST);
  request.address += kP;
  EXPECT_EQ(space_.map(request, changes_), long(kBegin + 4 * kP));
}

TEST_F(AddressSpaceTest, freed_space_is_reused_and_clean) {
  const std::uint64_t first = anonymous(8 << 20);
  anonymous(8 << 20);
  EXPECT_EQ(space_.unmap(first, 8 << 20, changes_), 0);
  EXPECT_THAT(changes_,
              ElementsAre(protected_as(first, first + (8 << 20), PROT_NONE), discarded(first, first + (8 << 20))));
  changes_.clear();
  EXPECT_EQ(reserve_hint(0, 8 << 20, changes_), first);
  EXPECT_THAT(changes_, ElementsAre(protected_as(first, first + (8 << 20), kBoth)));
}

TEST_F(AddressSpaceTest, reserved_memory_needs_no_discard) {
  const std::uint64_t begin = anonymous(1ull << 38, PROT_NONE);
  EXPECT_EQ(space_.protect(begin, 4 * kP, kBoth, changes_), 0);
  EXPECT_EQ(space_.unmap(begin, 1ull << 38, changes_), 0);
  EXPECT_THAT(changes_, ElementsAre(protected_as(begin, begin + 4 * kP, kBoth),
                                    protected_as(begin, begin + 4 * kP, PROT_NONE), discarded(begin, begin + 4 * kP)));
}

TEST_F(AddressSpaceTest, fixed_over_an_area_discards_it) {
  const std::uint64_t begin = anonymous(4 * kP);
  EXPECT_EQ(
      space_.map({.address = begin + kP, .bytes = kP, .protection = kRead, .flags = kAnonymous | MAP_FIXED}, changes_),
      long(begin + kP));
  EXPECT_THAT(changes_,
              ElementsAre(discarded(begin + kP, begin + 2 * kP), protected_as(begin + kP, begin + 2 * kP, kRead)));
  EXPECT_EQ(space_.area_count(), 3u);
}

TEST_F(AddressSpaceTest, neighbours_with_equal_attributes_are_one_area) {
  const std::uint64_t begin = anonymous(kP);
  anonymous(kP);
  EXPECT_EQ(space_.area_count(), 1u);
  space_.protect(begin, kP, kRead, changes_);
  EXPECT_EQ(space_.area_count(), 2u);
  space_.protect(begin, kP, kBoth, changes_);
  EXPECT_EQ(space_.area_count(), 1u);
  file(begin + 2 * kP, kP, MAP_PRIVATE, 1, 0);
  file(begin + 3 * kP, kP, MAP_PRIVATE, 1, kP);
  EXPECT_EQ(space_.area_count(), 2u);
  file(begin + 4 * kP, kP, MAP_PRIVATE, 1, kP);
  EXPECT_EQ(space_.area_count(), 3u);
}

TEST_F(AddressSpaceTest, protect_stops_at_a_hole) {
  const std::uint64_t begin = fixed(kBegin, 2 * kP);
  fixed(kBegin + 3 * kP, kP);
  EXPECT_EQ(space_.protect(begin + kP, 3 * kP, kRead, changes_), -ENOMEM);
  EXPECT_THAT(changes_, ElementsAre(protected_as(begin + kP, begin + 2 * kP, kRead)));
  EXPECT_EQ(space_.protect(begin + 2 * kP, 2 * kP, kRead, changes_), -ENOMEM);
  EXPECT_EQ(space_.protect(begin + 1, kP, kRead, changes_), -EINVAL);
  EXPECT_EQ(space_.protect(begin + 2 * kP, 0, kRead, changes_), 0);
  EXPECT_EQ(changes_.size(), 1u);
}

TEST_F(AddressSpaceTest, executable_memory_is_readable) {
  const std::uint64_t begin = anonymous(kP);
  EXPECT_EQ(space_.protect(begin, kP, kBoth | PROT_EXEC, changes_), 0);
  EXPECT_THAT(changes_, IsEmpty());
  EXPECT_EQ(space_.protect(begin, kP, PROT_EXEC, changes_), 0);
  EXPECT_THAT(changes_, ElementsAre(protected_as(begin, begin + kP, kRead)));
}

TEST_F(AddressSpaceTest, shared_file_is_written_back) {
  const std::uint64_t begin = file(kBegin, 3 * kP, MAP_SHARED, 5, 8 * kP);
  EXPECT_EQ(space_.protect(begin, kP, kRead, changes_), 0);
  EXPECT_EQ(space_.unmap(begin, 2 * kP, changes_), 0);
  EXPECT_THAT(changes_, ElementsAre(of_file(Kind::kWriteBack, begin, begin + kP, 5, 8 * kP),
                                    protected_as(begin, begin + kP, kRead),
                                    of_file(Kind::kWriteBack, begin + kP, begin + 2 * kP, 5, 9 * kP),
                                    protected_as(begin, begin + 2 * kP, PROT_NONE), discarded(begin, begin + 2 * kP)));
  changes_.clear();
  EXPECT_EQ(space_.unmap(begin, 9 * kP, changes_), 0);
  EXPECT_EQ(changes_.front(), of_file(Kind::kWriteBack, begin + 2 * kP, begin + 3 * kP, 5, 10 * kP));
  EXPECT_EQ(changes_.back(), released(5));
}

TEST_F(AddressSpaceTest, file_replaced_by_itself_is_not_released) {
  file(kBegin, kP, MAP_PRIVATE, 5, 0);
  space_.map({.address = kBegin, .bytes = kP, .protection = kBoth, .flags = MAP_PRIVATE | MAP_FIXED, .file = 5},
             changes_);
  EXPECT_THAT(changes_, ElementsAre(discarded(kBegin, kBegin + kP)));
}

TEST_F(AddressSpaceTest, brk_moves_within_its_range) {
  EXPECT_EQ(space_.set_brk(0, changes_), long(kBrk));
  EXPECT_EQ(space_.set_brk(kBrk + 100, changes_), long(kBrk + 100));
  EXPECT_EQ(space_.set_brk(kBrk + 3 * kP, changes_), long(kBrk + 3 * kP));
  EXPECT_THAT(changes_, IsEmpty());
  EXPECT_EQ(space_.find(kBrk)->name, "[heap]");
  EXPECT_EQ(space_.find(kBrk)->end, kBrk + 3 * kP);
  EXPECT_EQ(space_.set_brk(kBrkEnd + 1, changes_), long(kBrk + 3 * kP));
  EXPECT_EQ(space_.set_brk(kBrk + 1, changes_), long(kBrk + 1));
  EXPECT_THAT(changes_,
              ElementsAre(protected_as(kBrk + kP, kBrk + 3 * kP, PROT_NONE), discarded(kBrk + kP, kBrk + 3 * kP)));
  fixed(kBrk + 2 * kP, kP);
  EXPECT_EQ(space_.set_brk(kBrk + 3 * kP, changes_), long(kBrk + 1));
}

TEST_F(AddressSpaceTest, discard_depends_on_the_kind_of_area) {
  fixed(kBegin, 2 * kP);
  file(kBegin + 2 * kP, kP, MAP_PRIVATE, 3, 7 * kP);
  file(kBegin + 3 * kP, kP, MAP_SHARED, 3, 0);
  fixed(kBegin + 4 * kP, kP, PROT_NONE);
  EXPECT_EQ(space_.discard(kBegin + kP, 4 * kP, changes_), 0);
  EXPECT_THAT(changes_, ElementsAre(discarded(kBegin + kP, kBegin + 2 * kP),
                                    of_file(Kind::kReload, kBegin + 2 * kP, kBegin + 3 * kP, 3, 7 * kP)));
  changes_.clear();
  EXPECT_EQ(space_.discard(kBegin + kP, 8 * kP, changes_), -ENOMEM);
  EXPECT_EQ(changes_.size(), 2u);
  EXPECT_EQ(space_.discard(kBegin + 1, kP, changes_), -EINVAL);
}

TEST_F(AddressSpaceTest, remap_grows_in_place_where_free) {
  file(kBegin, kP, MAP_PRIVATE, 1, 0);
  EXPECT_EQ(space_.remap(kBegin, kP, 3 * kP, 0, 0, changes_), long(kBegin));
  EXPECT_THAT(changes_, ElementsAre(of_file(Kind::kReload, kBegin + kP, kBegin + 3 * kP, 1, kP)));
  EXPECT_EQ(space_.remap(kBegin, kP, 2 * kP, 0, 0, changes_), -ENOMEM);
  EXPECT_EQ(space_.area_count(), 1u);
}

TEST_F(AddressSpaceTest, remap_moves_where_it_must) {
  fixed(kBegin, 2 * kP);
  fixed(kBegin + 2 * kP, kP, kRead);
  const std::uint64_t to = kBegin + 3 * kP;
  EXPECT_EQ(space_.remap(kBegin + kP, kP, 2 * kP, MREMAP_MAYMOVE, 0, changes_), long(to));
  EXPECT_THAT(changes_, ElementsAre(Change{.kind = Kind::kMove, .begin = kBegin + kP, .end = kBegin + 2 * kP, .to = to},
                                    protected_as(kBegin + kP, kBegin + 2 * kP, PROT_NONE),
                                    discarded(kBegin + kP, kBegin + 2 * kP)));
  changes_.clear();
  EXPECT_EQ(space_.remap(to, 2 * kP, kP, MREMAP_MAYMOVE | MREMAP_FIXED, kBegin, changes_), long(kBegin));
  EXPECT_THAT(changes_, ElementsAre(protected_as(to + kP, to + 2 * kP, PROT_NONE), discarded(to + kP, to + 2 * kP),
                                    discarded(kBegin, kBegin + kP),
                                    Change{.kind = Kind::kMove, .begin = to, .end = to + kP, .to = kBegin},
                                    protected_as(to, to + kP, PROT_NONE), discarded(to, to + kP)));
}

TEST_F(AddressSpaceTest, remap_of_inaccessible_bytes_keeps_them_used) {
  fixed(kBegin, kP);
  space_.protect(kBegin, kP, PROT_NONE, changes_);
  const std::uint64_t to = kBegin + 8 * kP;
  EXPECT_EQ(space_.remap(kBegin, kP, kP, MREMAP_MAYMOVE | MREMAP_FIXED, to, changes_), long(to));
  changes_.clear();
  EXPECT_EQ(space_.unmap(to, kP, changes_), 0);
  EXPECT_THAT(changes_, ElementsAre(discarded(to, to + kP)));
}

TEST_F(AddressSpaceTest, remap_refuses_what_linux_refuses) {
  fixed(kBegin, 2 * kP);
  const auto remap = [&](std::uint64_t from, std::uint64_t old_bytes, std::uint64_t bytes, int flags,
                         std::uint64_t to) { return space_.remap(from, old_bytes, bytes, flags, to, changes_); };
  const int fixed_flags = MREMAP_MAYMOVE | MREMAP_FIXED;
  EXPECT_EQ(remap(kBegin, kP, kP, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0), -EINVAL);
  EXPECT_EQ(remap(kBegin, kP, kP, MREMAP_FIXED, kBegin + 4 * kP), -EINVAL);
  EXPECT_EQ(remap(kBegin + 1, kP, kP, 0, 0), -EINVAL);
  EXPECT_EQ(remap(kBegin, 0, kP, MREMAP_MAYMOVE, 0), -EINVAL);
  EXPECT_EQ(remap(kBegin, kP, 0, MREMAP_MAYMOVE, 0), -EINVAL);
  EXPECT_EQ(remap(kBegin, 2 * kP, kP, fixed_flags, kBegin + kP), -EINVAL);
  EXPECT_EQ(remap(kBegin, kP, kP, fixed_flags, kP), -ENOMEM);
  EXPECT_EQ(remap(kBegin, 3 * kP, 4 * kP, MREMAP_MAYMOVE, 0), -EFAULT);
  EXPECT_EQ(remap(kBegin + 2 * kP, kP, kP, MREMAP_MAYMOVE, 0), -EFAULT);
  EXPECT_THAT(changes_, IsEmpty());
}

TEST_F(AddressSpaceTest, low_range_takes_fixed_and_32_bit_mappings_only) {
  space_.add_range(0x400000, 0x404000);
  EXPECT_EQ(fixed(0x400000, kP), 0x400000u);
  EXPECT_EQ(reserve_hint(0x402000, kP, changes_), kBegin);
  const MapRequest request{.bytes = 3 * kP, .protection = kBoth, .flags = kAnonymous | MAP_32BIT};
  EXPECT_EQ(space_.map(request, changes_), 0x401000);
  EXPECT_EQ(space_.map(request, changes_), long(kBegin + kP));
}

TEST_F(AddressSpaceTest, number_of_areas_is_limited) {
  for (std::size_t i = 0; i < kMaxAreas; ++i) {
    ASSERT_EQ(fixed(kBegin + i * kP, kP, i % 2 == 0 ? kBoth : kRead), kBegin + i * kP);
  }
  const std::uint64_t behind = kBegin + kMaxAreas * kP;
  EXPECT_EQ(fixed(behind, kP), static_cast<std::uint64_t>(-ENOMEM));
  EXPECT_EQ(space_.unmap(kBegin, kP, changes_), 0);
  EXPECT_EQ(fixed(behind, 3 * kP), behind);
  EXPECT_EQ(space_.unmap(behind + kP, kP, changes_), -ENOMEM);
  EXPECT_EQ(space_.protect(behind + kP, kP, kRead, changes_), -ENOMEM);
  EXPECT_EQ(space_.area_count(), kMaxAreas);
}

TEST_F(AddressSpaceTest, maps_text_is_that_of_proc) {
  fixed(kBegin, kP, kRead | PROT_EXEC);
  space_.map({.address = kBegin + 0x10000,
              .bytes = 2 * kP,
              .protection = kBoth,
              .flags = MAP_SHARED | MAP_FIXED,
              .file = 7,
              .offset = 3 * kP,
              .name = "/lib/a\nb"},
             changes_);
  space_.set_brk(kBrk + 1, changes_);
  EXPECT_EQ(space_.maps_text(),
            "200000000000-200000001000 r-xp 00000000 00:00 0 \n"
            "200000010000-200000012000 rw-s 00003000 00:00 8                          /lib/a\\012b\n"
            "210000000000-210000001000 rw-p 00000000 00:00 0                          [heap]\n");
}

}  // namespace
}  // namespace gallocy::personality
