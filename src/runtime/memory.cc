#include "runtime/memory.h"

#include <sys/mman.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "os/clock.h"
#include "runtime/memory_following.h"

namespace gallocy::runtime {
namespace {

using coherence::FaultOutcome;

// A node that is over its budget by this part and finds no room anywhere for so long has no memory left.
constexpr std::uint64_t kBudgetSlack = 8;
constexpr std::int64_t kExhaustedUs = 2'000'000;
constexpr std::int64_t kRoomCheckNs = 1'000'000;

// How long a page stays for a thread that leaves the fault handler. Returning and making the access takes 1 or 2 µs,
// but a timer that fires meanwhile takes the core from the thread for ten.
constexpr std::uint64_t kHoldUs = 20;

constexpr std::uint64_t kFaultsPerMeasure = 8;   // whose processor time is measured
constexpr std::uint64_t kAroundFaultNs = 3'000;  // of the kernel, to come to the handler and back

}  // namespace

Memory::Memory(const MemoryOptions& options)
    : options_(options),
      core_(options.coherence, *this),
      dead_(options.coherence.nodes),
      scratch_(new std::byte[kPageBytes]) {}

Memory::~Memory() {
  if (engine_ == nullptr) return;
  for (const Region& region : regions_) engine_->remove(region.frames->program_view(), region.bytes);
}

Result<std::unique_ptr<Memory>> Memory::create(const MemoryOptions& options) {
  std::unique_ptr<Memory> memory(new Memory(options));
  GALLOCY_ASSIGN(memory->window_, os::Window::reserve(kWindowBase, kWindowBytes));
  if (options.coherence.nodes > 1) {
    GALLOCY_ASSIGN(memory->engine_, os::FaultEngine::create(options.engine, *memory));
  }
  return memory;
}

Result<> Memory::add_region(const std::string& name, std::uint64_t address, std::uint64_t bytes, Placement placement,
                            std::vector<NodeId> members) {
  Region region{.name = name, .address = address, .bytes = (bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes};
  if (engine_ == nullptr) {
    // A cluster of one: nobody to be coherent with, so this is ordinary memory.
    void* memory = ::mmap(reinterpret_cast<void*>(address), region.bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (memory == MAP_FAILED) return fail(ErrorCode::kOutOfMemory, fmt::format("cannot map region \"{}\"", name));
    ::madvise(memory, region.bytes, MADV_HUGEPAGE);  // fewer page-table walks; pages are not tracked one by one here
    const os::MutexLock lock(mu_);
    regions_.push_back(std::move(region));
    return {};
  }
  GALLOCY_ASSIGN(region.frames, os::PageFrames::map(address, region.bytes));
  GALLOCY_TRY(engine_->add(region.frames->program_view(), region.bytes));
  const os::MutexLock lock(mu_);
  core_.add_region(region_spec(address, region.bytes, placement, std::move(members)));
  regions_.push_back(std::move(region));
  std::vector<Parked> parked;
  parked.swap(parked_);
  for (const Parked& p : parked) {
    if (!core_.knows(BlockId{p.message.block})) {
      parked_.push_back(p);
    } else {
      (void)core_.message(p.from, p.type, p.message, {}, now_us(), effects_);
      carry_out();
    }
  }
  return {};
}

void Memory::home_hint(BlockId first, std::uint64_t count, NodeId home) {
  const os::MutexLock lock(mu_);
  for (std::uint64_t i = 0; i < count; ++i) core_.home_hint(BlockId{first.value + i}, home);
}

Memory::Region* Memory::find(std::uint64_t address) {
  const auto holds = [&](const Region& r) { return address - r.address < r.bytes; };
  if (last_region_ < regions_.size() && holds(regions_[last_region_])) return &regions_[last_region_];
  const auto found = std::ranges::find_if(regions_, holds);
  if (found == regions_.end()) return nullptr;
  last_region_ = static_cast<std::size_t>(found - regions_.begin());
  return &*found;
}

std::byte* Memory::runtime_view(PageId page) {
  Region* region = find(address_of(page));
  CHECK(region != nullptr && region->frames != nullptr, page);
  return region->frames->runtime_view() + (address_of(page) - region->address);
}

std::uint64_t Memory::checksum(PageId page) { return XXH3_64bits(runtime_view(page), kPageBytes); }

// ---------------------------------------------------------------------------------------------- faults

bool Memory::fault(std::uint64_t address, os::FaultKind kind, bool in_faulting_thread) {
  address = window_address(address);
  if (!in_window(address)) return false;
  const PageId page = page_of(address);
  const auto line = static_cast<unsigned>(address % kPageBytes / kLineBytes);
  const Access want = kind == os::FaultKind::kWrite ? Access::kWrite : Access::kRead;
  if (in_faulting_thread) {
    const bool measured = faults_.fetch_add(1, std::memory_order_relaxed) % kFaultsPerMeasure == 0;
    const std::int64_t start = os::monotonic_ns(), processor = measured ? os::thread_processor_ns() : 0;
    if (!wait_for_page(page, want, line, /*pin_it=*/false))
      return other_memory_ != nullptr && other_memory_->fault(address, kind, in_faulting_thread);
    fault_wait_ns_.fetch_add(static_cast<std::uint64_t>(os::monotonic_ns() - start), std::memory_order_relaxed);
    if (measured) {
      const auto used = static_cast<std::uint64_t>(os::thread_processor_ns() - processor);
      fault_processor_ns_.fetch_add((used + kAroundFaultNs) * kFaultsPerMeasure, std::memory_order_relaxed);
    }
    return true;
  }
  {
    const os::MutexLock lock(mu_);
    if (find(address) != nullptr) return fault_of_handler(page, want, line), true;
  }
  return other_memory_ != nullptr && other_memory_->fault(address, kind, in_faulting_thread);
}

// uffd-thread: the faulting thread goes on when the page's protection is set.
void Memory::fault_of_handler(PageId page, Access want, unsigned line) {
  (void)must_wait_for_room();  // the handler thread cannot wait, but ends the node when there is nothing to wait for
  const Access before = core_.mapped(page);
  const FaultOutcome outcome = core_.fault(page, want, now_us(), effects_, 0, line);
  carry_out();
  if (outcome == FaultOutcome::kLost) die_of_loss(page);
  if (outcome == FaultOutcome::kPending) kernel_waiters_[page] = std::max(kernel_waiters_[page], want);
  if (outcome == FaultOutcome::kResolved && before >= want) protect_again(page, before);
}

// See "Faults on accessible pages" in os/fault_engine.h. The page may have been lent since the fault.
void Memory::protect_again(PageId page, Access mapped) {
  coherence::PageSet pages = zeroed_.faulted(page);
  const PageId first = first_page(block_of(page));
  coherence::for_each(pages, [&](unsigned i) REQUIRES(mu_) {
    if (core_.mapped(PageId{first.value + i}) != mapped) pages &= ~coherence::set_of(i);
  });
  coherence::for_each_run(pages, [&](unsigned i, unsigned length) REQUIRES(mu_) {
    protect_here(program_address(PageId{first.value + i}), length * kPageBytes, protection(mapped), protection(mapped));
  });
}

// Until the page is here with that access (and pinned, if so asked). False: no region is there.
bool Memory::wait_for_page(PageId page, Access want, unsigned line, bool pin_it) {
  Waiter waiter{.page = page};
  while (wait_for_room()) {
  }
  for (bool first = true;; first = false) {
    {
      const os::MutexLock lock(mu_);
      if (first && find(address_of(page)) == nullptr) return false;
      if (!first) std::erase(waiters_, &waiter);
      const Access before = core_.mapped(page);
      if ((before >= want && (!first || pin_it)) || ask(page, want, line)) {
        if (before >= want && first) protect_again(page, before);
        if (!first || pin_it) take_page(page, pin_it);
        return true;
      }
      waiter.flag.reset();
      waiters_.push_back(&waiter);
    }
    waiting_->wait(waiter.flag);
  }
}

// Gives the others time to take pages of this node, or to say that they have room.
bool Memory::wait_for_room() {
  {
    const os::MutexLock lock(mu_);
    if (!must_wait_for_room()) return false;
  }
  waiting_->pause_until(os::monotonic_ns() + kRoomCheckNs);
  return true;
}

// True: the page is here.
bool Memory::ask(PageId page, Access want, unsigned line) {
  const FaultOutcome outcome = core_.fault(page, want, now_us(), effects_, 0, line);
  carry_out();
  if (outcome == FaultOutcome::kLost) die_of_loss(page);
  return outcome == FaultOutcome::kResolved;
}

// The calling thread has the page it waited for, and makes its access next. If others have waited for it too, it stays
// for them.
void Memory::take_page(PageId page, bool pin_it) {
  if (pin_it) core_.pin(page);
  const auto same = [&](const Waiter* other) { return other->page == page; };
  if (std::ranges::any_of(waiters_, same)) return;
  if (core_.about_to_access(page, now_us(), kHoldUs)) waiting_->nudge(kHoldUs);
}

void Memory::die_of_loss(PageId page) {
  const Region* region = find(address_of(page));
  const auto with = lost_with_.find(block_of(page));
  const bool known = with != lost_with_.end() && with->second != kNoNode;
  char text[256];
  const auto end = fmt::format_to_n(
      text, sizeof text, "gallocy: node {}: page {:#x} of region \"{}\" is lost: the only copy was on {}, which died",
      options_.coherence.self, address_of(page), region != nullptr ? region->name : "?",
      known ? fmt::format("node {}", with->second) : "another node");
  die(static_cast<int>(ErrorCode::kPeerLost), {text, std::min(end.size, sizeof text)});
}

// A node that is far over its budget takes no more frames before it has found room for some of them elsewhere; if it
// does not find any for long, the cluster's memory is exhausted.
bool Memory::must_wait_for_room() {
  const std::uint64_t budget = core_.budget();
  if (!core_.exhausted() || core_.frames_in_use() < budget + budget / kBudgetSlack) {
    exhausted_since_us_ = 0;
    return false;
  }
  const std::int64_t now = os::monotonic_us();
  if (exhausted_since_us_ == 0) exhausted_since_us_ = now;
  if (now - exhausted_since_us_ < kExhaustedUs) {
    core_.tick(now_us(), effects_);
    carry_out();
    return true;
  }
  char text[256];
  const auto end =
      fmt::format_to_n(text, sizeof text,
                       "gallocy: node {}: the cluster's memory is exhausted: {} MiB in use here of a budget "
                       "of {} MiB and no other node has room; raise --memory or add nodes",
                       options_.coherence.self, core_.frames_in_use() * kPageBytes >> 20, budget * kPageBytes >> 20);
  die(static_cast<int>(ErrorCode::kOutOfMemory), {text, std::min(end.size, sizeof text)});
}

}  // namespace gallocy::runtime
