// Part: what a transaction wants of one block, in one flat buffer that is also its form on the wire (wire/durable.h),
// shared by messages and records. It names all blocks that take part, so that they find each other when the
// coordinator has died.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "durable/page_digest.h"
#include "durable/types.h"

namespace gallocy::durable {

inline bool has_kind(const wire::DurableItem& item, ItemKind kind) {
  return item.kind == static_cast<std::uint16_t>(kind);
}
inline std::size_t data_bytes(const wire::DurableItem& item) {
  return has_kind(item, ItemKind::kComparePage) ? sizeof(PageDigest) : item.length;
}

class Part {
 public:
  Part() = default;

  // Nothing, if these bytes are no part.
  static std::optional<Part> parse(std::span<const std::byte> bytes);

  bool empty() const { return bytes_ == nullptr; }
  std::span<const std::byte> bytes() const { return *bytes_; }
  std::span<const std::uint64_t> blocks() const;
  std::span<const wire::DurableItem> items() const;
  std::span<const std::byte> data() const;  // of the items, one after the other
  // f(item, its bytes), in their order.
  template <typename F>
  void for_each_item(F&& f) const {
    std::span<const std::byte> rest = data();
    for (const wire::DurableItem& item : items()) {
      f(item, rest.first(data_bytes(item)));
      rest = rest.subspan(data_bytes(item));
    }
  }

  bool names(BlockId block) const;
  bool writes() const;
  // Both want a byte, and one of them wants to write it.
  bool conflicts(const Part& other) const;
  // One of the items writes one of these bytes; writes or compares.
  bool writes_to(std::uint32_t offset, std::uint32_t length) const;
  bool wants(std::uint32_t offset, std::uint32_t length) const;

 private:
  friend std::optional<std::vector<std::pair<BlockId, Part>>> parts_of(std::span<const Item> items);

  wire::DurablePart head() const;

  std::shared_ptr<const Bytes> bytes_;
};

// Divides a transaction into its parts, in the order of the blocks. Nothing, if one is too large for a message.
std::optional<std::vector<std::pair<BlockId, Part>>> parts_of(std::span<const Item> items);

}  // namespace gallocy::durable
