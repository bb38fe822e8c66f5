#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

#include "base/check.h"
#include "raft/core.h"

namespace gallocy::raft {

void Core::check_invariants() const {
  CHECK(log_.base() <= commit_ && commit_ <= log_.last(), log_.base(), commit_, log_.last());
  CHECK(snapshot_.index <= commit_ && log_.base() <= snapshot_.index, snapshot_.index, log_.base(), commit_);
  CHECK(log_.last_term() <= term_, log_.last_term(), term_);
  CHECK(durable_index_ <= log_.last(), durable_index_, log_.last());
  CHECK((role_ == Role::kLeader) == (leader_ == options_.self), leader_);
  CHECK(role_ == Role::kLeader || (followers_.empty() && reads_.empty() && transfer_to_ == kNoServer), term_);
  for (const auto& [server, progress] : followers_) {
    CHECK(configuration().has(server), server);
    CHECK(progress.match <= log_.last() && progress.next > progress.match, progress.match, progress.next);
    CHECK(progress.window.size() <= options_.window.window_messages, progress.window.size());
  }
}

std::uint64_t Core::digest() const {
  Bytes bytes;
  wire::ByteWriter writer(bytes);
  for (const std::uint64_t value :
       {term_.value, vote_.value, leader_.value, commit_.value, snapshot_.index.value,
        static_cast<std::uint64_t>(role_), term_start_.value, log_.base().value, durable_index_.value,
        transfer_to_.value, std::uint64_t{lease_void_}, std::uint64_t{timeout_sent_}, std::uint64_t{held_.size()},
        round_, appends_, followed_.value, answered_term_.value, answered_round_})
    writer.put(value);
  for (const Entry& entry : log_.entries()) {
    writer.put(entry.term.value);
    writer.put(entry.kind);
    writer.put_bytes(entry.bytes());
  }
  for (const ServerId vote : votes_) writer.put(vote.value);
  for (const auto& [server, p] : followers_) {
    for (const std::uint64_t value : {server.value, p.match.value, p.next.value, static_cast<std::uint64_t>(p.state),
                                      std::uint64_t{p.probe_sent}, p.commit_sent.value, p.acked_round, p.probing_after,
                                      std::uint64_t{p.window.size()}, p.sent_bytes, p.acked_bytes})
      writer.put(value);
  }
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace gallocy::raft
