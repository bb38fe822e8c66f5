// Reads without an entry in the log (§6.4): by asking a majority whether this is still the leader (read index), or by
// the lease that such an answer gives (§6.4.1).
//
// The lease: a follower that heard a heartbeat votes for nobody for an election timeout by its own clock. So from the
// moment the leader *sent* a heartbeat that a quorum answered, no other leader can be for that long, less what the
// clocks may differ. A leader that has told another server to take over (TimeoutNow) has no lease until its next term:
// that message may arrive at any time and overrides the promise. A server that starts again waits an election timeout
// before it votes, since it may have promised.
#include <algorithm>

#include "raft/core_send.h"

namespace gallocy::raft {
namespace {

// Rounds that are under way at once; reads that come when so many are wait for the next one.
constexpr std::size_t kMaxOpenRounds = 32;

}  // namespace

void Core::read(Ticket ticket, std::uint64_t now) {
  const auto refuse = [&](Refusal why) { effects_.reads.push_back({ticket, tl::unexpected(why)}); };
  if (role_ != Role::kLeader) return refuse(Refusal::kNotLeader);
  if (reads_.size() >= options_.max_open_reads) return refuse(Refusal::kTooManyOpen);
  if ((options_.reads == ReadMode::kLease && has_lease(now)) || is(Mutant::kReadWithoutRound)) {
    effects_.reads.push_back({ticket, commit_});
    return;
  }
  reads_.push_back({ticket, LogIndex{}, 0});
  round_wanted_ = term_begun() || is(Mutant::kReadBeforeNoOp);
}

void Core::begin_round(std::uint64_t now) {
  if (rounds_.size() >= kMaxOpenRounds && now < heartbeat_due_ - options_.heartbeat_us) return;
  round_wanted_ = false;
  rounds_.push_back({++round_, now});
  if (term_begun() || is(Mutant::kReadBeforeNoOp)) {
    for (auto read = reads_.rbegin(); read != reads_.rend() && read->round == 0; ++read) {
      read->round = round_;
      read->index = commit_;
    }
  }
  for (auto& [server, progress] : followers_) send_append(server, progress, {}, now);
  release_reads(now);
}

void Core::acknowledged(Progress& progress, std::uint64_t round, std::uint64_t now) {
  progress.last_reply = now;
  if (round > round_) return;
  progress.acked_round = std::max(progress.acked_round, round);
  release_reads(now);
}

bool Core::term_begun() const { return commit_ >= term_start_; }

std::uint64_t Core::lease_us() const {
  if (is(Mutant::kLeaseTooLong)) return 4 * options_.election_timeout_us;
  // The leader's clock may be as much too slow as a follower's is too fast.
  return options_.election_timeout_us * (1000 - options_.clock_drift_permille) / (1000 + options_.clock_drift_permille);
}

bool Core::has_lease(std::uint64_t now) const {
  if (role_ != Role::kLeader || (lease_void_ && !is(Mutant::kLeaseAfterTransfer)) || rounds_.empty()) return false;
  if (!term_begun() && !is(Mutant::kReadBeforeNoOp)) return false;
  const std::uint64_t answered = quorum_value([](const Progress& p) { return p.acked_round; }, round_);
  return rounds_.front().number <= answered && now < rounds_.front().began + lease_us();
}

void Core::release_reads(std::uint64_t now) {
  const std::uint64_t answered = quorum_value([](const Progress& p) { return p.acked_round; }, round_);
  while (rounds_.size() > 1 && rounds_[1].number <= answered) rounds_.pop_front();
  if (is(Mutant::kLeaseFromReply) && !rounds_.empty() && rounds_.front().number <= answered)
    rounds_.front().began = now;
  while (!reads_.empty() && reads_.front().round != 0 && reads_.front().round <= answered) {
    effects_.reads.push_back({reads_.front().ticket, reads_.front().index});
    reads_.pop_front();
  }
}

void Core::refuse_reads() {
  for (const OpenRead& read : reads_) effects_.reads.push_back({read.ticket, tl::unexpected(Refusal::kNotLeader)});
  reads_.clear();
}

}  // namespace gallocy::raft
