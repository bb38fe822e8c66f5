// RegionPages: a node's private state for the pages and blocks of one region. 4 bytes per page for what this node may
// do with it, 8 bytes per page where this node is the home, 12 bytes per block of 64; nothing for parts nobody used.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/sparse_array.h"
#include "coherence/directory_entry.h"
#include "coherence/page_set.h"
#include "gallocy/access.h"

namespace gallocy::coherence {

// What this node may do with a page, and what is under way. Invariant: mapped <= right.
struct LocalPage {
  std::uint16_t right_bits : 2 = 0;    // Access that the protocol gives this node; its frame is valid unless kNone
  std::uint16_t mapped_bits : 2 = 0;   // Access that the program view permits now
  std::uint16_t pending_bits : 2 = 0;  // Access asked of the home and not answered
  std::uint16_t evicting : 1 = 0;      // owned page sent home by Put, not acknowledged: unmapped, but still served from
  std::uint16_t predicted : 1 = 0;     // owned by prediction; its checksum at arrival is kept
  std::uint16_t frame : 1 = 0;         // a frame is allocated (counts against the budget)
  std::uint16_t waited : 1 = 0;        // a thread waits for it: it gets its minimum hold
  std::uint16_t prefetched : 1 = 0;    // came as a wish and was not touched as far as we know
  std::uint16_t lost : 1 = 0;          // its only copy died with a node
  std::uint16_t putting : 1 = 0;   // a Put of it is not acknowledged (maybe a Forward took it meanwhile): no second one
  std::uint16_t had_bits : 2 = 0;  // the highest right lost since the last grant
  std::uint16_t sample : 1 = 0;    // came along with another, and not touched: whether it is will show
  std::uint16_t changed_at = 0;    // when the right changed, by a clock that wraps around (kHistoryClockShift)

  Access right() const { return static_cast<Access>(right_bits); }
  Access mapped() const { return static_cast<Access>(mapped_bits); }
  Access pending() const { return static_cast<Access>(pending_bits); }
  void set_right(Access a) { right_bits = static_cast<std::uint16_t>(a) & 3; }
  void set_mapped(Access a) { mapped_bits = static_cast<std::uint16_t>(a) & 3; }
  void set_pending(Access a) { pending_bits = static_cast<std::uint16_t>(a) & 3; }
};
static_assert(sizeof(LocalPage) == 4);

struct BlockState {
  std::uint32_t home_version = 0;    // see "Home moves" in docs/protocol.md
  std::uint16_t home_plus_one = 0;   // 0: not known, the anchor is asked
  std::uint16_t writer = 0;          // home only: who got the last write grants …
  std::uint8_t writer_grants = 0;    // … and how many in a row
  std::uint8_t initialised : 1 = 0;  // home only: its pages have been given their first right
  std::uint8_t listed : 1 = 0;       // in the list of blocks that have frames (eviction)
  std::uint8_t recent : 1 = 0;       // faulted in since the eviction hand last came by
  std::uint8_t idle : 1 = 0;         // unmapped by the eviction hand to see whether it is used
  std::uint8_t was_home : 1 = 0;     // this node handed it over (so the anchor's chain of forwards leads through here)
  std::uint8_t again[2] = {};        // how sure it is which pages are read, written together: see core_history.cc
};
static_assert(sizeof(BlockState) == 12);

enum class PlacementKind : std::uint8_t { kFirstTouch, kInterleave, kNode, kBlocked };

struct RegionSpec {
  PageId first_page;        // multiple of kBlockPages
  std::uint64_t pages = 0;  // multiple of kBlockPages
  PlacementKind placement = PlacementKind::kFirstTouch;
  NodeId node{};  // kNode
  std::vector<NodeId>
      anchors{};  // among whom the blocks are dealt out at first, the same on every node; none: all nodes, or `node`
};

class RegionPages {
 public:
  explicit RegionPages(const RegionSpec& spec)
      : spec_(spec), local_(spec.pages), directory_(spec.pages), blocks_(spec.pages / kBlockPages) {}

  const RegionSpec& spec() const { return spec_; }
  bool contains(PageId page) const { return page.value - spec_.first_page.value < spec_.pages; }
  std::uint64_t first_block() const { return spec_.first_page.value / kBlockPages; }

  LocalPage& local(PageId page) { return local_[page.value - spec_.first_page.value]; }
  DirectoryEntry& entry(PageId page) { return directory_[page.value - spec_.first_page.value]; }
  BlockState& block(BlockId block) { return blocks_[block.value - first_block()]; }

  // The node that keeps a block until it is handed over: a pure function, so that no message is needed to find it.
  NodeId anchor(BlockId block, unsigned nodes) const {
    if (spec_.anchors.empty()) return anchor_among(nodes, block);
    if (spec_.placement == PlacementKind::kNode) return spec_.anchors.front();
    return spec_.anchors[anchor_among(static_cast<unsigned>(spec_.anchors.size()), block).value];
  }

  void set_anchors(const std::vector<NodeId>& anchors) { spec_.anchors = anchors; }

  std::size_t metadata_bytes() const {
    return local_.resident_bytes() + directory_.resident_bytes() + blocks_.resident_bytes();
  }

 private:
  NodeId anchor_among(unsigned nodes, BlockId block) const {
    const std::uint64_t index = block.value - first_block();
    switch (spec_.placement) {
      case PlacementKind::kNode:
        return spec_.node;
      case PlacementKind::kBlocked: {
        const std::uint64_t blocks = spec_.pages / kBlockPages, part = (blocks + nodes - 1) / nodes;
        return NodeId{static_cast<std::uint16_t>(index / part)};
      }
      case PlacementKind::kFirstTouch:
      case PlacementKind::kInterleave:
        break;
    }
    return NodeId{static_cast<std::uint16_t>(index % nodes)};
  }

  RegionSpec spec_;
  SparseArray<LocalPage> local_;
  SparseArray<DirectoryEntry> directory_;
  SparseArray<BlockState> blocks_;
};

}  // namespace gallocy::coherence
