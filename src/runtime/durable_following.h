// How a node's durable core follows the VMM's log, which says who the members are and which regions are durable. Pure.
#pragma once

#include <optional>
#include <vector>

#include "durable/core.h"
#include "runtime/lease.h"
#include "vmm/machine.h"

namespace gallocy::runtime {

// Begins in the state in which this node became a member, and goes on from there as if it had followed entry by entry:
// what it was to keep from then on it has, as nothing can have been committed there without it. Nothing happens before
// it is a member. `next_region`: the first region that the core may not have.
// `kept`: with what an earlier life of the node had, in the epoch in which that ended; it must be a member since then.
void begin_durable(std::optional<durable::Core>& core, NodeId self, const vmm::Machine& machine,
                   const durable::Options& options, RegionId& next_region, durable::Kept kept = {});

// The log has gone on.
void follow_durable(durable::Core& core, const vmm::Machine& machine, RegionId& next_region);

std::vector<Lease::Peer> peers_of(const durable::Core& core);

// What this member, which is here to stay, is to propose next; nothing: it has settled, or has to wait. See "Companies"
// in docs/durable.md. `may_go_on(epoch)`: its core says so (Core::may_go_on_settling) and has got to that epoch.
template <typename MayGoOn>
std::optional<vmm::MemberSettles> settling_step(const vmm::Machine& machine, NodeId self, MayGoOn may_go_on) {
  if (!machine.is_unsettled(self)) return std::nullopt;
  const vmm::SettleStep step = machine.next_step();
  const bool may = step == vmm::SettleStep::kTakenIn ? machine.leaver() == kNoNode
                                                     : machine.settler() == self && may_go_on(machine.epoch());
  if (!may) return std::nullopt;
  return vmm::MemberSettles{self, step, machine.epoch()};
}

}  // namespace gallocy::runtime
