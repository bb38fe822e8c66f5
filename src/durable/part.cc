#include "durable/part.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace gallocy::durable {
namespace {

using wire::DurableItem;
using wire::DurablePart;

constexpr std::size_t kMaxItemBytes = 0xffff;

struct Piece {
  BlockId block{};
  DurableItem item;
  std::span<const std::byte> bytes;
};

void divide(const Item& item, std::vector<Piece>& pieces) {
  std::uint64_t address = item.address;
  if (item.kind == ItemKind::kComparePage) {
    CHECK(address % kPageBytes == 0 && item.bytes.size() == sizeof(PageDigest), address, item.bytes.size());
    pieces.push_back({block_of(page_of(address)),
                      {static_cast<std::uint32_t>((address - kWindowBase) % kBlockBytes),
                       static_cast<std::uint16_t>(kPageBytes), static_cast<std::uint16_t>(item.kind)},
                      item.bytes});
    return;
  }
  for (auto rest = item.bytes; !rest.empty();) {
    const std::uint64_t offset = (address - kWindowBase) % kBlockBytes;
    const std::size_t length = std::min({rest.size(), std::size_t{kBlockBytes - offset}, kMaxItemBytes});
    pieces.push_back({block_of(page_of(address)),
                      {static_cast<std::uint32_t>(offset), static_cast<std::uint16_t>(length),
                       static_cast<std::uint16_t>(item.kind)},
                      rest.first(length)});
    rest = rest.subspan(length);
    address += length;
  }
}

bool overlaps(const DurableItem& item, std::uint32_t offset, std::uint32_t length) {
  return item.offset < offset + length && offset < item.offset + item.length;
}

bool is_write(const DurableItem& item) { return has_kind(item, ItemKind::kWrite); }

// As divide() makes them.
bool is_right(const DurableItem& item) {
  if (item.length == 0 || item.offset >= kBlockBytes || item.length > kBlockBytes - item.offset) return false;
  if (has_kind(item, ItemKind::kComparePage)) return item.offset % kPageBytes == 0 && item.length == kPageBytes;
  return has_kind(item, ItemKind::kCompare) || has_kind(item, ItemKind::kWrite);
}

Bytes encode(std::span<const BlockId> blocks, std::span<const Piece> pieces, std::size_t data_bytes) {
  Bytes bytes;
  bytes.reserve(sizeof(DurablePart) + blocks.size() * 8 + pieces.size() * sizeof(DurableItem) + data_bytes);
  wire::ByteWriter writer(bytes);
  writer.put(DurablePart{static_cast<std::uint16_t>(blocks.size()), static_cast<std::uint16_t>(pieces.size()),
                         static_cast<std::uint32_t>(data_bytes)});
  for (const BlockId block : blocks) writer.put(block.value);
  for (const Piece& piece : pieces) writer.put(piece.item);
  for (const Piece& piece : pieces) writer.put_bytes(piece.bytes);
  return bytes;
}

}  // namespace

DurablePart Part::head() const {
  DurablePart head;
  std::memcpy(&head, bytes_->data(), sizeof head);
  return head;
}

// The buffer is allocated for any type, and each of the lists has a multiple of eight bytes before it.
std::span<const std::uint64_t> Part::blocks() const {
  return {reinterpret_cast<const std::uint64_t*>(bytes_->data() + sizeof(DurablePart)), head().participants};
}

std::span<const DurableItem> Part::items() const {
  return {reinterpret_cast<const DurableItem*>(bytes_->data() + sizeof(DurablePart) + 8u * head().participants),
          head().items};
}

std::span<const std::byte> Part::data() const { return bytes().last(head().data_bytes); }

bool Part::names(BlockId block) const { return std::ranges::binary_search(blocks(), block.value); }

bool Part::writes() const { return std::ranges::any_of(items(), is_write); }

bool Part::conflicts(const Part& other) const {
  for (const DurableItem& a : items()) {
    for (const DurableItem& b : other.items()) {
      if (overlaps(a, b.offset, b.length) && (is_write(a) || is_write(b))) return true;
    }
  }
  return false;
}

bool Part::writes_to(std::uint32_t offset, std::uint32_t length) const {
  return std::ranges::any_of(items(),
                             [&](const DurableItem& item) { return is_write(item) && overlaps(item, offset, length); });
}

bool Part::wants(std::uint32_t offset, std::uint32_t length) const {
  return std::ranges::any_of(items(), [&](const DurableItem& item) { return overlaps(item, offset, length); });
}

std::optional<Part> Part::parse(std::span<const std::byte> bytes) {
  wire::ByteReader reader(bytes);
  const auto head = reader.get<DurablePart>();
  if (!reader.ok() || bytes.size() > wire::kMaxDurablePartBytes || head.participants == 0 || head.items == 0 ||
      reader.left() != head.participants * 8u + head.items * sizeof(DurableItem) + head.data_bytes)
    return std::nullopt;
  for (std::uint64_t i = 0, before = 0; i < head.participants; ++i) {
    const auto block = reader.get<std::uint64_t>();
    if (i > 0 && block <= before) return std::nullopt;
    before = block;
  }
  std::size_t bytes_of_items = 0;
  for (unsigned i = 0; i < head.items; ++i) {
    const auto item = reader.get<DurableItem>();
    if (!is_right(item)) return std::nullopt;
    bytes_of_items += data_bytes(item);
  }
  if (bytes_of_items != head.data_bytes) return std::nullopt;
  Part part;
  part.bytes_ = std::make_shared<const Bytes>(bytes.begin(), bytes.end());
  return part;
}

std::optional<std::vector<std::pair<BlockId, Part>>> parts_of(std::span<const Item> items) {
  std::vector<Piece> pieces;
  for (const Item& item : items) divide(item, pieces);
  std::ranges::stable_sort(pieces, {}, &Piece::block);
  std::vector<BlockId> blocks;
  for (const Piece& piece : pieces) {
    if (blocks.empty() || blocks.back() != piece.block) blocks.push_back(piece.block);
  }
  std::vector<std::pair<BlockId, Part>> parts;
  for (auto rest = std::span<const Piece>(pieces); !rest.empty();) {
    const BlockId block = rest.front().block;
    std::size_t count = 0, data_bytes = 0;
    while (count < rest.size() && rest[count].block == block) data_bytes += rest[count++].bytes.size();
    if (sizeof(DurablePart) + blocks.size() * 8 + count * sizeof(DurableItem) + data_bytes > wire::kMaxDurablePartBytes)
      return std::nullopt;
    Part part;
    part.bytes_ = std::make_shared<const Bytes>(encode(blocks, rest.first(count), data_bytes));
    parts.emplace_back(block, std::move(part));
    rest = rest.subspan(count);
  }
  return parts;
}

}  // namespace gallocy::durable
