#include "heap/size_classes.h"

#include <gtest/gtest.h>

namespace gallocy::heap {
namespace {

TEST(SizeClasses, each_size_has_the_smallest_class_that_holds_it) {
  for (std::size_t bytes = 1; bytes <= kMaxClassBytes; ++bytes) {
    const unsigned c = class_of(bytes);
    ASSERT_LT(c, kClassCount);
    ASSERT_GE(kSizeClasses[c].bytes, bytes);
    if (c > 0) {
      ASSERT_LT(kSizeClasses[c - 1].bytes, bytes);
    }
    if (bytes <= kTableBytes) {
      ASSERT_EQ(kClassTable[(bytes + kQuantumBytes - 1) / kQuantumBytes], c);
    }
  }
}

TEST(SizeClasses, waste_is_at_most_15_bytes_or_an_eighth) {
  for (std::size_t bytes = 1; bytes <= kMaxClassBytes; ++bytes) {
    const std::size_t waste = kSizeClasses[class_of(bytes)].bytes - bytes;
    ASSERT_TRUE(waste < kQuantumBytes || waste * 8 <= kSizeClasses[class_of(bytes)].bytes) << bytes;
  }
}

TEST(SizeClasses, are_multiples_of_the_quantum_and_powers_of_two_are_among_them) {
  for (const SizeClass& info : kSizeClasses) {
    EXPECT_EQ(info.bytes % kQuantumBytes, 0u);
    EXPECT_GE(info.objects, kMinSlabObjects);
    EXPECT_LE(info.objects, kMaxObjects);
    EXPECT_LE(info.objects * std::uint64_t{info.bytes}, info.granules * kGranuleBytes);
  }
  for (std::size_t bytes = kQuantumBytes; bytes <= kMaxClassBytes; bytes *= 2) {
    EXPECT_EQ(kSizeClasses[class_of(bytes)].bytes, bytes);
  }
}

TEST(SizeClasses, object_at_agrees_with_division) {
  for (const SizeClass& info : kSizeClasses) {
    const std::uint64_t end = info.granules * kGranuleBytes;
    // Every offset of small slabs; of the others those near objects' starts.
    for (std::uint64_t delta = 0; delta < end; delta += end <= kGranuleBytes || delta % info.bytes <= 1 ? 1 : 7) {
      const bool starts = delta % info.bytes == 0 && delta / info.bytes < info.objects;
      ASSERT_EQ(object_at(info, delta), starts ? delta / info.bytes : info.objects) << info.bytes << ' ' << delta;
    }
    for (std::uint64_t i = 0; i < info.objects; ++i) ASSERT_EQ(object_at(info, i * info.bytes), i);
  }
}

}  // namespace
}  // namespace gallocy::heap
