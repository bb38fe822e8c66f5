#define XXH_INLINE_ALL
#include "vmm/log.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace gallocy::vmm {
namespace {

constexpr unsigned kMostDoublings = 3;
constexpr std::uint64_t kDoubtUs = 300'000;

}  // namespace

// A life has room for 2^20 requests before they could be taken for those of the next, and one lasts longer than that.
Log::Log(const LogOptions& options, const MakeReplication& make_replication)
    : options_(options),
      machine_(options.shard),
      replication_(make_replication(*this)),
      next_request_{options.incarnation << 20 | 1},
      next_submit_(next_request_),
      reign_(replication_->reign()) {}

void Log::start(std::uint64_t now, Effects& effects) {
  replication_->start(now, effects);
  after_event(now, effects);
}

void Log::propose(Entry entry, Ticket ticket, std::uint64_t now, Effects& effects) {
  const auto refuse = [&](Error error) { effects.resolved.push_back({ticket, tl::unexpected(std::move(error))}); };
  if (auto valid = validate(entry); !valid) return refuse(valid.error());
  if (auto usable = replication_->usable(); !usable) return refuse(usable.error());
  if (open_.size() >= kMaxOpenRequests)
    return refuse({ErrorCode::kOutOfMemory, fmt::format("{} proposals have no answer yet", kMaxOpenRequests)});
  open(std::move(entry), ticket, now, effects);
}

void Log::open(Entry entry, Ticket ticket, std::uint64_t now, Effects& effects) {
  const RequestId request = next_request_;
  ++next_request_.value;
  open_.emplace(request, Open{ticket, std::move(entry)});
  submit_what_may_be(now, effects);
}

// The nodes keep answers from the oldest open request on, so none is handed in that is too far from that. One of them
// may have been lost on the way while others came through.
void Log::submit_what_may_be(std::uint64_t now, Effects& effects) {
  while (next_submit_ < next_request_ && !open_.empty()) {
    const RequestId request = next_submit_;
    if (request.value >= open_.begin()->first.value + kMaxOpenRequests) return;
    ++next_submit_.value;
    if (open_.contains(request)) submit(request, now, effects);
  }
}

void Log::submit(RequestId request, std::uint64_t now, Effects& effects) {
  Open& open = open_.at(request);
  open.due = now + (options_.retry_us << std::min(open.repeated, kMostDoublings));
  retry_due_ = std::min(retry_due_, open.due);
  replication_->submit(encode({options_.self, request, open_.begin()->first, open.entry}), now, effects);
}

Result<> Log::message(NodeId from, wire::MessageType type, std::span<const std::byte> body, std::uint64_t now,
                      Effects& effects) {
  const auto taken = replication_->message(from, type, body, now, effects);
  after_event(now, effects);
  return taken;
}

void Log::peer_down(const Life& peer, std::uint64_t now, Effects& effects) {
  const Member* member = machine_.member(peer.node);
  if (member != nullptr && member->life > peer.life) return;  // the next life is nobody's loss
  down_.try_emplace(peer.node, Down{peer.life, {}});
  replication_->peer_down(peer.node, now, effects);
  after_event(now, effects);
}

void Log::peer_up(const Life& peer) {
  down_.erase(peer.node);
  replication_->peer_up(peer.node);
}

void Log::tick(std::uint64_t now, Effects& effects) {
  replication_->tick(now, effects);
  if (now >= retry_due_) {
    std::vector<RequestId> overdue;
    retry_due_ = kNever;
    for (const auto& [request, open] : open_) {
      if (open.due <= now) {
        overdue.push_back(request);
      } else {
        retry_due_ = std::min(retry_due_, open.due);
      }
    }
    for (RequestId request : overdue) {
      if (!open_.contains(request)) continue;
      ++open_.at(request).repeated;
      submit(request, now, effects);
    }
  }
  after_event(now, effects);
}

std::uint64_t Log::next_deadline() const { return std::min({retry_due_, doubt_due_, replication_->next_deadline()}); }

void Log::flush(std::uint64_t now, Effects& effects) {
  replication_->flush(now, effects);
  after_event(now, effects);
}

void Log::persisted(std::uint64_t sequence, std::uint64_t now, Effects& effects) {
  replication_->persisted(sequence, now, effects);
  after_event(now, effects);
}

void Log::cannot_persist(std::uint64_t now, Effects& effects) {
  replication_->cannot_persist(now, effects);
  after_event(now, effects);
}

void Log::after_event(std::uint64_t now, Effects& effects) {
  if (options_.shard.is_first()) {
    // First the deaths: what is mapped next should not be dealt out to the dead.
    if (!down_.empty()) declare_deaths(now, effects);
    settle_doubts(now, effects);
  }
  submit_to_new_reign(now, effects);
  submit_what_may_be(now, effects);
  fail_open_if_unusable(effects);
}

void Log::submit_to_new_reign(std::uint64_t now, Effects& effects) {
  const std::uint64_t reign = replication_->reign();
  if (reign == 0 || reign == reign_) return;
  reign_ = reign;
  std::vector<RequestId> requests;
  for (const auto& [request, open] : open_) {
    if (request < next_submit_) requests.push_back(request);
  }
  // First the deaths, as in after_event(): that of the last leader came after what was handed in to it.
  std::ranges::stable_partition(
      requests, [&](RequestId request) { return std::holds_alternative<MemberMissed>(open_.at(request).entry); });
  for (RequestId request : requests) {
    if (open_.contains(request)) submit(request, now, effects);
  }
}

void Log::declare_deaths(std::uint64_t now, Effects& effects) {
  if (!replication_->usable() || !machine_.is_member(options_.self)) return;
  for (auto& [node, down] : down_) {
    if (machine_.standing({node, down.life}) != Standing::kPresent || open_.contains(down.request)) continue;
    if (std::ranges::binary_search(machine_.member(node)->missed_by, options_.self)) continue;
    down.request = next_request_;
    open(MemberMissed{node, down.life}, Ticket{}, now, effects);
  }
}

// Members that miss each other, and that most others do not miss: one of them has to go. Who orders the log gives the
// others time to say what they miss.
void Log::settle_doubts(std::uint64_t now, Effects& effects) {
  const auto suspect = replication_->orders() && replication_->usable() && machine_.is_member(options_.self)
                           ? machine_.suspect(options_.self)
                           : std::nullopt;
  if (!suspect) {
    doubt_due_ = kNever;
  } else if (doubt_due_ == kNever) {
    doubt_due_ = now + kDoubtUs;
  } else if (now >= doubt_due_) {
    doubt_due_ = now + kDoubtUs;
    open(MemberDied{suspect->node, suspect->life}, Ticket{}, now, effects);
  }
}

// One at a time, each chosen by what this log has, so that it does not matter who else does the same, or did so long
// ago: what is out of date by then is rejected, or made good by the next.
void Log::follow_members(const Machine& first, std::uint64_t now, Effects& effects) {
  if (!replication_->orders() || !replication_->usable() || open_.contains(following_)) return;
  auto news = lacks(first);
  if (!news) return;
  following_ = next_request_;
  open(std::move(*news), Ticket{}, now, effects);
}

std::optional<Entry> Log::lacks(const Machine& first) const {
  if (!machine_.is_member(options_.self)) {  // else it may propose nothing else
    const Member* const self = first.member(options_.self);
    const bool joins = self != nullptr && self->state == MemberState::kPresent &&
                       machine_.standing({options_.self, self->life}) == Standing::kUnknown;
    return joins ? std::optional<Entry>(MemberJoined{
                       .node = options_.self, .address = self->address, .life = self->life, .on_disk = self->on_disk})
                 : std::nullopt;
  }
  // Who comes before who goes, and this node last: who is gone can write nothing down.
  std::optional<Entry> end;
  for (const auto& [node, is] : first.all_members()) {
    const Member* const was = machine_.member(node);
    if (was == nullptr || was->life < is.life)
      return MemberJoined{.node = node, .address = is.address, .life = is.life, .on_disk = is.on_disk};
    if (was->life > is.life || was->state != MemberState::kPresent || is.state == MemberState::kPresent) continue;
    if (end && node == options_.self) continue;
    end = is.state == MemberState::kLeft ? Entry(MemberLeft{node, is.life}) : Entry(MemberDied{node, is.life});
  }
  if (end) return end;
  const NodeId leaver = machine_.leaver();
  if (leaver == first.leaver()) return std::nullopt;
  if (leaver != kNoNode) return MemberStays{leaver};
  return machine_.is_member(first.leaver()) ? std::optional<Entry>(MemberLeaves{first.leaver()}) : std::nullopt;
}

void Log::fail_open_if_unusable(Effects& effects) {
  const auto usable = replication_->usable();
  if (usable) return;
  while (!open_.empty()) resolve(open_.begin()->first, tl::unexpected(usable.error()), effects);
}

void Log::resolve(RequestId request, const Result<Outcome>& outcome, Effects& effects) {
  const auto open = open_.find(request);
  if (open == open_.end()) return;
  if (open->second.ticket != Ticket{}) effects.resolved.push_back({open->second.ticket, outcome});
  open_.erase(open);
}

Result<> Log::acceptable(NodeId from, std::span<const std::byte> bytes) const {
  GALLOCY_ASSIGN(const Record record, decode(bytes));
  if (record.proposer != from)
    return fail(ErrorCode::kProtocol, fmt::format("node {} proposes in the name of node {}", from, record.proposer));
  return {};
}

Result<> Log::commit(LogIndex index, std::span<const std::byte> bytes, Effects& effects) {
  GALLOCY_ASSIGN(const Record record, decode(bytes));
  const Result<Outcome> outcome = carry_out(index, record, effects);
  if (record.proposer == options_.self) resolve(record.request, outcome, effects);
  return {};
}

Result<Outcome> Log::carry_out(LogIndex index, const Record& record, Effects& effects) {
  if (auto answered = sessions_.find(record)) {
    machine_.skip(index);
    return *std::move(answered);
  }
  auto outcome = machine_.apply(index, record.proposer, record.entry);
  if (outcome) {
    if (std::holds_alternative<MemberJoined>(record.entry) && outcome->changed)
      begin_life({outcome->node, outcome->life});
    if (const auto* left = std::get_if<MemberLeft>(&record.entry)) sessions_.forget(left->node);
    if (const auto dead = buried(record.entry, *outcome)) sessions_.forget(dead->node);
  }
  if (machine_.is_member(record.proposer)) sessions_.remember(record, outcome);
  if (!effects.restored) effects.applied.push_back({index, record.proposer, record.entry, outcome});
  return outcome;
}

// Nobody has lost it yet.
void Log::begin_life(const Life& life) {
  sessions_.forget(life.node);
  const auto down = down_.find(life.node);
  if (down != down_.end() && down->second.life < life.life) peer_up(life);
}

Bytes Log::snapshot() const {
  const Bytes machine = machine_.snapshot();
  Bytes bytes;
  wire::ByteWriter writer(bytes);
  writer.put(static_cast<std::uint64_t>(machine.size()));
  writer.put_bytes(machine);
  sessions_.put(writer);
  return bytes;
}

Result<> Log::restore(LogIndex index, std::span<const std::byte> snapshot, Effects& effects) {
  wire::ByteReader reader(snapshot);
  const auto machine_bytes = reader.get_bytes(reader.get<std::uint64_t>());
  GALLOCY_ASSIGN(Machine machine, Machine::restore(machine_bytes, options_.shard));
  GALLOCY_ASSIGN(Sessions sessions, Sessions::get(reader));
  if (!reader.done() || machine.applied() != index || index <= machine_.applied())
    return fail(ErrorCode::kProtocol, "a snapshot of the VMM at another index than it says");
  machine_ = std::move(machine);
  sessions_ = std::move(sessions);
  effects.restored = true;
  effects.applied.clear();
  for (auto open = open_.begin(); open != open_.end();) {
    const RequestId request = (open++)->first;
    if (auto answer = sessions_.answer(options_.self, request)) resolve(request, *answer, effects);
  }
  return {};
}

std::vector<Life> Log::present() const {
  std::vector<Life> lives;
  for (const NodeId node : machine_.members()) lives.push_back({node, machine_.member(node)->life});
  return lives;
}

bool Log::on_disk(NodeId node) const {
  const Member* const member = machine_.member(node);
  return member != nullptr && member->on_disk;
}

std::uint64_t Log::last_life(NodeId node) const {
  const Member* const member = machine_.member(node);
  return member != nullptr ? member->life : 1;
}

std::uint64_t Log::digest() const {
  const Bytes bytes = snapshot();
  return XXH3_64bits(bytes.data(), bytes.size());
}

void Log::check_invariants() const {
  machine_.check_invariants();
  CHECK(open_.size() <= kMaxOpenRequests, open_.size());
  CHECK(open_.empty() || open_.rbegin()->first < next_request_, next_request_);
}

Log::MakeReplication keeper_log(const KeeperOptions& options) {
  return [options](ReplicatedState& state) { return std::make_unique<KeeperReplication>(options, state); };
}

Log::MakeReplication raft_log(const RaftOptions& options) {
  return [options](ReplicatedState& state) { return std::make_unique<RaftReplication>(options, state); };
}

}  // namespace gallocy::vmm
