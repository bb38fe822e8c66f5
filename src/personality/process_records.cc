// What the nodes have noted comes together at the home: a node's records are bytes, and the home asks for them piece by
// piece, as a message holds 16 KiB.
#include <algorithm>

#include "personality/process.h"

namespace gallocy::personality {
namespace {

constexpr std::size_t kPieceBytes = wire::kMaxBodyBytes - sizeof(wire::GuestReply);

}  // namespace

std::vector<std::byte> Process::records_here(Records which) {
  switch (which) {
    case Records::kReport:
      return report_records();
    case Records::kTrace:
      return traces_.records(clock_offset());
  }
  return {};
}

std::vector<std::byte> Process::records_of(NodeId node, Records which) {
  if (node == self_) return records_here(which);
  std::vector<std::byte> all, piece;
  do {
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kRecords,
                               .words = {static_cast<std::uint64_t>(which), all.size()}};
    piece.clear();
    (void)questions_.ask(node, request, {}, &piece);
    all.insert(all.end(), piece.begin(), piece.end());
  } while (piece.size() == kPieceBytes);
  return all;
}

void Process::reply_with_records(NodeId node, std::uint64_t ticket, Records which, std::uint64_t offset) {
  const std::lock_guard lock(records_mu_);
  if (offset == 0) records_ = records_here(which);
  const std::span<const std::byte> rest = std::span(records_).subspan(std::min<std::size_t>(offset, records_.size()));
  questions_.reply(node, ticket, 0, rest.first(std::min(rest.size(), kPieceBytes)));
}

ObjectMap Process::object_map(const std::vector<StackPlace>& stacks) {
  std::vector<Area> areas;
  const std::lock_guard lock(space_mu_);
  space_->visit(0, end_, [&](const Area& area) { areas.push_back(area); });
  return {std::move(areas), stacks};
}

}  // namespace gallocy::personality
