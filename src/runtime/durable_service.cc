#include "runtime/durable_service.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "os/clock.h"
#include "runtime/durable_following.h"

namespace gallocy::runtime {
namespace {

using durable::Outcome;
using durable::Ticket;

static_assert(kMaxDurableBackups == durable::kMaxBackups);

// A tail up to this length is copied behind the head; a longer one is sent from where it is.
constexpr std::size_t kCopiedBytes = 1024;

// Records of so many transactions are let go at once: it is a message to each node that has some.
constexpr std::uint64_t kForgotten = 32;

std::uint64_t now_us() { return static_cast<std::uint64_t>(os::monotonic_us()); }

}  // namespace

void DurableService::keep(std::unique_ptr<DurableDisk> disk) {
  disk_ = std::move(disk);
  disk_->start({.written =
                    [this](std::uint64_t sequence) {
                      const os::MutexLock lock(mu_);
                      held_.written(sequence);
                      if (!stopped_) carry_out_written();
                    },
                .full = [] {}});
}

bool DurableService::journal_begun() {
  const os::MutexLock lock(mu_);
  return disk_ == nullptr || (core_ && held_.written() >= first_write_);
}

// ---------------------------------------------------------------------------------------------- callers

Result<DurableOutcome> DurableService::read(std::span<const Range> ranges) {
  std::vector<Piece> pieces;
  Waiter waiter;
  for (Range rest : ranges) {
    while (!rest.to.empty()) {
      const std::size_t left_in_block = kBlockBytes - (rest.address - kWindowBase) % kBlockBytes;
      const std::size_t bytes = std::min(rest.to.size(), left_in_block);
      pieces.push_back({&waiter, {rest.address, rest.to.first(bytes)}});
      rest = {rest.address + bytes, rest.to.subspan(bytes)};
    }
  }
  if (pieces.empty()) return waiter.outcome;
  {
    const os::MutexLock lock(mu_);
    if (stopped_) return tl::unexpected(*stopped_);
    if (!core_) return DurableOutcome{Outcome::kNotDurable, {}};
    waiter.open = pieces.size();
    waiters_.insert(&waiter);
    for (Piece& piece : pieces) {
      core_->read(Ticket{reinterpret_cast<std::uint64_t>(&piece)}, piece.range.address,
                  static_cast<std::uint32_t>(piece.range.to.size()));
    }
    carry_out();
  }
  return wait(waiter);
}

void DurableService::fetch(Range range, Then then) {
  const os::MutexLock lock(mu_);
  if (stopped_) return then(tl::unexpected(*stopped_));
  if (!core_) return then(DurableOutcome{Outcome::kNotDurable, {}});
  auto fetch = std::make_unique<Fetch>();
  fetch->waiter.open = 1;
  fetch->waiter.then = std::move(then);
  fetch->piece = {&fetch->waiter, range};
  waiters_.insert(&fetch->waiter);
  core_->read(Ticket{reinterpret_cast<std::uint64_t>(&fetch->piece)}, range.address,
              static_cast<std::uint32_t>(range.to.size()), durable::Await::kAll);
  fetches_.emplace(&fetch->waiter, std::move(fetch));
  carry_out();
}

Result<DurableOutcome> DurableService::commit(std::span<const durable::Item> items) {
  Commit commit;
  submit(commit, items);
  return finish(commit);
}

void DurableService::submit(Commit& commit, std::span<const durable::Item> items) {
  Waiter& waiter = commit.waiter_;
  const os::MutexLock lock(mu_);
  if (stopped_ || !core_) {
    waiter.stopped = stopped_.has_value();
    waiter.outcome = {Outcome::kNotDurable, {}};
    return waiter.flag.set();
  }
  waiters_.insert(&waiter);
  core_->commit(Ticket{reinterpret_cast<std::uint64_t>(&waiter)}, items);
  carry_out();
}

Result<DurableOutcome> DurableService::finish(Commit& commit) { return wait(commit.waiter_); }

Result<DurableOutcome> DurableService::wait(Waiter& waiter) {
  // The disk's thread sets it too, and does not wake a thread that waits for messages.
  (void)(disk_ != nullptr ? waiter.flag.sleep(os::kNoDeadline) : waiting_->wait(waiter.flag));
  if (!waiter.stopped) return waiter.outcome;
  const os::MutexLock lock(mu_);
  return tl::unexpected(*stopped_);
}

void DurableService::ended(Waiter& waiter, Outcome outcome, BlockId block) {
  if (outcome != Outcome::kDone) waiter.outcome = {outcome, block};
  if (--waiter.open > 0) return;
  waiters_.erase(&waiter);
  tell(waiter);
}

void DurableService::tell(Waiter& waiter) {
  if (!waiter.then) return waiter.flag.set();
  const auto fetch = fetches_.extract(&waiter);  // it ends here
  if (waiter.stopped) return waiter.then(tl::unexpected(*stopped_));
  waiter.then(waiter.outcome);
}

void DurableService::stop(const Error& reason) {
  const os::MutexLock lock(mu_);
  stop_locked(reason);
}

void DurableService::stop_locked(const Error& reason) {
  if (stopped_) return;
  stopped_ = reason;
  held_.clear();
  for (Waiter* waiter : std::exchange(waiters_, {})) {
    waiter->stopped = true;
    tell(*waiter);
  }
}

// ---------------------------------------------------------------------------------------------- the log

void DurableService::follow(const vmm::Machine& machine) {
  const os::MutexLock lock(mu_);
  if (stopped_) return;
  if (!core_) return begin(machine);
  const auto& regions = machine.regions();
  if (core_->epoch() == machine.epoch() && regions.lower_bound(next_region_) == regions.end()) return;
  follow_durable(*core_, machine, next_region_);
  members_changed();
  if (!machine.is_member(self_))
    return stop_locked({ErrorCode::kPeerLost, fmt::format("node {} is no member of the cluster any more", self_)});
  carry_out();
}

void DurableService::begin(const vmm::Machine& machine) {
  if (!machine.is_member(self_)) return;
  durable::Kept kept;
  if (disk_ != nullptr && machine.was_member_since(disk_->found().epoch, self_)) kept = disk_->take_found();
  const bool begins_journal = disk_ != nullptr && kept.epoch == Epoch{};
  begin_durable(core_, self_, machine, durable::Options{.keep = disk_ != nullptr}, next_region_, std::move(kept));
  if (begins_journal) {
    durable::Effects effects = core_->take_effects();
    effects.notes.clear();  // of what is written whole now
    first_write_ = last_write_ = disk_->write_anew(*core_);
    held_.add(last_write_, std::move(effects));
  }
  members_changed();
  for (const auto& [from, message] : std::exchange(early_, {})) (void)core_->message(from, message);
}

void DurableService::members_changed() {
  lease_.members(peers_of(*core_));
  ask_for_lease();
}

// ---------------------------------------------------------------------------------------------- messages

bool DurableService::frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body,
                                   std::span<const std::byte> payload) {
  if (type == wire::kLeaseAsk || type == wire::kLeaseAnswer) {
    const os::MutexLock lock(mu_);
    return lease_news(from, type, body);
  }
  const auto message = durable::decode(type, body, payload, take_arrived(from, type));
  if (!message) return false;
  const os::MutexLock lock(mu_);
  if (stopped_) return true;
  if (!core_) {
    early_.emplace_back(from, *message);
    return true;
  }
  const bool right = core_->message(from, *message);
  carry_out();
  turn_open_.store(true, std::memory_order_relaxed);
  return right;
}

void DurableService::end_turn() {
  const os::MutexLock lock(mu_);
  turn_open_.store(false, std::memory_order_relaxed);
  if (stopped_ || !core_) return;
  if (core_->unforgotten() < kForgotten) return;
  core_->flush();
  carry_out();
}

void DurableService::carry_out() {
  core_->set_lease(lease_.held(now_us()) ? durable::Lease::kHeld : durable::Lease::kLapsed);
  durable::Effects effects = core_->take_effects();
  if (disk_ == nullptr) return carry_out(effects);
  if (!effects.notes.empty()) {
    last_write_ = disk_->write(std::exchange(effects.notes, {}));
    if (disk_->has_grown()) last_write_ = disk_->write_anew(*core_);
  }
  held_.add(last_write_, std::move(effects));
  carry_out_written();
}

// Only while there is a lease: it may have lapsed since.
void DurableService::carry_out_written() {
  while (held_.may_go() && lease_.held(now_us())) carry_out(held_.take_first());
}

void DurableService::carry_out(const durable::Effects& effects) {
  for (const durable::Outgoing& outgoing : effects.messages) send(outgoing);
  for (const durable::ReadDone& done : effects.reads) {
    const Piece& piece = *reinterpret_cast<Piece*>(done.ticket.value);
    if (done.outcome == Outcome::kDone) std::ranges::copy(done.bytes, piece.range.to.begin());
    ended(*piece.waiter, done.outcome, done.block);
  }
  for (const durable::CommitDone& done : effects.commits) {
    ++(done.outcome == Outcome::kConflict ? conflicts_ : commits_);
    ended(*reinterpret_cast<Waiter*>(done.ticket.value), done.outcome, done.block);
  }
}

// Pages are received where the image will have them.
std::size_t DurableService::payload_target(NodeId from, const wire::FrameHeader& header, std::span<iovec, 64> target) {
  const std::size_t count = header.payload_bytes / kPageBytes;
  if (wire::MessageType{header.type} != wire::kDurablePages || header.payload_bytes % kPageBytes != 0 ||
      count > wire::kMaxDurablePages)
    return 0;
  auto& pages = arriving_[from];
  pages.clear();
  for (std::size_t i = 0; i < count; ++i) {
    pages.push_back(durable::page_to_fill());
    target[i] = {pages[i]->data(), kPageBytes};
  }
  return count;
}

std::vector<durable::SharedPage> DurableService::take_arrived(NodeId from, wire::MessageType type) {
  return type == wire::kDurablePages ? std::exchange(arriving_[from], {}) : std::vector<durable::SharedPage>();
}

void DurableService::send_pages(NodeId to, const durable::Message& message) {
  const wire::DurableHead head = head_of(message);
  std::array<iovec, wire::kMaxDurablePages> pieces;
  for (std::size_t i = 0; i < message.pages.size(); ++i) pieces[i] = {message.pages[i]->data(), kPageBytes};
  mesh_->queue(to, type_of(message), std::as_bytes(std::span(&head, 1)), std::span(pieces).first(message.pages.size()));
}

void DurableService::send(const durable::Outgoing& outgoing) {
  const durable::Message& message = outgoing.message;
  if (!message.pages.empty()) return send_pages(outgoing.to, message);
  const wire::DurableHead head = head_of(message);
  const std::span<const std::byte> tail = tail_of(message);
  if (tail.size() > kCopiedBytes) {
    const iovec payload{const_cast<std::byte*>(tail.data()), tail.size()};
    return mesh_->queue(outgoing.to, type_of(message), std::as_bytes(std::span(&head, 1)), std::span(&payload, 1));
  }
  std::array<std::byte, sizeof head + kCopiedBytes> body;
  std::memcpy(body.data(), &head, sizeof head);
  if (!tail.empty()) std::memcpy(body.data() + sizeof head, tail.data(), tail.size());
  mesh_->queue(outgoing.to, type_of(message), std::span<const std::byte>(body).first(sizeof head + tail.size()));
}

// ---------------------------------------------------------------------------------------------- the lease

void DurableService::tick() {
  const os::MutexLock lock(mu_);
  if (stopped_ || !core_) return;
  ask_for_lease();
  core_->flush();
  carry_out();
}

// Only where there is durable memory: who has none needs no lease.
void DurableService::ask_for_lease() {
  if (core_->regions().empty()) return;
  const wire::LeaseNews news{.asked_us = now_us()};
  for (const NodeId node : core_->history().members()) {
    if (node != self_) mesh_->queue(node, wire::kLeaseAsk, std::as_bytes(std::span(&news, 1)));
  }
}

bool DurableService::lease_news(NodeId from, wire::MessageType type, std::span<const std::byte> body) {
  wire::LeaseNews news;
  if (body.size() != sizeof news) return false;
  std::memcpy(&news, body.data(), sizeof news);
  if (type == wire::kLeaseAsk) {
    mesh_->queue(from, wire::kLeaseAnswer, body);
    return true;
  }
  if (news.asked_us > now_us()) return false;
  lease_.answered(from, news.asked_us);
  if (core_ && !stopped_) carry_out();
  return true;
}

bool DurableService::may_leave() {
  const os::MutexLock lock(mu_);
  return stopped_ || !core_ || core_->may_leave();
}

bool DurableService::may_go_on_settling(Epoch epoch) {
  const os::MutexLock lock(mu_);
  return !stopped_ && core_ && core_->epoch() == epoch && core_->may_go_on_settling();
}

std::size_t DurableService::kept_blocks() {
  const os::MutexLock lock(mu_);
  return core_ ? core_->kept() : 0;
}

void DurableService::connection_lost(NodeId peer) {
  const os::MutexLock lock(mu_);
  lease_.connection_lost(peer);
}

void DurableService::connection_made(NodeId peer) {
  const os::MutexLock lock(mu_);
  lease_.connection_made(peer);
}

void DurableService::add_statistics(Statistics& s) {
  const os::MutexLock lock(mu_);
  s.durable_commits += commits_;
  s.durable_conflicts += conflicts_;
  if (!core_) return;
  s.durable_epoch = core_->epoch().value;
  s.durable_unrestored = core_->unrestored();
}

}  // namespace gallocy::runtime
