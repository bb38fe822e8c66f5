// Changes of membership, one server at a time (§4), and the transfer of leadership (§3.10).
//
// Two changes that leaders of different terms begin can leave majorities without a common server, though each is one
// step (Ongaro, "bug in single-server membership changes", raft-dev, 10 July 2015). So a leader begins a change only
// after an entry of its own term is committed: then no change of a former leader, that is not committed, can come back.
#include "raft/core_send.h"

namespace gallocy::raft {

tl::expected<Proposed, Refusal> Core::change(const Change& change, std::uint64_t now) {
  if (role_ != Role::kLeader) return tl::unexpected(Refusal::kNotLeader);
  if (transfer_to_ != kNoServer) return tl::unexpected(Refusal::kTransferring);
  if (!term_begun() && !is(Mutant::kChangeBeforeNoOp)) return tl::unexpected(Refusal::kTermNotBegun);
  if (configuration_index() > commit_ && !is(Mutant::kChangeWhilePending))
    return tl::unexpected(Refusal::kChangePending);
  auto next = changed(configuration(), change);
  if (!next) return tl::unexpected(Refusal::kNoSuchChange);
  if (change.kind == Change::Kind::kPromote && change.server != options_.self) {
    // A voter that is far behind would hold up the commits that need it (§4.2.1).
    const Progress& progress = followers_.at(change.server);
    const bool stalls =
        progress.match < progress.catch_up_goal && now - progress.catch_up_began >= options_.election_timeout_us;
    if (!progress.caught_up || stalls) return tl::unexpected(Refusal::kNotCaughtUp);
  }
  append({term_, EntryKind::kConfiguration, std::make_shared<const Bytes>(next->encode())});
  follow_configuration(now);
  return Proposed{log_.last(), term_};
}

tl::expected<void, Refusal> Core::transfer(ServerId to, std::uint64_t now) {
  if (role_ != Role::kLeader) return tl::unexpected(Refusal::kNotLeader);
  if (transfer_to_ != kNoServer) return tl::unexpected(Refusal::kTransferring);
  if (to == options_.self || !configuration().voters.contains(to)) return tl::unexpected(Refusal::kNoSuchChange);
  transfer_to_ = to;
  transfer_deadline_ = now + options_.election_timeout_us;
  timeout_sent_ = false;
  continue_transfer(now);
  return {};
}

// The target must have the whole log, or it could not win.
void Core::continue_transfer(std::uint64_t now) {
  if (transfer_to_ == kNoServer || timeout_sent_) return;
  const auto target = followers_.find(transfer_to_);
  if (target == followers_.end() || target->second.match != log_.last()) return;
  timeout_sent_ = true;
  lease_void_ = true;
  send(transfer_to_, TimeoutNow{}, now);
}

void Core::resign(std::uint64_t now) {
  if (role_ == Role::kLeader) become_follower(term_, kNoServer, now);
}

// §4.2.2: a leader that is not in the configuration manages without its own vote until the change is committed.
void Core::step_down_if_removed(std::uint64_t now) {
  if (configuration().voters.contains(options_.self) || configuration_index() > commit_) return;
  for (auto& [server, progress] : followers_) replicate(server, progress, now);
  become_follower(term_, kNoServer, now);
}

}  // namespace gallocy::raft
