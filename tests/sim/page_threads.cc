#include "page_threads.h"

#include <algorithm>

#include "base/check.h"

namespace gallocy::sim {
namespace {

using coherence::FaultOutcome;

constexpr std::size_t kThreadsOfNode = 3;
constexpr std::uint64_t kWakeUs = 15, kThinkUs = 200;
constexpr unsigned kHotPages = 3;

}  // namespace

PageThreads::PageThreads(Prng& prng, VmmCluster& log, WholeMemory& memory) : prng_(prng), log_(log), memory_(memory) {
  memory_.on_wake = [this](NodeId node, BlockId block, coherence::PageSet pages) { woken(node, block, pages); };
  for (std::uint16_t n = 0; n < WholeMemory::kMostNodes; ++n)
    threads_.resize(threads_.size() + kThreadsOfNode, {NodeId{n}});
}

std::size_t PageThreads::working() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(threads_, [](const Thread& thread) { return thread.left > 0; }));
}

bool PageThreads::works_on(NodeId node) const {
  return std::ranges::any_of(threads_, [node](const Thread& each) { return each.node == node && each.left > 0; });
}

void PageThreads::node_ended(NodeId node) {
  for (Thread& thread : threads_) {
    if (thread.node == node) thread.left = 0;
  }
}

void PageThreads::begin_work() {
  Thread& thread = threads_[prng_.below(log_.nodes() * kThreadsOfNode)];
  if (thread.left > 0 || thread.scheduled || !log_.up(thread.node) || memory_.usable(thread.node).empty()) return;
  if (log_.leaving(thread.node)) return;
  thread.left = static_cast<unsigned>(1 + prng_.below(10));
  choose(thread);
  step(thread);
}

// A few pages that all want, the next one, or any.
void PageThreads::choose(Thread& thread) {
  const auto& regions = memory_.usable(thread.node);
  const auto& region = regions[prng_.one_in(4) ? prng_.below(regions.size()) : regions.size() - 1];
  const std::uint64_t hot = prng_.below(kHotPages) + kBlockPages * prng_.below(region.pages / kBlockPages);
  const std::uint64_t next = thread.page.value + 1 - region.first_page.value;
  const std::uint64_t kind = prng_.below(8);
  const std::uint64_t at = kind == 0 ? prng_.below(region.pages) : kind < 3 && next < region.pages ? next : hot;
  thread.page = PageId{region.first_page.value + at};
  thread.want = prng_.one_in(2) ? Access::kRead : Access::kWrite;
  thread.attempts = 0;
  thread.since = log_.now();
}

void PageThreads::go_on_in(Thread& thread, std::uint64_t us) {
  if (std::exchange(thread.scheduled, true)) return;
  log_.at(us, [this, &thread] {
    thread.scheduled = false;
    if (thread.left > 0 && !thread.waits) step(thread);
  });
}

void PageThreads::step(Thread& thread) {
  if (thread.attempts != 0) memory_.about_to_access(thread.node, thread.page);
  if (!memory_.may(thread.node, thread.page, thread.want)) return fault(thread);
  access(thread);
  end_access(thread);
}

void PageThreads::access(Thread& thread) {
  const auto word = static_cast<unsigned>(prng_.below(kPageWords));
  ++counters_.accesses;
  memory_.read(thread.node, thread.page, word);
  if (thread.want == Access::kWrite) memory_.write(thread.node, thread.page, word, ++last_value_);
}

// As the runtime does, it asks for a longer hold when it lost the page several times.
void PageThreads::fault(Thread& thread) {
  const std::uint64_t hold_us = thread.attempts < 3 ? 0 : std::uint64_t{20} << std::min(thread.attempts, 8u);
  ++thread.attempts;
  ++counters_.faults;
  thread.waits = true;
  switch (memory_.fault(thread.node, thread.page, thread.want, hold_us)) {
    case FaultOutcome::kResolved:
      thread.waits = false;
      return go_on_in(thread, prng_.below(kWakeUs));
    case FaultOutcome::kPending:
      return;
    case FaultOutcome::kLost:
      thread.waits = false;
      ++counters_.lost;
      return end_access(thread);
  }
}

void PageThreads::end_access(Thread& thread) {
  counters_.longest_wait_us = std::max(counters_.longest_wait_us, log_.now() - thread.since);
  if (--thread.left == 0) return;
  choose(thread);
  go_on_in(thread, prng_.below(kThinkUs));
}

void PageThreads::woken(NodeId node, BlockId block, coherence::PageSet pages) {
  for (std::size_t i = node.value * kThreadsOfNode; i < (node.value + std::size_t{1}) * kThreadsOfNode; ++i) {
    Thread& thread = threads_[i];
    const bool concerned = block_of(thread.page) == block && coherence::contains(pages, index_in_block(thread.page));
    if (thread.left == 0 || !thread.waits || !concerned) continue;
    thread.waits = false;
    ++counters_.answered;
    go_on_in(thread, prng_.below(kWakeUs));
  }
}

std::string PageThreads::describe() const {
  std::string text;
  for (const Thread& thread : threads_) {
    if (thread.left == 0) continue;
    text += fmt::format("\n thread of node {} {} for {} µs: {}", thread.node, thread.waits ? "waits" : "works",
                        log_.now() - thread.since, memory_.describe(thread.node, thread.page));
  }
  return text;
}

}  // namespace gallocy::sim
