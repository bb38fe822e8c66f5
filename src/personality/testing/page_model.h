// A small address space as an array of pages, and a cluster that carries out changes on one: for tests of AddressSpace.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "base/ids.h"
#include "personality/address_space.h"

namespace gallocy::personality::testing_pages {

inline constexpr std::uint64_t kP = kPageBytes;
inline constexpr std::uint64_t kBegin = 1ull << 32;
inline constexpr std::uint64_t kLow = 0x400000;
inline constexpr long kSpacePages = 512;
inline constexpr long kLowPages = 16;
inline constexpr long kBrkFirst = 64;  // pages
inline constexpr long kBrkPages = 32;

struct Page {
  bool mapped = false;
  int protection = 0;
  bool shared = false;
  int file = kNoFile;
  long file_page = 0;
  std::string name{};
  bool may_hold_bytes = false;
  long content = 0;
};

// The place of a page in the arrays: the space, then the low range; -1 for others.
inline long index_of(std::uint64_t address) {
  if (address >= kBegin && address < kBegin + kSpacePages * kP) return static_cast<long>((address - kBegin) / kP);
  if (address >= kLow && address < kLow + kLowPages * kP) return kSpacePages + static_cast<long>((address - kLow) / kP);
  return -1;
}
inline std::uint64_t address_at(long index) {
  return index < kSpacePages ? kBegin + static_cast<std::uint64_t>(index) * kP
                             : kLow + static_cast<std::uint64_t>(index - kSpacePages) * kP;
}
inline bool adjoin(long index) { return index != 0 && index != kSpacePages; }  // does the page before exist?

struct Files {
  std::map<std::pair<int, long>, long> pages;
  long read(int file, long page) const {
    const auto entry = pages.find({file, page});
    return entry == pages.end() ? 1000 * (file + 1) + page : entry->second;
  }
};

// What the nodes of the cluster make of the changes.
struct Cluster {
  std::array<long, kSpacePages + kLowPages> content{};
  std::array<int, kSpacePages + kLowPages> permission{};
  Files files;

  Cluster() { permission.fill(PROT_READ | PROT_WRITE); }

  void carry_out(const Changes& changes) {
    for (const Change& change : changes) {
      for (std::uint64_t at = change.begin; at < change.end; at += kP) carry_out(change, at);
    }
  }

  void carry_out(const Change& change, std::uint64_t address) {
    using Kind = Change::Kind;
    const auto i = static_cast<std::size_t>(index_of(address));
    const long file_page = static_cast<long>((change.offset + (address - change.begin)) / kP);
    switch (change.kind) {
      case Kind::kDiscard:
        content.at(i) = 0;
        break;
      case Kind::kProtect:
        ASSERT_NE(permission.at(i), change.protection) << "needless protect";
        permission.at(i) = change.protection;
        break;
      case Kind::kMove:
        content.at(static_cast<std::size_t>(index_of(change.to + (address - change.begin)))) = content.at(i);
        break;
      case Kind::kWriteBack:
        files.pages[{change.file, file_page}] = content.at(i);
        break;
      case Kind::kReload:
        content.at(i) = files.read(change.file, file_page);
        break;
      case Kind::kFileReleased:
        break;
    }
  }
};

}  // namespace gallocy::personality::testing_pages
