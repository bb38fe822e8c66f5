// The public Transaction over the DurableService of this process.
#include <algorithm>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/prng.h"
#include "gallocy/node.h"
#include "gallocy/transaction.h"
#include "os/clock.h"
#include "runtime/byte_ranges.h"
#include "runtime/runtime.h"

namespace gallocy {
namespace {

using durable::Item;
using durable::ItemKind;

runtime::Runtime& the_runtime() {
  Node* const node = Node::current();
  if (node == nullptr) [[unlikely]] {
    die(static_cast<int>(ErrorCode::kInvalidArgument), "gallocy: a transaction needs Node::join() first");
  }
  return node->runtime();
}

}  // namespace

struct Transaction::State {
  using Range = runtime::DurableService::Range;

  runtime::DurableService& service = the_runtime().durable();
  runtime::ByteRanges reads, writes;
  // After a conflict: what was read then, fetched at once with the first read that wants some of it. Otherwise what is
  // read one after the other by many would seldom be of one moment.
  runtime::ByteRanges again;
  bool again_is_old = false;
  std::optional<Error> error;

  void note(const Result<runtime::DurableOutcome>& ended) { error = runtime::error_of(ended); }
  void fetch_again();
  std::vector<Item> items() const;
  void fetch(std::uint64_t address, std::uint64_t bytes);
};

void Transaction::State::fetch_again() {
  std::vector<std::pair<std::uint64_t, wire::Bytes>> places;
  again.for_each([&](std::uint64_t a, std::span<const std::byte> b) { places.emplace_back(a, wire::Bytes(b.size())); });
  std::vector<Range> ranges;
  for (auto& [address, bytes] : places) ranges.push_back({address, bytes});
  note(service.read(ranges));
  again.clear();
  for (const auto& [address, bytes] : places) again.put(address, bytes);
  again_is_old = false;
}

// Something that this transaction has not read yet.
void Transaction::State::fetch(std::uint64_t address, std::uint64_t count) {
  wire::Bytes bytes(count);
  const bool known = again.has(address, count);
  if (known && again_is_old) fetch_again();
  if (known && !error) {
    again.copy_to(address, bytes);
  } else if (!error) {
    const Range range{address, bytes};
    note(service.read(std::span(&range, 1)));
  }
  if (!error) reads.put(address, bytes);
}

Transaction::Transaction() : state_(std::make_unique<State>()) {}
Transaction::~Transaction() = default;
Transaction::Transaction(Transaction&&) noexcept = default;
Transaction& Transaction::operator=(Transaction&&) noexcept = default;

Result<> Transaction::so_far() const {
  if (state_->error) return tl::unexpected(*state_->error);
  return {};
}

// What it needs comes into private memory first: `to` may be global memory, which the service must not touch.
void Transaction::read(const void* at, void* to, std::size_t bytes) {
  State& s = *state_;
  const auto address = reinterpret_cast<std::uint64_t>(at);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> gaps;
  s.writes.for_each_gap(address, bytes, [&](std::uint64_t unwritten, std::uint64_t count) {
    s.reads.for_each_gap(unwritten, count, [&](std::uint64_t a, std::uint64_t n) { gaps.emplace_back(a, n); });
  });
  for (const auto& [gap, count] : gaps) {
    if (!s.error) s.fetch(gap, count);
  }
  wire::Bytes seen(bytes);
  if (!s.error) {
    s.reads.copy_to(address, seen);
    s.writes.copy_to(address, seen);
  }
  std::ranges::copy(seen, static_cast<std::byte*>(to));
}

void Transaction::write(void* at, const void* from, std::size_t bytes) {
  state_->writes.put(reinterpret_cast<std::uint64_t>(at), {static_cast<const std::byte*>(from), bytes});
}

// They refer to its bytes.
std::vector<Item> Transaction::State::items() const {
  std::vector<Item> items;
  reads.for_each([&](std::uint64_t a, std::span<const std::byte> b) { items.push_back({ItemKind::kCompare, a, b}); });
  writes.for_each([&](std::uint64_t a, std::span<const std::byte> b) { items.push_back({ItemKind::kWrite, a, b}); });
  return items;
}

Result<> Transaction::commit() {
  State& s = *state_;
  if (!s.error) s.note(s.service.commit(s.items()));
  s.again.clear();
  s.again_is_old = s.error && s.error->code == ErrorCode::kConflict;
  if (s.again_is_old) std::swap(s.reads, s.again);
  s.reads.clear();
  s.writes.clear();
  if (const auto error = std::exchange(s.error, std::nullopt)) return tl::unexpected(*error);
  return {};
}

struct Commitment::State {
  runtime::DurableService& service;
  runtime::DurableService::Commit commit;
  std::optional<Result<>> outcome;
};

Commitment Transaction::submit() {
  State& s = *state_;
  std::unique_ptr<Commitment::State> submitted(
      new Commitment::State{.service = s.service, .commit = {}, .outcome = {}});
  if (s.error) {
    submitted->outcome = tl::unexpected(*s.error);
  } else {
    s.service.submit(submitted->commit, s.items());
  }
  s.again.clear();
  s.reads.clear();
  s.writes.clear();
  s.error.reset();
  return Commitment(std::move(submitted));
}

Commitment::Commitment(std::unique_ptr<State> state) : state_(std::move(state)) {}
Commitment::Commitment(Commitment&&) noexcept = default;

Commitment::~Commitment() {
  if (state_ != nullptr) (void)wait();
}

Commitment& Commitment::operator=(Commitment&& other) noexcept {
  if (this == &other) return *this;
  if (state_ != nullptr) (void)wait();
  state_ = std::move(other.state_);
  return *this;
}

bool Commitment::is_decided() const { return state_->outcome || state_->commit.is_decided(); }

Result<> Commitment::wait() {
  State& s = *state_;
  if (!s.outcome) {
    const auto error = runtime::error_of(s.service.finish(s.commit));
    s.outcome = error ? Result<>(tl::unexpected(*error)) : Result<>();
  }
  return *s.outcome;
}

namespace transaction_detail {

std::int64_t now_ns() { return os::monotonic_ns(); }

// Whoever was in the way is through in some round trips; with many at one place the wait doubles.
bool back_off(unsigned attempt, Timeout timeout, std::int64_t started_ns) {
  constexpr std::uint64_t kFirstNs = 4'000, kMostDoublings = 9;
  thread_local Prng random(static_cast<std::uint64_t>(os::monotonic_ns()) ^ reinterpret_cast<std::uint64_t>(&random));
  const std::int64_t now = os::monotonic_ns();
  const std::uint64_t most = kFirstNs << std::min<std::uint64_t>(attempt, kMostDoublings);
  const std::int64_t until = now + static_cast<std::int64_t>(random.below(most));
  if (timeout != kForever && until - started_ns > timeout.count()) return false;
  the_runtime().waiting().pause_until(until);
  return true;
}

}  // namespace transaction_detail
}  // namespace gallocy
