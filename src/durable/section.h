// Section: what one node has seen and changed of the pages of durable locks, from taking the locks until it lets go of
// them. See "Sections" in docs/durable.md.
//
// At first the program may touch none of the pages. A page that it wants to read is fetched from the image; before it
// may write one, the bytes that were fetched are kept as its twin. At the end, the section as a transaction: it
// compares all pages that were fetched with what they were then, and writes where they differ from their twins.
//
// Pure. The frames (the pages' bytes as the program sees them) are the driver's, as are the right that the program has
// to each page, and the locks. Not thread-safe.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <vector>

#include "durable/mutant.h"
#include "durable/page_digest.h"
#include "durable/types.h"
#include "gallocy/access.h"

namespace gallocy::durable {

struct PageRange {
  PageId first{};
  std::uint64_t pages = 0;
  bool has(PageId page) const { return page.value - first.value < pages; }
  bool overlaps(const PageRange& other) const { return has(other.first) || other.has(first); }
};

class Section {
 public:
  explicit Section(std::vector<PageRange> ranges) : ranges_(std::move(ranges)) {}
#ifdef GALLOCY_DURABLE_MUTANTS
  void set_mutant(Mutant mutant) { mutant_ = mutant; }
#endif

  bool covers(PageId page) const;
  const std::vector<PageRange>& ranges() const { return ranges_; }

  // The program wants that access to a page that this covers.
  enum class Step : std::uint8_t {
    kOpen,   // it may have what access() says
    kFetch,  // its bytes are needed: fetched() when they are in the frame
    kWait,   // they are on their way
  };
  Step touch(PageId page, Access want, std::span<const std::byte> frame);
  // The bytes have arrived. Now access() is what was wanted of it.
  void fetched(PageId page, std::span<const std::byte> frame);
  Access access(PageId page) const;

  // f(first page, pages, access): runs of neighbours with the same access, ascending.
  void for_each_run(const std::function<void(PageId, std::uint64_t, Access)>& f) const;
  // The section as a transaction. The program may touch none of it any more; the items refer to this and to the frames.
  using Frames = std::function<std::span<const std::byte>(PageId)>;
  std::vector<Item> items(const Frames& frame) const;

 private:
  struct Page {
    Access access = Access::kNone;  // none: on its way
    Access want = Access::kNone;
    PageDigest digest{};
    Bytes twin{};  // if it may be written
  };

#ifdef GALLOCY_DURABLE_MUTANTS
  bool is(Mutant mutant) const { return mutant_ == mutant; }
  Mutant mutant_ = Mutant::kNone;
#else
  static constexpr bool is(Mutant) { return false; }
#endif

  std::vector<PageRange> ranges_;
  std::map<PageId, Page> pages_;
};

}  // namespace gallocy::durable
