#include "personality/patched_sites.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

namespace gallocy::personality {
namespace {

using Bytes = std::array<unsigned char, kSiteBytes>;
constexpr std::uint64_t kLine = 0x7000;
constexpr Bytes kGetpid{0xb8, 39, 0, 0, 0, 0x0f, 0x05};
constexpr Bytes kSyscall{0x4c, 0x8b, 0x4c, 0x24, 0x08, 0x0f, 0x05};

std::optional<PatchedSite> recognize(std::uint64_t begin, long number, const Bytes& bytes) {
  return recognize_site(begin + 5, number, std::as_bytes(std::span(bytes)));
}

TEST(PatchedSites, AMovedNumberIsPartOfTheSite) {
  EXPECT_EQ(recognize(kLine, 39, kGetpid), (PatchedSite{.call_at = kLine + 5, .number = 39}));
}

TEST(PatchedSites, ANumberThatCameAnotherWayIsNot) { EXPECT_EQ(recognize(kLine, 40, kGetpid), std::nullopt); }

TEST(PatchedSites, TheFunctionSyscallHasItsNumberInRax) {
  EXPECT_EQ(recognize(kLine, 186, kSyscall), (PatchedSite{.call_at = kLine + 5, .number = kNumberInRax}));
}

TEST(PatchedSites, OtherInstructionsBeforeTheCallAreLeft) {
  for (std::size_t i = 0; i < kSiteBytes; ++i) {
    Bytes changed = kSyscall;
    changed[i] ^= 1;
    EXPECT_EQ(recognize(kLine, 186, changed), std::nullopt) << i;
  }
}

TEST(PatchedSites, TheEightBytesThatAreWrittenLieInOneCacheLine) {
  for (std::uint64_t at = 0; at < 64; ++at) {
    EXPECT_EQ(recognize(kLine + at, 39, kGetpid).has_value(), at <= 56) << at;
  }
}

TEST(PatchedSites, TheJumpKeepsTheSystemCallAtItsEnd) {
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
    const auto bytes = patched_bytes(slot);
    EXPECT_EQ(bytes[5], std::byte{0x0f});
    EXPECT_EQ(bytes[6], std::byte{0x05});
    std::uint32_t pointer = 0;
    std::memcpy(&pointer, bytes.data() + 3, sizeof pointer);
    EXPECT_EQ(pointer, kSlotTable + slot * 8);
  }
}

TEST(PatchedSites, ASiteKeepsItsSlotAndNoOtherGetsIt) {
  PatchedSites sites;
  std::set<std::uint32_t> slots;
  for (std::uint32_t i = 0; i < kNumberedSlots; ++i) {
    const PatchedSite site{.call_at = 0x1000 + i, .number = 1};
    const auto slot = sites.slot_for(site);
    ASSERT_TRUE(slot);
    EXPECT_LT(*slot, kNumberedSlots);
    EXPECT_EQ(sites.slot_for(site), slot);
    slots.insert(*slot);
  }
  EXPECT_EQ(slots.size(), kNumberedSlots);
  EXPECT_EQ(sites.slot_for({.call_at = 0x1000, .number = 2}), std::nullopt);  // another call at that place, none left
  const auto open = sites.slot_for({.call_at = 0x1000, .number = kNumberInRax});
  ASSERT_TRUE(open);
  EXPECT_GE(*open, kNumberedSlots);
}

}  // namespace
}  // namespace gallocy::personality
