// Image: the bytes of a block as committed transactions left them. Pages that nothing was written to take no memory.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "durable/page.h"
#include "durable/part.h"

namespace gallocy::durable {

class Image {
 public:
  void write(std::uint32_t offset, std::span<const std::byte> bytes) {
    for_each_piece(offset, bytes.size(), [&](std::uint32_t page, std::size_t at, std::size_t done, std::size_t count) {
      std::memcpy(touched(page).data() + at, bytes.data() + done, count);
    });
  }

  void read(std::uint32_t offset, std::span<std::byte> bytes) const {
    for_each_piece(offset, bytes.size(), [&](std::uint32_t page, std::size_t at, std::size_t done, std::size_t count) {
      if (has(page)) {
        std::memcpy(bytes.data() + done, pages_[page]->data() + at, count);
      } else {
        std::memset(bytes.data() + done, 0, count);
      }
    });
  }

  bool equals(std::uint32_t offset, std::span<const std::byte> bytes) const {
    bool equal = true;
    for_each_piece(offset, bytes.size(), [&](std::uint32_t page, std::size_t at, std::size_t done, std::size_t count) {
      const auto wanted = bytes.subspan(done, count);
      equal = equal && (has(page) ? std::memcmp(pages_[page]->data() + at, wanted.data(), count) == 0
                                  : std::ranges::all_of(wanted, [](std::byte b) { return b == std::byte{}; }));
    });
    return equal;
  }

  PageDigest digest(std::uint32_t page) const {
    return has(page) ? digest_of_page(*pages_[page]) : digest_of_zero_page();
  }

  bool has(std::uint32_t page) const { return page < pages_.size() && pages_[page] != nullptr; }
  const Page& page(std::uint32_t page) const { return *pages_[page]; }
  const SharedPage& share(std::uint32_t page) const { return pages_[page]; }
  void set_page(std::uint32_t page, SharedPage with) { place(page) = std::move(with); }
  // The first page from this one on that takes memory; kBlockPages: none.
  std::uint32_t next_page(std::uint32_t page) const {
    while (page < pages_.size() && pages_[page] == nullptr) ++page;
    return page < pages_.size() ? page : static_cast<std::uint32_t>(kBlockPages);
  }

 private:
  SharedPage& place(std::uint32_t page) {
    CHECK(page < kBlockPages, page);
    if (pages_.empty()) pages_.resize(kBlockPages);
    return pages_[page];
  }
  Page& touched(std::uint32_t page) {
    SharedPage& there = place(page);
    if (there == nullptr) {
      there = page_of_zeros();
    } else if (there.use_count() > 1) {
      there = page_with(*there);
    }
    return *there;
  }

  // piece(page, offset in it, bytes before this piece, bytes of it)
  template <typename Piece>
  static void for_each_piece(std::uint32_t offset, std::size_t bytes, Piece piece) {
    for (std::size_t done = 0; done < bytes;) {
      const auto at = static_cast<std::uint32_t>(offset + done);
      const std::size_t count = std::min(bytes - done, kPageBytes - at % kPageBytes);
      piece(static_cast<std::uint32_t>(at / kPageBytes), at % kPageBytes, done, count);
      done += count;
    }
  }

  std::vector<SharedPage> pages_;  // empty, or kBlockPages of them
};

// The part's writes.
inline void apply(const Part& part, Image& image) {
  part.for_each_item([&](const wire::DurableItem& item, std::span<const std::byte> bytes) {
    if (has_kind(item, ItemKind::kWrite)) image.write(item.offset, bytes);
  });
}

}  // namespace gallocy::durable
