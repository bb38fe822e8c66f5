#include "whole_memory.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/check.h"
#include "coherence_inspector.h"
#include "coherence_workload.h"
#include "runtime/memory_following.h"

namespace gallocy::sim {
namespace {

using coherence::CoreInspector;

constexpr std::uint64_t kPagesOfRegion = vmm::kRegionAlignBytes / kPageBytes;  // at most: so all lie close together
constexpr std::uint64_t kTickDelayUs = 20;
constexpr std::uint64_t kHoldUs = 20;  // as in runtime/memory.cc

std::vector<coherence::Options> options_of_nodes(std::uint64_t seed) {
  Prng prng(seed);
  return random_options(prng, WholeMemory::kMostNodes, {{.first_page = PageId{0}, .pages = 4 * kBlockPages}})
      .cluster.nodes;
}

CoherenceCluster::Options cluster_options(std::uint64_t seed, const WholeMemoryOptions& of_memory) {
  CoherenceCluster::Options options;
  options.seed = seed;
  options.trace = of_memory.trace;
  options.mutant = of_memory.mutant;
  options.check_every_page = false;
  options.most_nodes = WholeMemory::kMostNodes;
  options.most_pages = (WholeMemory::kMostRegions + 1) * kPagesOfRegion;
  return options;
}

}  // namespace

WholeMemory::WholeMemory(VmmCluster& log, const WholeMemoryOptions& options)
    : log_(log),
      options_(options),
      prng_(options.seed),
      of_nodes_(options_of_nodes(prng_())),
      cluster_(cluster_options(prng_(), options), *this) {}

template <typename Event>
void WholeMemory::step(NodeId node, Event event) {
  cluster_.advance_to(log_.now());
  event();
  schedule_tick(node);
}

void WholeMemory::schedule_tick(NodeId node) {
  const std::uint64_t deadline = cluster_.core(node).next_deadline();
  std::uint64_t& tick_at = nodes_.at(node).tick_at;
  if (deadline == ~std::uint64_t{0}) return;
  const std::uint64_t due = std::max(deadline, log_.now() + 1);
  if (tick_at != 0 && tick_at <= due + kTickDelayUs) return;
  tick_at = due + prng_.below(kTickDelayUs);
  log_.at(tick_at - log_.now(), [this, node, life = log_.life(node), when = tick_at] {
    if (!log_.up(node) || log_.life(node) != life || nodes_.at(node).tick_at != when) return;
    nodes_.at(node).tick_at = 0;
    step(node, [&] {
      if (cluster_.core(node).next_deadline() <= log_.now()) cluster_.tick(node);
    });
  });
}

// ---------------------------------------------------------------------------------------------- lives

void WholeMemory::start(NodeId node, const std::vector<NodeId>& present) {
  CHECK(node.value < kMostNodes && !nodes_.contains(node), node);
  coherence::Options options = of_nodes_[node.value];
  options.present = present;
  nodes_[node];
  cluster_.start(node, options);
}

void WholeMemory::stop(NodeId node, const std::function<std::size_t(NodeId to)>& surviving) {
  cluster_.stop(node, [&](NodeId to, std::size_t in_flight) {
    const std::size_t kept = surviving(to);
    CHECK(kept <= in_flight, node, to, kept, in_flight);
    return kept;
  });
  nodes_.erase(node);
}

void WholeMemory::bury(NodeId node, NodeId dead) {
  ++buried_;
  step(node, [&] {
    cluster_.node_died(node, dead);
    Told told{*this, node};
    runtime::recall_homes(told, machine(node));
  });
  check_homes(node);
}

// ---------------------------------------------------------------------------------------------- the log

void WholeMemory::applied(NodeId node, const vmm::Applied& applied) {
  if (std::holds_alternative<vmm::MapRegion>(applied.entry)) {
    if (const vmm::Region* region = machine(node).region(applied.outcome->region)) appeared(node, *region);
  } else if (const auto* homes = std::get_if<vmm::BlockHomes>(&applied.entry)) {
    Told told{*this, node};
    runtime::follow_homes(told, applied.proposer, *homes);
  }
}

void WholeMemory::restored(NodeId node) {
  for (const auto& [id, region] : machine(node).regions()) appeared(node, region);
  Told told{*this, node};
  runtime::recall_homes(told, machine(node));
}

void WholeMemory::appeared(NodeId node, const vmm::Region& region) {
  auto& known = nodes_.at(node).regions;
  const PageId first = page_of(region.address);
  if (region.durable_backups > 0 || std::ranges::find(known, first, &coherence::RegionSpec::first_page) != known.end())
    return;
  known.push_back(runtime::region_spec(region.address, region.bytes, region.placement, region.spread));
  step(node, [&] { cluster_.add_region(node, known.back()); });
}

const std::vector<coherence::RegionSpec>& WholeMemory::usable(NodeId node) {
  Node& n = nodes_.at(node);
  while (n.usable.size() < n.regions.size() && is_everywhere(node, n.regions[n.usable.size()].first_page))
    n.usable.push_back(n.regions[n.usable.size()]);
  return n.usable;
}

// Members that are not there yet will follow the log beyond their own admission, and not at once.
bool WholeMemory::is_everywhere(NodeId node, PageId region) {
  if (everywhere_.contains(region)) return true;
  const auto has_it = [&](NodeId member) {
    if (member.value >= log_.nodes()) return false;
    return !log_.up(member) || cluster_.core(member).knows(block_of(region));
  };
  if (!std::ranges::all_of(machine(node).members(), has_it)) return false;
  everywhere_.insert(region);
  return true;
}

void WholeMemory::Told::home_hint(BlockId first, std::uint64_t count, NodeId home) {
  if (memory.options_.ignores_homes) return;
  for (std::uint64_t i = 0; i < count; ++i) memory.cluster_.home_hint(node, BlockId{first.value + i}, home);
  memory.homes_told_ += home == node ? 0 : count;
}

void WholeMemory::Told::home_given(BlockId first, std::uint64_t count, NodeId from, NodeId to) {
  for (std::uint64_t i = 0; i < count; ++i) memory.cluster_.home_given(node, BlockId{first.value + i}, from, to);
}

void WholeMemory::check_homes(NodeId node) {
  const coherence::Core& core = cluster_.core(node);
  for (const coherence::RegionSpec& region : nodes_.at(node).regions) {
    for (std::uint64_t p = 0; p < region.pages; p += kBlockPages) {
      const BlockId block = block_of(PageId{region.first_page.value + p});
      const NodeId said = machine(node).region_at(block)->homes.home_of(block);
      CHECK(said == kNoNode || said == node || !CoreInspector::believes_alive(core, said) ||
                !CoreInspector::wants_hint(core, block),
            "the log knows the home of a block, and the node does not", node, block, said, core.home_of(block));
    }
  }
}

void WholeMemory::map_region(NodeId node) {
  if (mapped_ == kMostRegions) return;
  const std::vector<NodeId> members = machine(node).members();
  const Placement placements[] = {Placement::first_touch(), Placement::first_touch(), Placement::interleave(),
                                  Placement::blocked(), Placement::on(members[prng_.below(members.size())].value)};
  log_.propose(node,
               vmm::MapRegion{.name = fmt::format("pages {}", mapped_++),
                              .bytes = (1 + prng_.below(3)) * kBlockBytes,
                              .placement = placements[prng_.below(std::size(placements))],
                              .durable_backups = 0},
               log_.fresh_ticket());
}

// As Regions::tick, and the heartbeats.
void WholeMemory::beat(NodeId node) {
  std::vector<std::pair<BlockId, NodeId>> homes;
  for (const BlockId block : std::exchange(nodes_.at(node).new_homes, {})) homes.emplace_back(block, node);
  std::ranges::sort(homes);
  for (vmm::BlockHomes& entry : runtime::home_entries(machine(node), homes))
    log_.propose(node, std::move(entry), log_.fresh_ticket());
  // It has all regions of before it came.
  if (machine(node).is_member(node)) cluster_.announce_room(node, nodes_.at(node).takes_more);
}

// ---------------------------------------------------------------------------------------------- leaving

void WholeMemory::departed(NodeId node, NodeId other) {
  step(node, [&] { cluster_.node_died(node, other); });
}

void WholeMemory::follow_anchors(NodeId node) {
  step(node, [&] {
    for (const auto& [id, region] : machine(node).regions()) {
      if (region.durable_backups == 0) cluster_.anchors_are(node, page_of(region.address), region.spread);
    }
  });
}

bool WholeMemory::have_room_for_all(NodeId node, const std::vector<NodeId>& heirs) const {
  std::uint64_t room = 0;
  for (const NodeId heir : heirs) room += cluster_.core(node).room(heir);
  return cluster_.core(node).kept_pages() <= room;
}

std::size_t WholeMemory::give_everything_up(NodeId node, const std::vector<NodeId>& heirs) {
  for (const BlockId block : cluster_.blocks_kept(node))
    step(node, [&] { cluster_.give_up(node, block, heirs[block.value % heirs.size()]); });
  return cluster_.blocks_kept(node).size();
}

void WholeMemory::give_untouched(NodeId node) {
  step(node, [&] { cluster_.give_untouched(node); });
}

std::vector<vmm::BlockHomes> WholeMemory::given_homes(NodeId node) {
  return runtime::home_entries(machine(node), cluster_.given_homes(node));
}

void WholeMemory::retire(NodeId node) {
  cluster_.retire(node);
  nodes_.erase(node);
}

// ---------------------------------------------------------------------------------------------- messages, threads

bool WholeMemory::begin_receiving(NodeId from, NodeId to) {
  cluster_.advance_to(log_.now());
  return prng_.one_in(2) && cluster_.begin_receiving(from, to);
}

void WholeMemory::arrive(NodeId from, NodeId to) {
  step(to, [&] { cluster_.deliver(from, to); });
}

coherence::FaultOutcome WholeMemory::fault(NodeId node, PageId page, Access want, std::uint64_t hold_us) {
  auto outcome = coherence::FaultOutcome::kPending;
  step(node, [&] { outcome = cluster_.fault(node, page, want, hold_us); });
  return outcome;
}

void WholeMemory::about_to_access(NodeId node, PageId page) {
  step(node, [&] { cluster_.about_to_access(node, page, kHoldUs); });
}

bool WholeMemory::is_at_rest(NodeId node) const {
  return nodes_.at(node).new_homes.empty() && CoreInspector::at_rest(cluster_.core(node));
}

WholeMemory::Counters WholeMemory::counters() const {
  Counters sum{.homes_told = homes_told_, .buried = buried_};
  for (std::uint16_t n = 0; n < log_.nodes(); ++n) {
    if (log_.life(NodeId{n}) == 0) continue;
    const coherence::Counters& of_node = cluster_.core(NodeId{n}).counters();
    sum.homes_moved += of_node.homes_moved;
    sum.evicted += of_node.evicted;
    sum.spilled += of_node.spilled;
  }
  return sum;
}

std::string WholeMemory::under_way(NodeId node) const {
  return fmt::format("{} new homes{}", nodes_.at(node).new_homes.size(), CoreInspector::under_way(cluster_.core(node)));
}

void WholeMemory::trace(std::string_view line) {
  std::fprintf(stderr, "%8llu %.*s\n", static_cast<unsigned long long>(log_.now()), static_cast<int>(line.size()),
               line.data());
}

}  // namespace gallocy::sim
