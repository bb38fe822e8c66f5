#include "whole_leaves.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "runtime/sync_following.h"

namespace gallocy::sim {
namespace {

constexpr std::uint64_t kPauseUs = 2'000, kLocksAgainUs = 100'000;
constexpr std::uint64_t kStuckUs = 8'000'000;
constexpr Epoch kWhatever{~std::uint32_t{0}};

}  // namespace

WholeLeaves::WholeLeaves(VmmCluster& log, WholeMemory& memory, WholeSync& sync, LeaveBug bug)
    : log_(log), memory_(memory), sync_(sync), bug_(bug), prng_(log.now() + 77) {
  log_.on_resolved = [this](vmm::Ticket ticket, const Result<vmm::Outcome>& outcome) {
    resolved(ticket, outcome.has_value());
  };
  log_.is_needed = [this](NodeId node) { return is_leaving(node) && !has_left(node); };
  log_.ends_its_links = [this](NodeId node) { return has_left(node); };
}

std::size_t WholeLeaves::leaving() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(nodes_, [](const auto& each) { return each.second.step != Step::kStays; }));
}

void WholeLeaves::start(NodeId node, const std::vector<NodeId>& present) {
  nodes_[node].met.insert(present.begin(), present.end());
}

// ---------------------------------------------------------------------------------------------- those who stay

// As Regions::follow, ::take_over.
void WholeLeaves::applied(NodeId node, const vmm::Applied& applied) {
  Node& n = nodes_.at(node);
  if (std::holds_alternative<vmm::MemberLeaves>(applied.entry) ||
      std::holds_alternative<vmm::MemberStays>(applied.entry)) {
    n.leaver_news_due = true;
  } else if (const auto* left = std::get_if<vmm::MemberLeft>(&applied.entry)) {
    if (left->node != node) memory_.follow_anchors(node);
  }
}

void WholeLeaves::restored(NodeId node) {
  Node& n = nodes_.at(node);
  n.leaver_news_due = true;
  memory_.follow_anchors(node);
}

// As Regions::note_leaver, ::note_membership.
void WholeLeaves::followed(NodeId node) {
  Node& n = nodes_.at(node);
  if (std::exchange(n.leaver_news_due, false)) {
    const NodeId leaver = machine(node).leaver(), before = std::exchange(n.leaver, leaver);
    if (before != kNoNode && before != leaver && machine(node).is_member(before)) tell(node, before, false);
    if (leaver != kNoNode) tell(node, leaver, true);
  }
  for (const auto& [other, member] : machine(node).all_members()) {
    if (member.state != vmm::MemberState::kLeft || other == node || !n.left.insert(other).second) continue;
    memory_.node_leaves(node, other, true);
    say_farewell(node, other);
  }
  sync_.homes_move(node, runtime::homes_moved(machine(node)));
}

void WholeLeaves::tell(NodeId node, NodeId leaver, bool leaves) {
  if (leaver == node) return;
  memory_.node_leaves(node, leaver, leaves);
  if (leaves) say_farewell(node, leaver);
}

void WholeLeaves::say_farewell(NodeId node, NodeId to) {
  if (has_met(node, to)) on_farewell(node, to, machine(node).epoch());
}

// As Runtime::departed.
bool WholeLeaves::parted(NodeId node, NodeId other) {
  const Node& n = nodes_.at(node);
  if (!n.left.contains(other)) return false;
  if (!n.met.contains(other)) return true;
  memory_.departed(node, other);
  sync_.node_left(node, other);
  answered(node, other, kWhatever);
  return true;
}

void WholeLeaves::buried(NodeId node, NodeId dead) { answered(node, dead, kWhatever); }

void WholeLeaves::answered(NodeId node, NodeId by, Epoch epoch) {
  Epoch& so_far = nodes_.at(node).answers[by];
  so_far = std::max(so_far, epoch);
}

// ---------------------------------------------------------------------------------------------- one that leaves

void WholeLeaves::begin(NodeId node) {
  Node& n = nodes_.at(node);
  const auto to = heirs(node);
  if (to.empty() || !memory_.have_room_for_all(node, to)) return log_.stay(node);
  ++counters_.begun;
  n.step = Step::kWaits;
  n.since = log_.now();
  go_on(node);
}

void WholeLeaves::go_on(NodeId node) {
  log_.at(1 + prng_.below(kPauseUs), [this, node] {
    if (!log_.up(node)) return;
    Node& n = nodes_.at(node);
    if (may_go_on(node, n)) {
      n.since = log_.now();
      next_step(node, n);
    } else if (n.failed || (n.step > Step::kAnnounces && log_.now() - n.since > kStuckUs)) {
      stay(node, n);
    }
    if (log_.up(node) && n.step != Step::kStays) go_on(node);
  });
}

bool WholeLeaves::may_go_on(NodeId node, Node& n) {
  switch (n.step) {
    case Step::kWaits:
      return machine(node).leaver() == kNoNode;
    case Step::kAnnounces:
      return n.leaver == node && !n.open;
    case Step::kIsHeard:
    case Step::kIsHeardAgain:
      return all_heard(n);
    case Step::kSeesOff:
      return sees_off_all(node, n);
    case Step::kReturnsLocks:
      if (!sync_.has_no_homes(node) || log_.now() < n.again_at) return false;
      n.again_at = log_.now() + kLocksAgainUs;
      return sync_.give_back(node) == 0;
    case Step::kIsReleased:
      return is_released(node);
    case Step::kGivesUp:
    case Step::kGivesUpMore:
    case Step::kPassesOn:
      return gives_everything_up(node, n);
    case Step::kPublishes:
      return publishes(node, n);
    case Step::kLeaves:
      return log_lets_go(node);
    case Step::kStays:
    case Step::kGone:
      break;
  }
  return false;
}

void WholeLeaves::next_step(NodeId node, Node& n) {
  n.step = static_cast<Step>(static_cast<unsigned>(n.step) + 1);
  switch (n.step) {
    case Step::kAnnounces:
      return propose(node, vmm::MemberLeaves{node});
    case Step::kIsHeard:
      memory_.take_more(node, false);
      return expect_farewells(node, n);
    case Step::kGivesUpMore:
      return memory_.keep_untouched(node);
    case Step::kPublishes:
      if (bug_ != LeaveBug::kUnsaid) n.to_publish = memory_.given_homes(node);
      return;
    case Step::kLeaves:
      return log_.leave(node);
    case Step::kIsHeardAgain:
      return expect_farewells(node, n);
    case Step::kPassesOn:
      return memory_.follow_anchors(node);
    case Step::kGone:
      ++counters_.left;
      return log_.crash(node);
    default:
      return;
  }
}

// Or it ends, if the log has it that it has left.
void WholeLeaves::stay(NodeId node, Node& n) {
  if (n.step == Step::kIsHeardAgain) return next_step(node, n);
  if (n.step >= Step::kLeaves) return log_.crash(node);
  n.step = Step::kStays;
  n.failed = n.publishes = false;
  n.open.reset();
  n.to_publish.clear();
  ++counters_.stayed;
  log_.stay(node);
  memory_.give_untouched(node);
  memory_.take_more(node, true);
  log_.propose(node, vmm::MemberStays{node}, log_.fresh_ticket());
}

void WholeLeaves::propose(NodeId node, vmm::Entry entry) {
  nodes_.at(node).failed = false;
  const vmm::Ticket ticket = log_.fresh_ticket();
  nodes_.at(node).open = ticket;
  log_.propose(node, std::move(entry), ticket);
}

void WholeLeaves::resolved(vmm::Ticket ticket, bool accepted) {
  for (auto& [node, n] : nodes_) {
    if (n.open != ticket) continue;
    n.open.reset();
    if (accepted) return;
    // Somebody else came first.
    if (n.step == Step::kAnnounces) {
      n.step = Step::kWaits;
    } else {
      n.failed = true;
    }
    return;
  }
}

// As Steward::await_farewells.
void WholeLeaves::expect_farewells(NodeId node, Node& n) {
  n.missing.clear();
  const vmm::Member& mine = *machine(node).member(node);
  n.expected = mine.state == vmm::MemberState::kLeft ? mine.since : machine(node).leaver_since();
  for (const auto& [other, member] : machine(node).all_members()) {
    const bool later = mine.state == vmm::MemberState::kLeft && member.since > mine.since;
    if (member.state != vmm::MemberState::kPresent || other == node || later) continue;
    const bool is_lost = n.met.contains(other) && log_.parted(node, other);
    if (!is_lost) n.missing.push_back(other);
  }
}

bool WholeLeaves::all_heard(const Node& n) const {
  return bug_ == LeaveBug::kUnheard || std::ranges::all_of(n.missing, [&](NodeId other) {
           const auto answer = n.answers.find(other);
           return answer != n.answers.end() && answer->second >= n.expected;
         });
}

bool WholeLeaves::sees_off_all(NodeId node, const Node& n) {
  return std::ranges::all_of(n.left, [&](NodeId other) { return !n.met.contains(other) || log_.parted(node, other); });
}

std::vector<NodeId> WholeLeaves::heirs(NodeId node) {
  const Node& n = nodes_.at(node);
  std::vector<NodeId> nodes = machine(node).members();
  std::erase_if(nodes, [&](NodeId other) {
    return other == node || !n.met.contains(other) || n.left.contains(other) || log_.parted(node, other);
  });
  return nodes;
}

bool WholeLeaves::gives_everything_up(NodeId node, Node& n) {
  const auto to = heirs(node);
  if (to.empty()) return n.failed = true, false;
  const std::size_t kept = memory_.give_everything_up(node, to);
  if (kept < std::exchange(n.kept, kept)) n.since = log_.now();
  return kept == 0;
}

// As Regions::publish_homes. What a node got that has died is lost: there is nothing to tell of it.
bool WholeLeaves::publishes(NodeId node, Node& n) {
  if (n.open) return false;
  auto& entries = n.to_publish;
  if (std::exchange(n.publishes, false)) {
    if (!n.failed) {
      entries.pop_back();
    } else if (!drop_the_dead(node, entries.back())) {
      return false;
    }
  }
  n.failed = false;
  while (!entries.empty() && (drop_the_dead(node, entries.back()), entries.back().runs.empty())) entries.pop_back();
  if (entries.empty()) return true;
  n.publishes = true;
  propose(node, entries.back());
  return false;
}

bool WholeLeaves::drop_the_dead(NodeId node, vmm::BlockHomes& homes) {
  return std::erase_if(homes.runs, [&](const vmm::HomeRun& run) { return !machine(node).is_member(run.home); }) != 0;
}

// As Regions::can_do_without_us.
bool WholeLeaves::log_lets_go(NodeId node) {
  const vmm::Log& log = log_.log(node);
  const bool has_left = log.machine().standing({node, log_.life(node)}) == vmm::Standing::kLeft;
  return has_left && (!log.votes() || log.machine().members().empty());
}

std::string WholeLeaves::describe(NodeId node) const {
  const Node& n = nodes_.at(node);
  return fmt::format("step {}, {} kept, {} missing, {} to publish", static_cast<int>(n.step), n.kept, n.missing.size(),
                     n.to_publish.size());
}

}  // namespace gallocy::sim
