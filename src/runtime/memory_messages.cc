// Between the core and the links: what the core asks for is carried out, and what other nodes send is given to it.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "runtime/memory.h"

namespace gallocy::runtime {
namespace {

using coherence::Effect;
using coherence::FaultOutcome;
using coherence::PageSet;

constexpr std::size_t kMostParked = 4096;  // a message per thread of the cluster that is ahead of us in the log

}  // namespace

void Memory::carry_out() {
  for (const Effect& effect : effects_.list) carry_out(effect);
  effects_.clear();
  if (!woken_.empty()) retry_woken();
}

void Memory::carry_out(const Effect& effect) {
  switch (effect.kind) {
    case Effect::Kind::kProtect:
      coherence::for_each_run(effect.pages, [&](unsigned first, unsigned length) {
        auto* const start = program_address(PageId{first_page(effect.block).value + first});
        protect_here(start, length * kPageBytes, protection(effect.from), protection(effect.to));
      });
      return;
    case Effect::Kind::kSend:
      return send_pages(effect);
    case Effect::Kind::kLost:
      lost_with_[effect.block] = effect.node;
      return wake(effect.block, effect.pages);
    case Effect::Kind::kWake:
      return wake(effect.block, effect.pages);
    case Effect::Kind::kDiscard:
      coherence::for_each_run(effect.pages, [&](unsigned first, unsigned length) {
        Region* region = find(address_of(first_page(effect.block)));
        region->frames->discard(address_of(first_page(effect.block)) - region->address + first * kPageBytes,
                                length * kPageBytes);
      });
      return;
    case Effect::Kind::kHomeMoved:
      new_homes_.push_back(effect.block);
      return;
  }
}

void Memory::send_pages(const Effect& effect) {
  const bool has_tail =
      effect.type == wire::MessageType::kPageHandOver && (effect.message.flags & wire::kPageConsumed) == 0;
  std::byte body[sizeof(wire::PageMessage) + kBlockPages * sizeof(coherence::DirectoryEntry)];
  std::size_t body_bytes = sizeof(wire::PageMessage);
  std::memcpy(body, &effect.message, sizeof effect.message);
  if (has_tail) {
    std::memcpy(body + body_bytes, &effects_.tails[effect.tail], kBlockPages * sizeof(coherence::DirectoryEntry));
    body_bytes = sizeof body;
  }
  iovec payload[kBlockPages];
  std::size_t pieces = 0;
  if (effect.message.carried != 0) {
    std::byte* const view = runtime_view(first_page(effect.block));
    coherence::for_each_run(effect.message.carried, [&](unsigned first, unsigned length) {
      payload[pieces++] = {view + first * kPageBytes, length * kPageBytes};
    });
  }
  options_.mesh->queue(effect.node, effect.type, {body, body_bytes}, {payload, pieces});
}

void Memory::wake(BlockId block, PageSet pages) {
  const auto concerned = [&](PageId page) {
    return block_of(page) == block && coherence::contains(pages, index_in_block(page));
  };
  for (Waiter* waiter : waiters_) {
    if (concerned(waiter->page) && !waiter->flag.is_set()) waiter->flag.set();
  }
  if (kernel_waiters_.empty() && atomics_.empty()) return;
  for (const auto& [page, want] : kernel_waiters_) {
    if (concerned(page)) woken_.push_back(page);
  }
  for (const PendingAtomic& pending : atomics_) {
    if (concerned(page_of(pending.request.address))) woken_.push_back(page_of(pending.request.address));
  }
}

// Faults of sleeping threads and atomic operations that wait for these pages: they cannot ask again by themselves.
void Memory::retry_woken() {
  std::vector<PageId> pages;
  pages.swap(woken_);
  for (const PageId page : pages) {
    if (const auto found = kernel_waiters_.find(page); found != kernel_waiters_.end()) {
      const Access want = found->second;
      kernel_waiters_.erase(found);
      const FaultOutcome outcome =
          core_.mapped(page) >= want ? FaultOutcome::kResolved : core_.fault(page, want, now_us(), effects_);
      if (outcome == FaultOutcome::kLost) die_of_loss(page);
      if (outcome == FaultOutcome::kPending) kernel_waiters_[page] = want;
      carry_out();
    }
    std::vector<PendingAtomic> again;
    std::erase_if(atomics_, [&](const PendingAtomic& pending) {
      if (page_of(pending.request.address) != page) return false;
      again.push_back(pending);
      return true;
    });
    for (const PendingAtomic& pending : again) (void)atomic_request(pending.request);
  }
}

std::size_t Memory::payload_target(NodeId from, const wire::FrameHeader& header, std::span<const std::byte> body,
                                   std::span<iovec, 64> target) {
  wire::PageMessage m;
  if (body.size() < sizeof m) return 0;
  std::memcpy(&m, body.data(), sizeof m);
  if (header.payload_bytes != coherence::count(m.carried) * kPageBytes) return 0;
  const os::MutexLock lock(mu_);
  const PageSet wanted = core_.payload_wanted(from, static_cast<wire::MessageType>(header.type), m);
  if (wanted == 0) return 0;
  std::byte* const view = runtime_view(first_page(BlockId{m.block}));
  // A run of new frames is made in one step: filling it would fault page by page, at several times the cost.
  coherence::for_each_run(core_.without_frames(BlockId{m.block}, wanted), [&](unsigned first, unsigned length) {
    if (length > 1) ::madvise(view + first * kPageBytes, length * kPageBytes, MADV_POPULATE_WRITE);
  });
  std::size_t pieces = 0;
  coherence::for_each(m.carried, [&](unsigned i) {
    const bool want = coherence::contains(wanted, i);
    std::byte* const at = want ? view + i * kPageBytes : scratch_.get();
    if (want && pieces > 0 && static_cast<std::byte*>(target[pieces - 1].iov_base) + target[pieces - 1].iov_len == at) {
      target[pieces - 1].iov_len += kPageBytes;
    } else {
      target[pieces++] = {at, kPageBytes};
    }
  });
  return pieces;
}

bool Memory::frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body) {
  const os::MutexLock lock(mu_);
  if (type == wire::MessageType::kAtomicRequest) {
    wire::AtomicRequest request;
    if (body.size() != sizeof request) return false;
    std::memcpy(&request, body.data(), sizeof request);
    return atomic_request(request);
  }
  if (type == wire::MessageType::kAtomicReply) {
    wire::AtomicReply reply;
    if (body.size() != sizeof reply) return false;
    std::memcpy(&reply, body.data(), sizeof reply);
    finish_atomic(reply.ticket, reply.before, /*lost=*/false);
    return true;
  }
  return page_message(from, type, body);
}

bool Memory::page_message(NodeId from, wire::MessageType type, std::span<const std::byte> body) {
  wire::PageMessage m;
  if (body.size() < sizeof m) return false;
  std::memcpy(&m, body.data(), sizeof m);
  coherence::DirectoryEntry tail[kBlockPages];
  const std::size_t tail_bytes = body.size() - sizeof m;
  if (tail_bytes != 0 && tail_bytes != sizeof tail) return false;
  std::memcpy(static_cast<void*>(tail), body.data() + sizeof m, tail_bytes);
  if (coherence::Core::may_be_early(type, m) && m.block < kWindowBytes / kBlockBytes &&
      !core_.knows(BlockId{m.block})) {
    if (parked_.size() >= kMostParked) return false;
    parked_.push_back({from, type, m});
    return true;
  }
  const bool accepted = core_.message(from, type, m, {tail, tail_bytes / sizeof tail[0]}, now_us(), effects_);
  carry_out();
  return accepted;
}

void Memory::node_died(NodeId node) {
  const os::MutexLock lock(mu_);
  dead_[node.value] = true;
  core_.node_died(node, now_us(), effects_);
  carry_out();
  std::vector<std::uint64_t> lost;
  for (const auto& [ticket, wait] : atomic_waits_) {
    if (wait->home == node) lost.push_back(ticket);
  }
  for (const std::uint64_t ticket : lost) finish_atomic(ticket, 0, /*lost=*/true);
}

void Memory::set_room(NodeId node, std::uint64_t pages) {
  const os::MutexLock lock(mu_);
  core_.set_room(node, pages);
}

std::int64_t Memory::housekeeping() {
  const os::MutexLock lock(mu_);
  const std::uint64_t now = now_us();
  if (core_.next_deadline() <= now) {
    core_.tick(now, effects_);
    carry_out();
  }
  const std::uint64_t next = core_.next_deadline();
  return next == ~std::uint64_t{0} ? std::int64_t{1} << 40 : static_cast<std::int64_t>(next > now ? next - now : 0);
}

}  // namespace gallocy::runtime
