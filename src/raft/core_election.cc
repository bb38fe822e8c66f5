// Elections: terms, votes, and who may ask for them.
#include <algorithm>

#include "raft/core_send.h"

namespace gallocy::raft {

// Whether it owes a leader that it votes for nobody else. A leader owes itself the same: a vote would end a lease that
// others rely on no more than it does, but there is no reason to give it away.
bool Core::promised(std::uint64_t now) const { return role_ == Role::kLeader || now < promised_until_; }

// Also a server that is removed by a change that is not committed: it may be the only one that has the entry, and
// nobody with a shorter log can win (§4.2.2).
bool Core::may_campaign() const {
  if (configuration().voters.contains(options_.self)) return true;
  const LogIndex index = configuration_index();
  return index > commit_ && log_.configurations().at(LogIndex{index.value - 1}).voters.contains(options_.self);
}

// Chance keeps servers from splitting the vote again and again (§3.4).
void Core::set_election_deadline(std::uint64_t now) {
  election_deadline_ = now + options_.election_timeout_us + prng_.below(options_.election_timeout_us);
}

// Chance again, in less time: the connections of all of them break at once.
void Core::leader_lost(std::uint64_t now) {
  if (role_ != Role::kFollower || leader_ == kNoServer) return;
  leader_ = kNoServer;
  election_deadline_ = std::min(election_deadline_,
                                std::max(now, promised_until_) + 2'000 + prng_.below(options_.election_timeout_us / 4));
}

void Core::become_follower(Term term, ServerId leader, std::uint64_t now) {
  if (term > term_) {
    term_ = term;
    vote_ = kNoServer;
    hard_state_changed();
  }
  if (role_ != Role::kFollower || leader != kNoServer) set_election_deadline(now);
  if (role_ == Role::kLeader) {
    refuse_reads();
    followers_.clear();
    rounds_.clear();
    round_wanted_ = false;
    transfer_to_ = kNoServer;
  }
  role_ = Role::kFollower;
  leader_ = leader;
  votes_.clear();
}

void Core::campaign(Ballot ballot, bool transfer, std::uint64_t now) {
  role_ = ballot == Ballot::kPreVote ? Role::kPreCandidate : Role::kCandidate;
  leader_ = kNoServer;
  votes_.clear();
  set_election_deadline(now);
  Term for_term{term_.value + 1};
  if (ballot == Ballot::kVote) {
    term_ = for_term;
    vote_ = options_.self;
    hard_state_changed();
  }
  const bool voter = configuration().voters.contains(options_.self);
  for (const ServerId server : configuration().voters) {
    if (server != options_.self) send(server, VoteRequest{ballot, transfer, log_.last(), log_.last_term()}, now);
  }
  // Last: a single voter is leader when this returns.
  if (voter) send(options_.self, VoteReply{ballot, true, for_term}, now);
}

bool Core::grants(ServerId from, Term term, const VoteRequest& m) const {
  const bool free = m.ballot == Ballot::kPreVote || vote_ == kNoServer || vote_ == from || is(Mutant::kVoteTwice);
  return free && term == term_ && (is(Mutant::kVoteForShorterLog) || log_.as_up_to_date(m.last_index, m.last_term));
}

void Core::on(ServerId from, Term term, const VoteRequest& m, std::uint64_t now) {
  const bool granted = grants(from, term, m) && role_ != Role::kLeader;
  if (m.ballot == Ballot::kPreVote) return send(from, VoteReply{Ballot::kPreVote, granted, Term{term_.value + 1}}, now);
  if (granted) {
    if (vote_ != from) {
      vote_ = from;
      hard_state_changed();
    }
    become_follower(term_, kNoServer, now);
    set_election_deadline(now);
  }
  send(from, VoteReply{Ballot::kVote, granted, term_}, now);
}

void Core::on(ServerId from, const VoteReply& m, std::uint64_t now) {
  const bool pre = m.ballot == Ballot::kPreVote;
  if (role_ != (pre ? Role::kPreCandidate : Role::kCandidate)) return;
  if (!m.granted || m.for_term.value != term_.value + (pre ? 1 : 0)) return;
  const Configuration& now_in_force = configuration();
  if (!now_in_force.voters.contains(from)) return;
  votes_.insert(from);
  if (votes_.size() < now_in_force.quorum()) return;
  if (pre) return campaign(Ballot::kVote, false, now);
  become_leader(now);
}

void Core::on(ServerId from, const TimeoutNow&, std::uint64_t now) {
  if (role_ == Role::kFollower && leader_ == from && configuration().voters.contains(options_.self))
    campaign(Ballot::kVote, true, now);
}

void Core::become_leader(std::uint64_t now) {
  role_ = Role::kLeader;
  leader_ = options_.self;
  votes_.clear();
  incoming_.reset();
  lease_void_ = false;
  timeout_sent_ = false;
  followed_ = LogIndex{};
  followers_.clear();
  // Commits whatever former leaders left, and shows what is committed (§3.6.2, §6.4).
  term_start_ = LogIndex{log_.last().value + 1};
  append({term_, EntryKind::kNoOp, nullptr});
  follow_configuration(now);
  heartbeat(now);
}

}  // namespace gallocy::raft
