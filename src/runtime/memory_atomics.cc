// Operations on words of global memory at the home of their page. The home makes the page writable for itself, as a
// program thread of its own would, and performs the operation through the runtime view while nobody can take the page
// away. Program threads that use the word by plain atomic instructions are on the same frame, so the two mix.
#include <cstring>

#include "base/check.h"
#include "os/clock.h"
#include "runtime/memory.h"

namespace gallocy::runtime {
namespace {

using Operation = sync_detail::AtomicOperation;

template <typename Word>
std::uint64_t perform(void* at, Operation operation, std::uint64_t operand, std::uint64_t expected) {
  const std::atomic_ref<Word> word(*static_cast<Word*>(at));
  const auto value = static_cast<Word>(operand);
  switch (operation) {
    case Operation::kLoad:
      return word.load();
    case Operation::kStore:
      return word.exchange(value);
    case Operation::kExchange:
      return word.exchange(value);
    case Operation::kAdd:
      return word.fetch_add(value);
    case Operation::kSubtract:
      return word.fetch_sub(value);
    case Operation::kAnd:
      return word.fetch_and(value);
    case Operation::kOr:
      return word.fetch_or(value);
    case Operation::kXor:
      return word.fetch_xor(value);
    case Operation::kCompareExchange: {
      auto before = static_cast<Word>(expected);
      word.compare_exchange_strong(before, value);
      return before;
    }
  }
  return 0;
}

std::uint64_t perform(void* at, const wire::AtomicRequest& r) {
  const auto operation = static_cast<Operation>(r.operation);
  return r.width == 8 ? perform<std::uint64_t>(at, operation, r.operand, r.expected)
                      : perform<std::uint32_t>(at, operation, r.operand, r.expected);
}

}  // namespace

std::uint64_t Memory::atomic(std::uint64_t address, unsigned width, Operation operation, std::uint64_t operand,
                             std::uint64_t expected) {
  CHECK(address % width == 0, address, width);
  wire::AtomicRequest request{.address = address,
                              .operand = operand,
                              .expected = expected,
                              .requester = options_.coherence.self.value,
                              .width = static_cast<std::uint8_t>(width),
                              .operation = static_cast<std::uint8_t>(operation)};
  if (engine_ == nullptr) return perform(reinterpret_cast<void*>(address), request);
  AtomicWait wait;
  {
    const os::MutexLock lock(mu_);
    CHECK(in_window(address) && find(address) != nullptr, address);
    request.ticket = next_ticket_++;
    wait.home = core_.home_of(block_of(page_of(address)));
    atomic_waits_[request.ticket] = &wait;
    (void)atomic_request(request);
  }
  waiting_->wait(wait.flag);
  if (wait.lost) {
    const os::MutexLock lock(mu_);
    die_of_loss(page_of(address));
  }
  return wait.before;
}

// At any node: performs the operation, or passes it on, or keeps it until the page is here.
bool Memory::atomic_request(const wire::AtomicRequest& r) {
  const bool sensible = (r.width == 4 || r.width == 8) && r.address % r.width == 0 && in_window(r.address) &&
                        r.requester < dead_.size() && r.operation <= static_cast<int>(Operation::kCompareExchange);
  if (!sensible || find(r.address) == nullptr) return false;
  const NodeId home = core_.home_of(block_of(page_of(r.address)));
  if (home == options_.coherence.self) {
    if (!try_atomic(r)) atomics_.push_back({r});
    return true;
  }
  if (dead_[home.value]) {
    if (NodeId{r.requester} == options_.coherence.self) finish_atomic(r.ticket, 0, /*lost=*/true);
    return true;
  }
  options_.mesh->queue(home, wire::MessageType::kAtomicRequest, std::as_bytes(std::span(&r, 1)));
  return true;
}

bool Memory::try_atomic(const wire::AtomicRequest& r) {
  const PageId page = page_of(r.address);
  if (core_.mapped(page) != Access::kWrite) {
    const auto outcome = core_.fault(page, Access::kWrite, static_cast<std::uint64_t>(os::monotonic_us()), effects_);
    // Not carry_out(): it retries what is woken, which is what we are doing.
    for (const coherence::Effect& effect : effects_.list) carry_out(effect);
    effects_.clear();
    if (outcome == coherence::FaultOutcome::kLost) die_of_loss(page);
    if (outcome == coherence::FaultOutcome::kPending) return false;
  }
  const std::uint64_t before = perform(runtime_view(page) + r.address % kPageBytes, r);
  if (NodeId{r.requester} == options_.coherence.self) {
    finish_atomic(r.ticket, before, /*lost=*/false);
    return true;
  }
  const wire::AtomicReply reply{.ticket = r.ticket, .before = before};
  if (dead_[r.requester]) return true;
  options_.mesh->queue(NodeId{r.requester}, wire::MessageType::kAtomicReply, std::as_bytes(std::span(&reply, 1)));
  return true;
}

void Memory::finish_atomic(std::uint64_t ticket, std::uint64_t before, bool lost) {
  const auto found = atomic_waits_.find(ticket);
  if (found == atomic_waits_.end()) return;
  AtomicWait* const wait = found->second;
  atomic_waits_.erase(found);
  wait->before = before;
  wait->lost = lost;
  wait->flag.set();
}

}  // namespace gallocy::runtime
