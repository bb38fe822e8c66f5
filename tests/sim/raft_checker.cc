#include "raft_checker.h"

#include "base/check.h"
#include "network.h"

namespace gallocy::sim {
namespace {

std::uint64_t digest(const raft::Entry& entry) {
  std::uint64_t sum = mix(entry.term.value, static_cast<std::uint64_t>(entry.kind));
  for (const std::byte b : entry.bytes()) sum = mix(sum, std::to_integer<std::uint64_t>(b));
  return sum;
}

}  // namespace

void RaftChecker::observe(const raft::Core& core) {
  core.check_invariants();
  check_log(core);
  if (core.role() == raft::Role::kLeader) check_leader(core);
}

void RaftChecker::check_leader(const raft::Core& core) {
  const auto [leader, is_new] = leaders_.emplace(core.term(), core.self());
  CHECK(leader->second == core.self(), "two leaders", core.term(), leader->second, core.self());
  auto& [term, last] = last_of_leader_[core.self()];
  CHECK(term != core.term() || last <= core.log().last(), "a leader's log shrinks", core.self(), last);
  term = core.term();
  last = core.log().last();
  if (!is_new) return;
  for (const auto& [index, fact] : committed_) {
    if (fact.in_term >= core.term() || index <= core.log().base()) continue;
    CHECK(core.log().has(index) && digest(core.log().at(index)) == fact.digest, "a leader lacks a committed entry",
          core.self(), core.term(), index, fact.term);
  }
}

void RaftChecker::check_log(const raft::Core& core) {
  const raft::Log& log = core.log();
  // A log that ends as it did has not changed: entries are only replaced by others of a later term.
  const Seen now{log.base(), log.last(), log.last_term()};
  Seen& seen = seen_[core.self()];
  if (seen == now) return;
  truncations_ += now.last < seen.last;
  seen = now;
  raft::Term before = log.base_term();
  LogIndex index = log.base();
  for (const raft::Entry& entry : log.entries()) {
    ++index.value;
    const std::pair fact(digest(entry), before);
    const auto [known, is_new] = entries_.emplace(std::pair(index, entry.term), fact);
    CHECK(known->second == fact, "two logs differ before an entry that they share", core.self(), index, entry.term);
    before = entry.term;
  }
}

void RaftChecker::committed(const raft::Core& core, const raft::Committed& c) {
  const Fact fact{digest(c.entry), c.entry.term, core.term()};
  const auto [known, is_new] = committed_.emplace(c.index, fact);
  CHECK(known->second.digest == fact.digest, "two entries committed at one index", c.index, core.self(),
        known->second.term, c.entry.term);
  configurations_ += is_new && c.entry.kind == raft::EntryKind::kConfiguration;
}

void RaftChecker::state(LogIndex index, std::uint64_t digest) {
  const auto [known, is_new] = states_.emplace(index, digest);
  CHECK(known->second == digest, "two states after one index", index);
}

}  // namespace gallocy::sim
