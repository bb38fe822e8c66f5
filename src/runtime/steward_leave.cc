// How a node leaves an open cluster in order: see "Leaving" in docs/protocol.md.
#include <algorithm>

#include "base/log.h"
#include "os/clock.h"
#include "runtime/runtime.h"
#include "runtime/steward.h"

namespace gallocy::runtime {
namespace {

using std::chrono::milliseconds;

// A drain that moves nothing for so long does not get on.
constexpr milliseconds kStuck{30'000};
// Copies of durable memory: 2 GiB take some seconds, and whoever dies meanwhile is replaced, too.
constexpr milliseconds kRestoreTimeout{600'000};
constexpr milliseconds kFarewellTimeout{30'000};
constexpr milliseconds kLogTimeout{30'000};
constexpr std::int64_t kPauseNs = 1'000'000;

std::int64_t deadline_after(milliseconds timeout) {
  return os::monotonic_ns() + std::chrono::nanoseconds(timeout).count();
}

}  // namespace

std::vector<NodeId> Steward::heirs() {
  std::vector<NodeId> nodes;
  for (const vmm::Peer& peer : runtime_.regions().members()) {
    if (peer.node != self() && runtime_.is_present(peer.node)) nodes.push_back(peer.node);
  }
  return nodes;
}

bool Steward::anybody_keeps_the_log(std::span<const NodeId> nodes) {
  bool anybody = false;
  runtime_.regions().look([&](const vmm::Log& log) {
    anybody = std::ranges::any_of(nodes, [&](NodeId node) { return log.machine().member(node)->on_disk; });
  });
  return anybody;
}

// In this order: all learn that this node is about to leave, and give it nothing more; what it has goes; then it says
// that it is no member any more. Who has heard that sends nothing more here; what it sent before is forwarded until
// then. One member leaves at a time, or it might give what it has to another that is on its way out, too.
Result<> Steward::leave() {
  const auto heirs_now = heirs();
  if (heirs_now.empty()) return {};  // the cluster ends with this node
  if (cluster() != 0 && !anybody_keeps_the_log(heirs_now)) {
    return fail(ErrorCode::kNotPermitted,
                fmt::format("it is the only one that has the cluster's log on disk, and node {} still needs that",
                            heirs_now.front()));
  }
  const std::uint64_t kept = runtime_.memory().kept_pages(), room = runtime_.memory().room_of(heirs_now);
  if (kept > room) {
    return fail(ErrorCode::kOutOfMemory, fmt::format("it keeps {} MiB and the others have room for {} MiB",
                                                     kept * kPageBytes >> 20, room * kPageBytes >> 20));
  }
  GALLOCY_ASSIGN(const Epoch announced, runtime_.regions().announce_leave(kLogTimeout));
  runtime_.take_more(false);
  if (const auto drained = drain(announced); !drained) {
    runtime_.memory().give_untouched();
    runtime_.take_more(true);
    (void)runtime_.regions().stay();  // if the log cannot be written any more, nobody else leaves either
    return drained;
  }
  GALLOCY_ASSIGN(const Epoch left, runtime_.regions().leave(kLogTimeout));
  if (const auto heard = await_farewells(left); !heard)
    log_event(LogLevel::kWarn, "no_farewell", "reason", heard.error().message);
  runtime_.regions().pass_on_what_waits();
  return give_everything_up();  // pages that came for a thread which did not wait for them
}

Result<> Steward::drain(Epoch announced) {
  GALLOCY_TRY(await_farewells(announced));
  GALLOCY_TRY(see_off_all());
  GALLOCY_TRY(give_locks_back());
  GALLOCY_TRY(await_release());
  GALLOCY_TRY(give_everything_up());
  // From here on no block begins its life here.
  runtime_.memory().keep_untouched();
  GALLOCY_TRY(give_everything_up());
  return runtime_.regions().publish_homes(runtime_.memory().given_homes());
}

// Of all members that live, of those who are still on their way in, too; not of those who joined when this node was no
// member any more: they never hear of it.
Result<> Steward::await_farewells(Epoch epoch) {
  std::vector<NodeId> others;
  runtime_.regions().look([&](const vmm::Log& log) {
    const vmm::Member& mine = *log.machine().member(self());
    for (const auto& [node, member] : log.machine().all_members()) {
      const bool later = mine.state == vmm::MemberState::kLeft && member.since > mine.since;
      if (member.state != vmm::MemberState::kPresent || node == self() || later) continue;
      if (!runtime_.is_lost(node)) others.push_back(node);
    }
  });
  farewells_.expect(std::move(others), epoch);
  if (runtime_.waiting().wait(farewells_.all_here(), deadline_after(kFarewellTimeout))) return {};
  return fail(ErrorCode::kTimeout,
              fmt::format("node {} has not heard that node {} leaves", farewells_.missing().front(), self()));
}

// A block may still be on its way here from a member that has left, until its connection has ended.
Result<> Steward::see_off_all() {
  const std::int64_t deadline = deadline_after(kFarewellTimeout);
  while (const auto node = runtime_.departing_node()) {
    runtime_.waiting().pause_until(os::monotonic_ns() + kPauseNs);
    if (os::monotonic_ns() > deadline)
      return fail(ErrorCode::kTimeout, fmt::format("node {} has left, and keeps its connection", *node));
  }
  return {};
}

Result<> Steward::give_locks_back() {
  constexpr std::int64_t kAgainNs = 100'000'000;  // a token may have been on its way here
  const std::int64_t deadline = deadline_after(kStuck);
  while (!runtime_.sync().has_no_homes()) {
    runtime_.waiting().pause_until(os::monotonic_ns() + kPauseNs);
    if (os::monotonic_ns() > deadline)
      return fail(ErrorCode::kTimeout, "the homes of locks did not move to another node");
  }
  while (const std::size_t kept = runtime_.sync().give_back()) {
    runtime_.waiting().pause_until(os::monotonic_ns() + kAgainNs);
    if (os::monotonic_ns() > deadline)
      return fail(ErrorCode::kTimeout, fmt::format("{} locks of this node were not taken back", kept));
  }
  return {};
}

Result<> Steward::await_release() {
  const std::int64_t deadline = deadline_after(kRestoreTimeout);
  while (!runtime_.durable().may_leave()) {
    runtime_.waiting().pause_until(os::monotonic_ns() + kPauseNs);
    if (os::monotonic_ns() > deadline)
      return fail(ErrorCode::kTimeout, fmt::format("the durable memory of this node was not at others within {} s",
                                                   kRestoreTimeout.count() / 1000));
  }
  return {};
}

Result<> Steward::give_everything_up() {
  std::int64_t last_progress = os::monotonic_ns();
  for (auto kept = runtime_.memory().blocks_kept(); !kept.empty(); kept = runtime_.memory().blocks_kept()) {
    while (!kept.empty()) {
      const auto to = heirs();
      if (to.empty()) return fail(ErrorCode::kPeerLost, "nobody is left to take this node's memory over");
      const std::size_t before = kept.size();
      runtime_.memory().give_up(kept, to);
      if (kept.size() < before) last_progress = os::monotonic_ns();
      if (os::monotonic_ns() - last_progress > std::chrono::nanoseconds(kStuck).count()) {
        return fail(ErrorCode::kTimeout,
                    fmt::format("{} blocks of this node did not move within {} s: the others may have no room, or hold "
                                "on to them; {}",
                                kept.size(), kStuck.count() / 1000, runtime_.memory().why_kept(kept.front())));
      }
      runtime_.waiting().pause_until(os::monotonic_ns() + kPauseNs);
    }
  }
  return {};
}

}  // namespace gallocy::runtime
