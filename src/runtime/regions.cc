#include "runtime/regions.h"

#include <algorithm>
#include <random>

#include "base/check.h"
#include "base/log.h"
#include "os/clock.h"

namespace gallocy::runtime {
namespace {

constexpr std::int64_t kNextTurnNs = 10'000'000;  // to leave

// A majority of two is both: a log that two nodes keep ends with either, so one keeps it. See
// docs/decisions/0005-clusters-of-three-or-more-keep-their-log-by-raft.md.
constexpr std::uint16_t kLeastForRaft = 3;

bool kept_by_one(const RegionsOptions& options) {
  return !options.long_lived && options.founders.size() < kLeastForRaft;
}

// The first of the founders leads at first: another one in each shard.
vmm::RaftOptions raft_options(const RegionsOptions& options, std::uint32_t shard) {
  std::vector<NodeId> founders = options.founders;
  if (!founders.empty())
    std::ranges::rotate(founders, founders.begin() + static_cast<std::ptrdiff_t>(shard % founders.size()));
  return {.self = options.self,
          .incarnation = options.life,
          .founders = std::move(founders),
          .seed = std::random_device()(),
          .now = static_cast<std::uint64_t>(os::monotonic_us())};
}

vmm::Log::MakeReplication replication(const RegionsOptions& options, std::uint32_t shard, const LogDisk* disk) {
  if (disk == nullptr && kept_by_one(options)) return vmm::keeper_log({.self = options.self, .keeper = NodeId{0}});
  vmm::RaftOptions raft = raft_options(options, shard);
  if (disk != nullptr) raft.core.storage = raft::Storage::kDurable;
  if (disk != nullptr && !disk->has_begun_anew()) raft.found = disk->found(shard);
  return vmm::raft_log(raft);
}

std::uint64_t by_chance() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | (device() | 1);
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
        disk->begin_anew({.cluster = new_cluster, .node = options.self, .nodes = nodes, .shards = options.shards},
                         founding_states(options)));
  } else if (known.node != options.self || known.nodes != nodes) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} holds the log of node {} of {}, this is node {} of {}: start as many nodes as founded it",
                    directory, known.node, known.nodes, options.self, nodes));
  } else if (known.shards != options.shards) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} holds the logs of {} shards: give --shards {}", directory, known.shards, known.shards));
  } else {
    GALLOCY_TRY(disk->begin_again());
  }
  return disk;
}

std::vector<raft::PersistentState> Regions::founding_states(const RegionsOptions& options) {
  std::vector<raft::PersistentState> states;
  for (std::uint32_t shard = 0; shard < options.shards; ++shard)
    states.push_back(vmm::first_state(raft_options(options, shard)));
  return states;
}

Regions::Regions(RegionsOptions options, net::Mesh* mesh, Memory& memory, Sections& sections, DurableService& durable,
                 std::unique_ptr<LogDisk> disk)
    : options_(std::move(options)),
      self_(options_.self),
      mesh_(mesh),
      memory_(memory),
      sections_(sections),
      durable_(durable),
      coordinator_(options_.founders.empty() ? kNoNode : options_.founders.front()),
      dead_(options_.nodes),
      lives_(options_.nodes, disk != nullptr ? 0 : 1),
      disk_(std::move(disk)) {
  const os::MutexLock lock(mu_);
  for (std::uint32_t shard = 0; shard < options_.shards; ++shard) {
    shards_.emplace_back(
        vmm::LogOptions{.self = self_, .incarnation = options_.life, .shard = {.index = shard, .of = options_.shards}},
        replication(options_, shard, disk_.get()), disk_ != nullptr && !disk_->has_begun_anew());
  }
}

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
    start_logs();
  }
  if (std::ranges::find(options_.founders, self_) != options_.founders.end()) {
    auto joined = propose({self}, timeout);
    if (!joined) return tl::unexpected(joined.error());
  }
  // A region may be placed on any node, so all are members before the program maps one.
  if (waiting_->wait(all_joined_, deadline_after(timeout))) {
    const os::MutexLock lock(mu_);
    return lost_too_soon_ ? tl::unexpected(*lost_too_soon_) : Result<>();
  }
  return fail(ErrorCode::kTimeout, fmt::format("not all nodes joined within {} ms", timeout.count()));
}

Result<Epoch> Regions::announce_leave(std::chrono::milliseconds timeout) {
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
  // The other shards follow, or a region might still be placed here.
  for (const std::int64_t deadline = deadline_after(timeout); !is_leaver(self_);) {
    waiting_->pause_until(os::monotonic_ns() + kNextTurnNs);
    if (os::monotonic_ns() < deadline) continue;
    (void)stay();
    return fail(ErrorCode::kTimeout,
                fmt::format("not all shards know within {} ms that this node is about to leave", timeout.count()));
  }
  const os::MutexLock lock(mu_);
  return first().machine().leaver_since();
}

Result<> Regions::stay() {
  const auto stays = propose({vmm::MemberStays{self_}}, kProposalTimeout);
  return stays ? Result<>() : tl::unexpected(stays.error());
}

NodeId Regions::leaver_now() {
  const os::MutexLock lock(mu_);
  return first().usable() ? first().machine().leaver() : kNoNode;
}

bool Regions::is_leaver(NodeId node) {
  const os::MutexLock lock(mu_);
  return leaver_ == node;
}

Result<Epoch> Regions::leave(std::chrono::milliseconds timeout) {
  const auto left = propose({vmm::MemberLeft{self_}}, timeout);
  if (!left) return tl::unexpected(left.error());
  if (waiting_->wait(may_go_, deadline_after(timeout))) {
    const os::MutexLock lock(mu_);
    if (disk_ != nullptr) disk_->forget_at_end();
    return first().machine().member(self_)->since;
  }
  return fail(ErrorCode::kTimeout, fmt::format("the log could not do without this node within {} ms", timeout.count()));
}

bool Regions::admit(std::span<const std::byte> body, Answer answer) {
  const auto wish = vmm::decode_wish(body);
  if (!wish) return false;
  const os::MutexLock lock(mu_);
  if (!all_founders_joined(first())) return true;  // their numbers are not to be had; it asks again
  // It asks again while it waits.
  for (auto& [ticket, admission] : admissions_) {
    if (admission.newcomer == wish->newcomer) return admission.answer = std::move(answer), true;
  }
  const std::uint64_t ticket = next_ticket_++;
  admissions_[ticket] = {wish->newcomer, std::move(answer)};
  Turn turn(shards_.size());
  hand_in(vmm::entry_of(*wish), ticket, turn);
  carry_out(turn);
  return true;
}

std::vector<vmm::Peer> Regions::members() {
  const os::MutexLock lock(mu_);
  return vmm::admitted(first().machine(), {}).peers;
}

Result<vmm::Outcome> Regions::propose(std::vector<vmm::Entry> entries, std::chrono::milliseconds timeout) {
  Waiter waiter{.count = entries.size()};
  std::uint64_t first = 0;
  const auto ask = [&] {
    const os::MutexLock lock(mu_);
    first = next_ticket_;
    waiters_[first] = &waiter;
    Turn turn(shards_.size());
    for (vmm::Entry& entry : entries) hand_in(std::move(entry), next_ticket_++, turn);
    carry_out(turn);
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
  const std::uint32_t shard = vmm::shard_of(vmm::BindName{.name = std::string(name)}, options_.shards);
  const vmm::Binding* const binding = shards_[shard].log.machine().binding(name);
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
      if (const vmm::Region* region = region_named(name)) found = *region;
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

Result<> Regions::majority() {
  const os::MutexLock lock(mu_);
  return disk_ == nullptr && kept_by_one(options_) ? Result<>() : first().usable();
}

bool Regions::frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body) {
  const os::MutexLock lock(mu_);
  if (type == wire::kRegionHere || type == wire::kRegionEverywhere) return region_news(from, type, body);
  if (type == wire::kVmmCluster) return life_began(from, body);
  const std::uint32_t shard = wire::shard_of(type);
  if (shard >= shards_.size()) return false;
  Turn turn(shards_.size());
  const auto accepted = shards_[shard].log.message(from, wire::type_in_first(type), body, now_us(), turn[shard]);
  carry_out(turn);
  if (!accepted) refused_.log(os::monotonic_ns(), "node", from, "reason", accepted.error().message);
  return accepted.has_value();
}

bool Regions::can_decide() {
  const os::MutexLock lock(mu_);
  return first().usable().has_value();
}

}  // namespace gallocy::runtime
