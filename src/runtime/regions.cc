#include "runtime/regions.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "base/check.h"
#include "base/log.h"
#include "os/clock.h"

namespace gallocy::runtime {
namespace {

constexpr std::chrono::milliseconds kProposalTimeout{30'000};
constexpr std::uint64_t kNotStartedUs = 1'000;
constexpr std::int64_t kNextTurnNs = 10'000'000;  // to leave

// A majority of two is both: a log that two nodes keep ends with either, so one keeps it. See
// docs/decisions/0005-clusters-of-three-or-more-keep-their-log-by-raft.md.
constexpr std::uint16_t kLeastForRaft = 3;

std::uint64_t now_us() { return static_cast<std::uint64_t>(os::monotonic_us()); }

bool kept_by_one(const RegionsOptions& options) {
  return !options.long_lived && options.founders.size() < kLeastForRaft;
}

vmm::RaftOptions raft_options(const RegionsOptions& options) {
  return {.self = options.self,
          .incarnation = options.life,
          .founders = options.founders,
          .seed = std::random_device()(),
          .now = now_us()};
}

vmm::Log::MakeReplication replication(const RegionsOptions& options, const LogDisk* disk) {
  if (disk == nullptr && kept_by_one(options)) return vmm::keeper_log({.self = options.self, .keeper = NodeId{0}});
  vmm::RaftOptions raft = raft_options(options);
  if (disk != nullptr) raft.core.storage = raft::Storage::kDurable;
  if (disk != nullptr && !disk->has_begun_anew()) raft.found = disk->found();
  return vmm::raft_log(raft);
}

std::uint64_t by_chance() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | (device() | 1);
}

Error lost_founder(NodeId node) {
  return {ErrorCode::kPeerLost, fmt::format("node {} was lost before the cluster had begun again", node)};
}

std::int64_t deadline_after(std::chrono::milliseconds timeout) {
  return os::monotonic_ns() + std::chrono::nanoseconds(timeout).count();
}

}  // namespace

Result<std::unique_ptr<LogDisk>> Regions::open_disk(const RegionsOptions& options, const std::string& directory,
                                                    std::uint64_t new_cluster) {
  GALLOCY_ASSIGN(auto disk, LogDisk::open(directory));
  const auto nodes = static_cast<std::uint16_t>(options.founders.size());
  const LogIdentity& known = disk->identity();
  if (disk->is_empty()) {
    GALLOCY_TRY(
        disk->begin_anew({.cluster = new_cluster, .node = options.self, .nodes = nodes}, founding_state(options)));
  } else if (known.node == options.self && known.nodes == nodes) {
    GALLOCY_TRY(disk->begin_again());
  } else {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} holds the log of node {} of {}, this is node {} of {}: start as many nodes as founded it",
                    directory, known.node, known.nodes, options.self, nodes));
  }
  return disk;
}

raft::PersistentState Regions::founding_state(const RegionsOptions& options) {
  return vmm::first_state(raft_options(options));
}

Regions::Regions(RegionsOptions options, net::Mesh* mesh, Memory& memory, Sections& sections, DurableService& durable,
                 std::unique_ptr<LogDisk> disk)
    : options_(std::move(options)),
      self_(options_.self),
      mesh_(mesh),
      memory_(memory),
      sections_(sections),
      durable_(durable),
      log_({.self = self_, .incarnation = options_.life}, replication(options_, disk.get())),
      recalls_(disk != nullptr && !disk->has_begun_anew()),
      coordinator_(options_.founders.empty() ? kNoNode : options_.founders.front()),
      dead_(options_.nodes),
      lives_(options_.nodes, disk != nullptr ? 0 : 1),
      disk_(std::move(disk)) {}

Result<> Regions::join(const std::string& address, std::chrono::milliseconds timeout) {
  const vmm::MemberJoined self{.node = self_,
                               .address = address,
                               .life = options_.life,
                               .newcomer = disk_ != nullptr ? by_chance() : 0,
                               .kept = durable_.kept(),
                               .on_disk = disk_ != nullptr};
  {
    const os::MutexLock lock(mu_);
    if (disk_ != nullptr) start_disk(self);
    vmm::Effects effects;
    log_.start(now_us(), effects);
    started_ = true;
    carry_out(effects);
  }
  if (std::ranges::find(options_.founders, self_) != options_.founders.end()) {
    auto joined = propose({self}, timeout);
    if (!joined) return tl::unexpected(joined.error());
  }
  // A region may be placed on any node, so all are members before the program maps one.
  if (waiting_->wait(all_joined_, deadline_after(timeout))) {
    const os::MutexLock lock(mu_);
    return lost_too_soon_ == kNoNode ? Result<>() : tl::unexpected(lost_founder(lost_too_soon_));
  }
  return fail(ErrorCode::kTimeout, fmt::format("not all nodes joined within {} ms", timeout.count()));
}

Result<LogIndex> Regions::announce_leave(std::chrono::milliseconds timeout) {
  for (;;) {
    // Whoever leaves now leaves, dies or stays: then it is the next one's turn.
    if (const NodeId leaver = leaver_now(); leaver != kNoNode && leaver != self_) {
      waiting_->pause_until(os::monotonic_ns() + kNextTurnNs);
      continue;
    }
    const auto announced = propose({vmm::MemberLeaves{self_}}, timeout);
    if (announced) break;
    if (announced.error().code != ErrorCode::kConflict) return tl::unexpected(announced.error());
  }
  const os::MutexLock lock(mu_);
  return leaves_at_;
}

Result<> Regions::stay() {
  const auto stays = propose({vmm::MemberStays{self_}}, kProposalTimeout);
  return stays ? Result<>() : tl::unexpected(stays.error());
}

NodeId Regions::leaver_now() {
  const os::MutexLock lock(mu_);
  return log_.usable() ? log_.machine().leaver() : kNoNode;
}

Result<LogIndex> Regions::leave(std::chrono::milliseconds timeout) {
  const auto left = propose({vmm::MemberLeft{self_}}, timeout);
  if (!left) return tl::unexpected(left.error());
  if (waiting_->wait(may_go_, deadline_after(timeout))) {
    const os::MutexLock lock(mu_);
    if (disk_ != nullptr) disk_->forget_at_end();
    return leaves_at_;
  }
  return fail(ErrorCode::kTimeout, fmt::format("the log could not do without this node within {} ms", timeout.count()));
}

bool Regions::admit(std::span<const std::byte> body, Answer answer) {
  const auto wish = vmm::decode_wish(body);
  if (!wish) return false;
  const os::MutexLock lock(mu_);
  if (!all_founders_joined()) return true;  // their numbers are not to be had; it asks again
  // It asks again while it waits.
  for (auto& [ticket, admission] : admissions_) {
    if (admission.newcomer == wish->newcomer) return admission.answer = std::move(answer), true;
  }
  const std::uint64_t ticket = next_ticket_++;
  admissions_[ticket] = {wish->newcomer, std::move(answer)};
  vmm::Effects effects;
  log_.propose(vmm::entry_of(*wish), vmm::Ticket{ticket}, now_us(), effects);
  carry_out(effects);
  return true;
}

std::vector<vmm::Peer> Regions::members() {
  const os::MutexLock lock(mu_);
  return vmm::admitted(log_.machine(), {}).peers;
}

Result<vmm::Outcome> Regions::propose(std::vector<vmm::Entry> entries, std::chrono::milliseconds timeout) {
  Waiter waiter{.count = entries.size()};
  std::uint64_t first = 0;
  const auto ask = [&] {
    const os::MutexLock lock(mu_);
    first = next_ticket_;
    waiters_[first] = &waiter;
    vmm::Effects effects;
    for (vmm::Entry& entry : entries) log_.propose(std::move(entry), vmm::Ticket{next_ticket_++}, now_us(), effects);
    carry_out(effects);
  };
  if (!ask_and_wait(ask, waiter.flag, deadline_after(timeout))) {
    const os::MutexLock lock(mu_);
    if (waiters_.erase(first) != 0) {
      return fail(ErrorCode::kTimeout, fmt::format("the VMM log did not answer within {} ms", timeout.count()));
    }
  }
  return std::move(waiter.outcome);
}

// The disk's thread tells of a commit, too, and does not wake a thread that waits for messages.
bool Regions::ask_and_wait(const std::function<void()>& ask, WaitFlag& flag, std::int64_t deadline_ns) {
  if (disk_ == nullptr) return waiting_->ask_and_wait(ask, flag, deadline_ns);
  ask();
  return flag.sleep(deadline_ns);
}

void Regions::resolve(vmm::Resolved& resolved) {
  auto found = waiters_.upper_bound(resolved.ticket.value);
  if (found == waiters_.begin()) return;
  Waiter& waiter = *(--found)->second;
  // Not all tickets have a waiter.
  if (resolved.ticket.value - found->first >= waiter.count) return;
  if (waiter.outcome) waiter.outcome = std::move(resolved.outcome);
  if (--waiter.open > 0) return;
  waiters_.erase(found);
  waiter.flag.set();
}

std::optional<std::uint64_t> Regions::bound(std::string_view name) {
  const os::MutexLock lock(mu_);
  const vmm::Binding* const binding = log_.machine().binding(name);
  return binding != nullptr ? std::optional(binding->value) : std::nullopt;
}

Result<Region> Regions::map(const RegionOptions& options) {
  if (options.placement.kind == Placement::Kind::kNode && options.placement.node >= options_.nodes) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("region \"{}\": there is no node {} (nodes are 0 … {})",
                                                         options.name, options.placement.node, options_.nodes - 1));
  }
  // More than can be is refused by the log, with a reason.
  const auto backups = static_cast<std::uint8_t>(std::min(options.durable_backups, kMaxDurableBackups + 1));
  auto outcome = propose(
      {vmm::MapRegion{
          .name = options.name, .bytes = options.bytes, .placement = options.placement, .durable_backups = backups}},
      kProposalTimeout);
  if (!outcome) return tl::unexpected(outcome.error());
  GALLOCY_TRY(wait_until_everywhere(outcome->region, deadline_after(kProposalTimeout)));
  return Region(reinterpret_cast<void*>(outcome->address), options.bytes);
}

Result<Region> Regions::attach(std::string_view name, std::chrono::milliseconds timeout) {
  const std::int64_t deadline = deadline_after(timeout);
  for (WaitFlag flag;; flag.reset()) {
    std::optional<vmm::Region> found;
    {
      const os::MutexLock lock(mu_);
      if (const vmm::Region* region = log_.machine().region_named(name)) found = *region;
      if (!found) region_waiters_.push_back(&flag);
    }
    if (found) {
      GALLOCY_TRY(wait_until_everywhere(found->id, deadline));
      return Region(reinterpret_cast<void*>(found->address), found->bytes);
    }
    if (waiting_->wait(flag, deadline)) continue;
    const os::MutexLock lock(mu_);
    if (std::erase(region_waiters_, &flag) == 0) continue;  // it appeared just now
    return fail(ErrorCode::kNotFound, fmt::format("no region \"{}\" appeared within {} ms", name, timeout.count()));
  }
}

Result<> Regions::wait_until_everywhere(RegionId region, std::int64_t deadline_ns) {
  for (WaitFlag flag;; flag.reset()) {
    {
      const os::MutexLock lock(mu_);
      if (options_.nodes == 1 || std::ranges::find(everywhere_, region) != everywhere_.end()) return {};
      region_waiters_.push_back(&flag);
    }
    if (waiting_->wait(flag, deadline_ns)) continue;
    const os::MutexLock lock(mu_);
    if (std::erase(region_waiters_, &flag) == 0) continue;
    return fail(ErrorCode::kTimeout, "not all nodes mapped the region in time");
  }
}

Result<> Regions::majority() {
  const os::MutexLock lock(mu_);
  return disk_ == nullptr && kept_by_one(options_) ? Result<>() : log_.usable();
}

bool Regions::frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body) {
  const os::MutexLock lock(mu_);
  if (type == wire::kRegionHere || type == wire::kRegionEverywhere) return region_news(from, type, body);
  if (type == wire::kVmmCluster) return life_began(from, body);
  vmm::Effects effects;
  const auto accepted = log_.message(from, type, body, now_us(), effects);
  carry_out(effects);
  if (!accepted) refused_.log(os::monotonic_ns(), "node", from, "reason", accepted.error().message);
  return accepted.has_value();
}

bool Regions::can_decide() {
  const os::MutexLock lock(mu_);
  return log_.usable().has_value();
}

void Regions::node_lost(NodeId node) {
  const os::MutexLock lock(mu_);
  dead_[node.value] = true;
  if (options_.long_lived && !all_joined_.is_set()) founder_lost(node);
  vmm::Effects effects;
  log_.peer_down({node, life_of(node)}, now_us(), effects);
  carry_out(effects);
  members_changed();
}

void Regions::peer_up(const vmm::Life& peer) {
  const os::MutexLock lock(mu_);
  dead_[peer.node.value] = false;
  lives_[peer.node.value] = peer.life;
  log_.peer_up(peer);
}

// Those who have the log of all nodes may begin without it only when they have agreed on that; this node cannot know.
void Regions::founder_lost(NodeId node) {
  if (std::ranges::find(options_.founders, node) == options_.founders.end()) return;
  lost_too_soon_ = node;
  all_joined_.set();
  for (auto& [first, waiter] : std::exchange(waiters_, {})) {
    waiter->outcome = tl::unexpected(lost_founder(node));
    waiter->flag.set();
  }
}

// Who has a region, and who has to have it, may look different now.
void Regions::members_changed() {
  if (coordinator() != std::exchange(coordinator_, coordinator())) {
    for (const RegionId region : mapped_) say_it_is_here(region);
  }
  std::vector<RegionId> open;
  for (const auto& [region, nodes] : here_) open.push_back(region);
  for (const RegionId region : open) tell_if_everywhere(region);
  for (WaitFlag* waiter : std::exchange(region_waiters_, {})) waiter->set();
}

// In their present lives: a log on disk has the former ones.
bool Regions::all_founders_joined() const {
  return std::ranges::all_of(options_.founders, [&](NodeId node) {
    const vmm::Member* const member = log_.machine().member(node);
    const std::uint64_t life = node == self_ ? options_.life : lives_[node.value];
    return member != nullptr && (dead_[node.value] || (life != 0 && member->life >= life));
  });
}

std::uint64_t Regions::life_of(NodeId node) const {
  const vmm::Member* const member = log_.machine().member(node);
  if (lives_[node.value] != 0) return lives_[node.value];
  return member != nullptr ? member->life : 1;  // it has not said yet that it began another
}

void Regions::note_membership() {
  const vmm::Machine& machine = log_.machine();
  if (!all_joined_.is_set() && has_begun() && all_founders_joined()) all_joined_.set();
  if (machine.epoch() == epoch()) return;
  epoch_ = machine.epoch().value;
  for (const auto& [node, member] : machine.all_members()) {
    if (member.life < life_of(node)) continue;  // of a log that is on disk: it is over
    if (std::exchange(told_[node], member.since) != member.since && member_news_)
      member_news_(node, member, machine.applied());
  }
  members_changed();
}

void Regions::tick() {
  const os::MutexLock lock(mu_);
  if (!started_) return;
  announce_new_homes();
  if (disk_ != nullptr) propose_lives();
  if (unsaid_ && durable_.journal_begun()) {
    unsaid_ = false;
    for (const RegionId region : mapped_) say_it_is_here(region);
  }
}

void Regions::housekeeping() {
  const std::int64_t now = os::monotonic_us();
  if (now < next_due_us_.load(std::memory_order_relaxed)) return;
  const os::MutexLock lock(mu_);
  vmm::Effects effects;
  if (started_) log_.tick(static_cast<std::uint64_t>(now), effects);
  carry_out(effects);
}

// In the order that vmm/replication.h demands.
void Regions::carry_out(vmm::Effects& effects) {
  if (started_) log_.flush(now_us(), effects);
  if (effects.restored) take_over();
  for (const vmm::Applied& applied : effects.applied) {
    if (applied.outcome) follow(applied);
  }
  if (recalls_ && has_begun()) recalls_ = false, take_hints();
  for (raft::Persist& persist : effects.persist) disk_->write(std::move(persist));
  note_membership();
  if (has_begun() && (effects.restored || !effects.applied.empty())) durable_.follow(log_.machine());
  if (const auto usable = log_.usable(); !usable) durable_.stop(usable.error());
  for (const vmm::Send& send : effects.sends) {
    const wire::FrameHeader header{.type = static_cast<std::uint16_t>(send.type),
                                   .body_bytes = static_cast<std::uint32_t>(send.body.size())};
    for (const NodeId to : send.to) mesh_->send(to, header, send.body, {}, net::WhenFull::kQueue);
  }
  for (vmm::Resolved& resolved : effects.resolved) {
    answer_newcomer(resolved);
    life_answered(resolved);
    resolve(resolved);
  }
  if (log_.machine().standing({self_, options_.life}) == vmm::Standing::kLeft && can_do_without_us()) may_go_.set();
  constexpr std::uint64_t kLongestUs = 1'000'000;
  next_due_us_ = static_cast<std::int64_t>(started_ ? std::min(log_.next_deadline(), now_us() + kLongestUs)
                                                    : now_us() + kNotStartedUs);
}

bool Regions::can_do_without_us() const { return !log_.votes() || log_.machine().members().empty(); }

void Regions::answer_newcomer(const vmm::Resolved& resolved) {
  const auto found = admissions_.find(resolved.ticket.value);
  if (found == admissions_.end()) return;
  const Admission admission = std::move(found->second);
  admissions_.erase(found);
  const auto answer = resolved.outcome.map([&](const vmm::Outcome& outcome) {
    vmm::Admitted admitted = vmm::admitted(log_.machine(), outcome);
    admitted.cluster = cluster();
    return admitted;
  });
  for (const vmm::Frame& frame : vmm::encode(admission.newcomer, answer)) admission.answer(frame);
}

void Regions::follow(const vmm::Applied& applied) {
  if (std::holds_alternative<vmm::MapRegion>(applied.entry)) {
    if (const vmm::Region* region = log_.machine().region(applied.outcome->region)) appeared(*region);
  } else if (const auto* homes = std::get_if<vmm::BlockHomes>(&applied.entry)) {
    if (recalls_) return;
    for (const vmm::HomeRun& run : homes->runs) {
      if (run.home != applied.proposer) memory_.home_given(run.first, run.count, applied.proposer, run.home);
      memory_.home_hint(run.first, run.count, run.home);
    }
  } else if (const auto* leaves = std::get_if<vmm::MemberLeaves>(&applied.entry)) {
    note_leaver(leaves->node, true, applied.index);
  } else if (const auto* stays = std::get_if<vmm::MemberStays>(&applied.entry)) {
    note_leaver(stays->node, false, applied.index);
  } else if (const auto* left = std::get_if<vmm::MemberLeft>(&applied.entry)) {
    if (left->node == self_) {
      leaves_at_ = applied.index;
    } else {
      follow_anchors();
    }
  }
}

void Regions::follow_anchors() {
  for (const auto& [id, region] : log_.machine().regions()) memory_.anchors_are(region.address, region.spread);
}

void Regions::pass_on_what_waits() {
  const os::MutexLock lock(mu_);
  follow_anchors();
}

void Regions::note_leaver(NodeId node, bool leaves, LogIndex index) {
  leaver_ = leaves ? node : kNoNode;
  if (leaves && node == self_) leaves_at_ = index;
  if (leaver_news_) leaver_news_(node, leaves, index);
}

void Regions::take_over() {
  const vmm::Machine& machine = log_.machine();
  if (leaver_ != kNoNode && leaver_ != machine.leaver()) note_leaver(leaver_, false, machine.applied());
  if (machine.leaver() != kNoNode) note_leaver(machine.leaver(), true, machine.applied());
  for (const auto& [id, region] : log_.machine().regions()) {
    appeared(region);
    memory_.anchors_are(region.address, region.spread);
  }
  if (!recalls_) take_hints();
}

void Regions::take_hints() {
  for (const auto& [id, region] : log_.machine().regions()) {
    region.homes.for_each_run(
        [&](BlockId first, std::uint64_t count, NodeId home) { memory_.home_hint(first, count, home); });
  }
}

void Regions::appeared(const vmm::Region& region) {
  if (std::ranges::find(mapped_, region.id) != mapped_.end()) return;
  mapped_.push_back(region.id);
  auto added = region.durable_backups > 0
                   ? sections_.add_region(region.name, region.address, region.blocks() * kBlockBytes)
                   : memory_.add_region(region.name, region.address, region.bytes, region.placement, region.spread);
  if (!added) {
    // The log says that this node has it, so it must.
    die(static_cast<int>(added.error().code), "gallocy: " + added.error().message);
  }
  say_it_is_here(region.id);
  for (WaitFlag* waiter : std::exchange(region_waiters_, {})) waiter->set();
}

// All founders are members before a region is mapped.
NodeId Regions::coordinator() const {
  for (const NodeId node : log_.machine().members()) {
    if (!dead_[node.value]) return node;
  }
  return self_;
}

// Nobody has written to it before all have said so. Hence who starts again with an empty journal has missed nothing.
void Regions::say_it_is_here(RegionId region) {
  if (!durable_.journal_begun()) return void(unsaid_ = true);
  if (coordinator() == self_) return region_is_here(self_, region);
  send_news(coordinator(), wire::kRegionHere, region);
}

// May come before this node's log has the region, or before it knows that it is the coordinator.
bool Regions::region_news(NodeId from, wire::MessageType type, std::span<const std::byte> body) {
  wire::RegionNews news;
  if (body.size() != sizeof news) return false;
  std::memcpy(&news, body.data(), sizeof news);
  const RegionId region{news.region};
  if (type == wire::kRegionHere) {
    if (here_.size() >= vmm::kMaxRegions) return false;
    region_is_here(from, region);
    return true;
  }
  if (std::ranges::find(everywhere_, region) == everywhere_.end()) everywhere_.push_back(region);
  for (WaitFlag* waiter : std::exchange(region_waiters_, {})) waiter->set();
  return true;
}

void Regions::region_is_here(NodeId node, RegionId region) {
  if (node != self_ && std::ranges::find(everywhere_, region) != everywhere_.end())
    return send_news(node, wire::kRegionEverywhere, region);  // it came later
  std::vector<NodeId>& nodes = here_[region];
  if (std::ranges::find(nodes, node) == nodes.end()) nodes.push_back(node);
  tell_if_everywhere(region);
}

void Regions::tell_if_everywhere(RegionId region) {
  const auto found = here_.find(region);
  if (found == here_.end() || coordinator() != self_) return;
  if (log_.machine().region(region) == nullptr) return;  // nor is it known who has to have it
  const std::vector<NodeId> members = log_.machine().members();
  for (const NodeId node : members) {
    if (is_live(node) && std::ranges::find(found->second, node) == found->second.end()) return;
  }
  here_.erase(found);
  if (std::ranges::find(everywhere_, region) == everywhere_.end()) everywhere_.push_back(region);
  for (const NodeId node : members) {
    if (node != self_ && is_live(node)) send_news(node, wire::kRegionEverywhere, region);
  }
  for (WaitFlag* waiter : std::exchange(region_waiters_, {})) waiter->set();
}

void Regions::send_news(NodeId to, wire::MessageType type, RegionId region) {
  const wire::RegionNews news{.region = region.value};
  mesh_->send(to, {.type = static_cast<std::uint16_t>(type), .body_bytes = sizeof news},
              std::as_bytes(std::span(&news, 1)), {}, net::WhenFull::kQueue);
}

// Homes that moved to this node become entries of the log. Nobody waits for that: the old home forwards meanwhile.
void Regions::announce_new_homes() {
  std::vector<std::pair<BlockId, NodeId>> homes;
  for (const BlockId block : memory_.take_new_homes()) homes.emplace_back(block, self_);
  vmm::Effects effects;
  for (vmm::BlockHomes& entry : entries_of(std::move(homes)))
    log_.propose(std::move(entry), vmm::Ticket{next_ticket_++}, now_us(), effects);
  carry_out(effects);
}

// As few as will hold them.
std::vector<vmm::BlockHomes> Regions::entries_of(std::vector<std::pair<BlockId, NodeId>> homes) {
  std::ranges::sort(homes);
  std::vector<vmm::BlockHomes> entries;
  for (const auto& [block, home] : homes) {
    const vmm::Region* region = log_.machine().region_at(block);
    if (region == nullptr) continue;
    if (entries.empty() || entries.back().region != region->id || entries.back().runs.size() == vmm::kMaxHomeRuns)
      entries.push_back({.region = region->id, .runs = {}});
    auto& runs = entries.back().runs;
    const bool continues =
        !runs.empty() && runs.back().home == home && runs.back().first.value + runs.back().count == block.value;
    if (continues) {
      ++runs.back().count;
    } else {
      runs.push_back({.first = block, .count = 1, .home = home});
    }
  }
  return entries;
}

Result<> Regions::publish_homes(std::vector<std::pair<BlockId, NodeId>> homes) {
  std::vector<vmm::BlockHomes> entries;
  {
    const os::MutexLock lock(mu_);
    entries = entries_of(std::move(homes));
  }
  for (vmm::BlockHomes& entry : entries) {
    auto published = propose({std::move(entry)}, kProposalTimeout);
    if (!published) return tl::unexpected(published.error());
  }
  return {};
}

}  // namespace gallocy::runtime
