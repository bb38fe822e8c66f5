// Watches how much the nodes' threads wait for each other's pages (gathering.h), and has them move. A program whose
// user has chosen the nodes of its threads is left as it is.
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>

#include "base/check.h"
#include "personality/gathering.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

constexpr long kPeriodNs = 25'000'000;
constexpr std::size_t kSharingWords = 2;  // of a record, before the bytes from each node

// GALLOCY_TEST_MOVES, in µs.
long shuffle_period_ns() {
  const char* const text = std::getenv("GALLOCY_TEST_MOVES");
  return text != nullptr ? std::clamp(std::atol(text), 1L, 999'999L) * 1000 : 0;
}

constexpr long kThreadTime = 6;  // CPUCLOCK_SCHED of a thread (Linux's posix-timers.h)

}  // namespace

// When the first thread leaves the home.
void Process::note_threads_elsewhere() {
  threads_elsewhere_.store(true);
  if (!is_home()) return;
  std::call_once(watching_, [this] {
    start_runtime_thread([this] { watch_unclaimed(); });
    if (const long period_ns = shuffle_period_ns(); period_ns != 0) {
      start_runtime_thread([this, period_ns] { shuffle_places(period_ns); });
    } else if (may_gather()) {
      start_runtime_thread([this] { watch_sharing(); });
    }
  });
}

bool Process::may_gather() const { return threads_move_ && spreads(options_.place); }

void Process::watch_sharing() {
  std::vector<unsigned> processors;
  for (std::uint16_t n = 0; n < nodes_; ++n) processors.push_back(numbers_.count(NodeId{n}));
  Gathering gathering(processors);
  for (;;) {
    const timespec pause{0, kPeriodNs};
    ::nanosleep(&pause, nullptr);
    std::vector<SharingTotals> totals;
    for (std::uint16_t n = 0; n < nodes_; ++n) totals.push_back(sharing_of(NodeId{n}));
    if (const auto places = gathering.sample(os::monotonic_ns(), totals)) tell_places(*places);
  }
}

// For tests: all threads move all the time, to nodes that have nothing to do with what they share.
void Process::shuffle_places(long period_ns) {
  std::minstd_rand random(1);
  Gathering::Places places(nodes_);
  for (;;) {
    const timespec pause{0, period_ns};
    ::nanosleep(&pause, nullptr);
    for (NodeId& place : places) place = NodeId{static_cast<std::uint16_t>(random() % nodes_)};
    tell_places(places);
  }
}

void Process::tell_places(const Gathering::Places& places) {
  const auto bytes = std::as_bytes(std::span(places));
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kPlaces};
  questions_.ask_all(request, bytes);
  CHECK(take_places(bytes));
}

SharingTotals Process::sharing_of(NodeId node) {
  std::vector<std::byte> record;
  if (node == self_) {
    move_helpers();
    record = sharing_record();
  } else {
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kSharing};
    (void)questions_.ask(node, request, {}, &record);
  }
  SharingTotals totals{.received_bytes = std::vector<std::uint64_t>(nodes_)};
  std::vector<std::uint64_t> words(kSharingWords + nodes_);
  if (record.size() != words.size() * sizeof words[0]) return totals;
  std::memcpy(words.data(), record.data(), record.size());
  totals.active_ns = static_cast<std::int64_t>(words[0]);
  totals.worked_ns = static_cast<std::int64_t>(words[1]);
  totals.received_bytes.assign(words.begin() + kSharingWords, words.end());
  return totals;
}

ThreadTimes Process::times_of(const GuestThread& thread, std::int64_t now_ns) const {
  return {.active_ns = thread.active.total_ns(now_ns),
          .processor_ns = kernel_thread_time(thread.tid, kThreadTime) - thread.active.processor_began_ns,
          .fault_ns = thread.fault_ns.load(std::memory_order_relaxed)};
}

// SharingTotals of this node, as words. On any thread, the poller too.
std::vector<std::byte> Process::sharing_record() {
  std::vector<std::uint64_t> words(kSharingWords + nodes_);
  {
    const std::int64_t now = os::monotonic_ns();
    const os::MutexLock lock(threads_mu_);
    std::int64_t active = active_ns_, processor = processor_ns_;
    for (const auto& [tid, thread] : threads_) {
      const ThreadTimes times = times_of(*thread, now);
      active += times.active_ns;
      processor += times.processor_ns;
    }
    words[0] = static_cast<std::uint64_t>(active);
    words[1] = static_cast<std::uint64_t>(processor) - runtime_.memory().fault_processor_ns();
  }
  for (std::uint16_t n = 0; n < nodes_; ++n) {
    if (NodeId{n} != self_) words[kSharingWords + n] = runtime_.mesh()->counters(NodeId{n}).bytes_received;
  }
  const auto bytes = std::as_bytes(std::span(words));
  return {bytes.begin(), bytes.end()};
}

// Where the threads of each node are to run, and this node's move there. On any thread, the poller too. False: it makes
// no sense.
bool Process::take_places(std::span<const std::byte> places) {
  std::vector<NodeId> list(nodes_);
  if (places.size() != list.size() * sizeof list[0]) return false;
  std::memcpy(static_cast<void*>(list.data()), places.data(), places.size());
  for (std::uint16_t n = 0; n < nodes_; ++n) {
    if (list[n].value >= nodes_) return false;
    runs_on_[n].store(list[n].value);
  }
  const os::MutexLock lock(threads_mu_);
  for (const auto& [tid, thread] : threads_) {
    const NodeId place = list[thread->belongs_on.value];
    const auto affinity = affinities_.find(tid);
    if (affinity != affinities_.end() && !numbers_.nodes_of(affinity->second)[place.value]) continue;
    thread->move_to.store(place == self_ ? kNoNode.value : place.value);
    if (place != self_) kick_in_guest(*thread);
  }
  return true;
}

}  // namespace gallocy::personality
