#include "personality/thread_places.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "base/check.h"

namespace gallocy::personality {
namespace {

std::vector<NodeId> all_nodes(std::uint16_t nodes) {
  std::vector<NodeId> list;
  for (std::uint16_t n = 1; n <= nodes; ++n) list.push_back(NodeId{static_cast<std::uint16_t>(n % nodes)});
  return list;
}

}  // namespace

bool spreads(std::string_view place) { return place.empty() || place == "spread"; }

Result<std::vector<NodeId>> nodes_to_use(std::string_view place, std::uint16_t nodes) {
  if (spreads(place)) return all_nodes(nodes);
  if (place == "pack") return std::vector{NodeId{0}};
  const std::string_view whole = place;
  std::vector<NodeId> list;
  for (;;) {
    const std::string_view word = place.substr(0, place.find(','));
    std::uint16_t node = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), node);
    if (word.empty() || error == std::errc::invalid_argument || end != word.data() + word.size()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--place needs spread, pack or a list of nodes such as 0,2,2; not '{}'", whole));
    }
    if (error != std::errc{} || node >= nodes) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--place names node {}, but the nodes are 0 to {}", word, nodes - 1));
    }
    list.push_back(NodeId{node});
    if (word.size() == place.size()) return list;
    place.remove_prefix(word.size() + 1);
  }
}

ThreadPlaces::ThreadPlaces(std::vector<NodeId> list, NodeId self, std::uint16_t nodes)
    : list_(std::move(list)), all_(all_nodes(nodes)), turn_(self.value) {
  CHECK(!list_.empty());
}

NodeId ThreadPlaces::next(const NodeSet& allowed) {
  const NodeId node = next_of(list_, allowed);
  return node != kNoNode ? node : next_of(all_, allowed);
}

NodeId ThreadPlaces::next_of(const std::vector<NodeId>& list, const NodeSet& allowed) {
  for (std::size_t tries = 0; tries < list.size(); ++tries) {
    const NodeId node = list[turn_.fetch_add(1) % list.size()];
    if (allowed[node.value]) return node;
  }
  return kNoNode;
}

}  // namespace gallocy::personality
