#include "runtime/memory.h"

#include <sys/mman.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "os/clock.h"

namespace gallocy::runtime {
namespace {

using coherence::Effect;
using coherence::FaultOutcome;
using coherence::PageSet;

constexpr std::size_t kLineBytes = 64;
constexpr std::size_t kMostParked = 4096;  // a request per thread of the cluster that is ahead of us in the log
// A node that is over its budget by this part and finds no room anywhere for so long has no memory left.
constexpr std::uint64_t kBudgetSlack = 8;
constexpr std::int64_t kExhaustedUs = 2'000'000;
constexpr std::int64_t kRoomCheckNs = 1'000'000;

constexpr os::Protection protection(Access access) { return static_cast<os::Protection>(access); }
static_assert(protection(Access::kWrite) == os::Protection::kReadWrite);

std::uint64_t now_us() { return static_cast<std::uint64_t>(os::monotonic_us()); }

coherence::PlacementKind placement_kind(Placement::Kind kind) {
  switch (kind) {
    case Placement::Kind::kFirstTouch:
      return coherence::PlacementKind::kFirstTouch;
    case Placement::Kind::kInterleave:
      return coherence::PlacementKind::kInterleave;
    case Placement::Kind::kNode:
      return coherence::PlacementKind::kNode;
    case Placement::Kind::kBlocked:
      return coherence::PlacementKind::kBlocked;
  }
  return coherence::PlacementKind::kFirstTouch;
}

// How long a page stays for a thread that leaves the fault handler: returning and making the access takes 1 or 2 µs.
constexpr std::uint64_t kHoldUs = 5;

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

Result<> Memory::add_region(const std::string& name, std::uint64_t address, std::uint64_t bytes, Placement placement) {
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
  core_.add_region({.first_page = page_of(address),
                    .pages = region.bytes / kPageBytes,
                    .placement = placement_kind(placement.kind),
                    .node = NodeId{static_cast<std::uint16_t>(placement.node)}});
  regions_.push_back(std::move(region));
  std::vector<Parked> parked;
  parked.swap(parked_);
  for (const Parked& p : parked) {
    if (!core_.knows(BlockId{p.message.block})) {
      parked_.push_back(p);
    } else {
      (void)core_.message(p.from, wire::MessageType::kPageRequest, p.message, {}, now_us(), effects_);
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
  const bool writes = kind == os::FaultKind::kWrite || is_beside_lock(page, line);
  const Access want = writes ? Access::kWrite : Access::kRead;
  if (in_faulting_thread) {
    const std::int64_t start = os::monotonic_ns();
    if (!wait_for_page(page, want, line, /*pin_it=*/false)) return false;
    fault_wait_ns_.fetch_add(static_cast<std::uint64_t>(os::monotonic_ns() - start), std::memory_order_relaxed);
    return true;
  }
  const os::MutexLock lock(mu_);
  Region* region = find(address);
  if (region == nullptr) return false;
  (void)must_wait_for_room();  // the handler thread cannot wait, but ends the node when there is nothing to wait for
  const Access before = core_.mapped(page);
  const FaultOutcome outcome = core_.fault(page, want, now_us(), effects_, 0, line);
  carry_out();
  if (outcome == FaultOutcome::kLost) die_of_loss(page);
  if (outcome == FaultOutcome::kPending) kernel_waiters_[page] = std::max(kernel_waiters_[page], want);
  if (outcome == FaultOutcome::kResolved && before >= want) {
    engine_->protect(program_address(page), kPageBytes, protection(before), protection(before));
  }
  return true;
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
        if (before >= want && first) {  // see "Faults on accessible pages" in os/fault_engine.h
          engine_->protect(program_address(page), kPageBytes, protection(before), protection(before));
        }
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
  WaitFlag never;
  (void)waiting_->wait(never, os::monotonic_ns() + kRoomCheckNs);
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
  if (core_.about_to_access(page, now_us(), kHoldUs)) waiting_->nudge();
}

void Memory::die_of_loss(PageId page) {
  const Region* region = find(address_of(page));
  char text[256];
  const auto end =
      fmt::format_to_n(text, sizeof text,
                       "gallocy: node {}: page {:#x} of region \"{}\" is lost: the only copy was on a node "
                       "that died",
                       options_.coherence.self, address_of(page), region != nullptr ? region->name : "?");
  die(static_cast<int>(ErrorCode::kPeerLost), {text, std::min(end.size, sizeof text)});
}

// A node that is far over its budget takes no more frames before it has found room for some of them elsewhere; if it
// does not find any for long, the cluster's memory is exhausted.
bool Memory::must_wait_for_room() {
  const std::uint64_t budget = options_.coherence.budget_pages;
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

// ---------------------------------------------------------------------------------------------- effects

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
        engine_->protect(start, length * kPageBytes, protection(effect.from), protection(effect.to));
      });
      return;
    case Effect::Kind::kSend:
      return send_pages(effect);
    case Effect::Kind::kWake:
    case Effect::Kind::kLost:
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
  const wire::FrameHeader header{
      .type = static_cast<std::uint16_t>(effect.type),
      .body_bytes = static_cast<std::uint32_t>(body_bytes),
      .payload_bytes = static_cast<std::uint32_t>(coherence::count(effect.message.carried) * kPageBytes)};
  options_.mesh->send(effect.node, header, {body, body_bytes}, {payload, pieces}, net::WhenFull::kQueue);
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

// ---------------------------------------------------------------------------------------------- messages

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
  if (type == wire::MessageType::kPageRequest && m.block < kWindowBytes / kBlockBytes &&
      !core_.knows(BlockId{m.block})) {
    if (parked_.size() >= kMostParked) return false;
    parked_.push_back({from, m});
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

// ---------------------------------------------------------------------------------------------- for system calls

Result<> Memory::prefault(std::uint64_t address, std::uint64_t bytes, Access access) {
  if (engine_ == nullptr || bytes == 0) return {};
  address = window_address(address);
  for (std::uint64_t page = page_of(address).value; page <= page_of(address + bytes - 1).value; ++page) {
    if (!in_window(address) || !wait_for_page(PageId{page}, access, 0, /*pin_it=*/false)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{:#x} is not in a region of global memory", page * kPageBytes + kWindowBase));
    }
  }
  return {};
}

// Pages are pinned in ascending order by everyone, so two nodes cannot wait for each other's.
Result<> Memory::pinned(std::uint64_t address, std::uint64_t bytes, Access access, const std::function<void()>& f) {
  if (bytes > Node::kMaxPinnedBytes) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("at most {} MiB can be pinned", Node::kMaxPinnedBytes >> 20));
  }
  if (engine_ == nullptr || bytes == 0) {
    f();
    return {};
  }
  std::uint64_t page = page_of(address).value;
  const std::uint64_t end = page_of(address + bytes - 1).value + 1;
  const std::uint64_t first = page;
  while (page < end && in_window(address) && wait_for_page(PageId{page}, access, 0, /*pin_it=*/true)) {
    ++page;
  }
  const bool all = page == end;
  if (all) f();
  const os::MutexLock lock(mu_);
  for (std::uint64_t p = first; p < page; ++p) {
    core_.unpin(PageId{p}, now_us(), effects_);
    carry_out();
  }
  if (!all) return fail(ErrorCode::kInvalidArgument, fmt::format("{:#x} is not in a region of global memory", address));
  return {};
}

void Memory::release_pages(std::uint64_t address, std::uint64_t bytes) {
  if (engine_ == nullptr) {
    ::madvise(reinterpret_cast<void*>(address), bytes, MADV_DONTNEED);
    return;
  }
  const os::MutexLock lock(mu_);
  core_.release(page_of(address), bytes / kPageBytes, now_us(), effects_);
  carry_out();
}

void Memory::limit_here(std::uint64_t address, std::uint64_t bytes, os::Protection most) {
  if (engine_ == nullptr) {
    const int read = most == os::Protection::kNone ? PROT_NONE : PROT_READ | PROT_EXEC;
    const int write = most == os::Protection::kReadWrite ? PROT_WRITE : 0;
    CHECK(::mprotect(reinterpret_cast<void*>(address), bytes, read | write) == 0, errno, address, bytes);
    return;
  }
  const os::MutexLock lock(mu_);
  engine_->limit(reinterpret_cast<std::byte*>(address), bytes, most);
  if (!engine_->applies_limits_later()) return;
  const std::uint64_t begin = window_address(address);
  for (const BlockId block : core_.blocks_with_frames()) {
    for (unsigned i = 0; i < kBlockPages; ++i) {
      const PageId page{first_page(block).value + i};
      const Access mapped = core_.mapped(page);
      if (address_of(page) - begin >= bytes || mapped == Access::kNone) continue;
      engine_->protect(program_address(page), kPageBytes, protection(mapped), protection(mapped));
    }
  }
}

bool Memory::is_beyond_limit(std::uint64_t address, bool write) const {
  if (engine_ == nullptr) return true;
  const os::Protection most = engine_->limit_at(address);
  return most == os::Protection::kNone || (write && most != os::Protection::kReadWrite);
}

Result<> Memory::place_outside(std::uint64_t low, std::uint64_t window, std::uint64_t bytes) {
  CHECK(low % kBlockBytes == 0 && window % kBlockBytes == 0 && bytes % kBlockBytes == 0 && outside_.bytes == 0, low,
        bytes);
  const os::MutexLock lock(mu_);
  Region* const region = find(window);
  CHECK(region != nullptr && window + bytes <= region->address + region->bytes, window);
  const bool plain = region->frames == nullptr;
  void* const got =
      ::mmap(reinterpret_cast<void*>(low), bytes, plain ? PROT_READ | PROT_WRITE : PROT_NONE,
             MAP_FIXED_NOREPLACE | MAP_NORESERVE | (plain ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED),
             plain ? -1 : region->frames->file(), plain ? 0 : static_cast<off_t>(window - region->address));
  if (got == MAP_FAILED) {
    return fail(ErrorCode::kAddressInUse, fmt::format("the addresses {:#x}-{:#x} are taken", low, low + bytes));
  }
  outside_ = {.low = low, .window = window, .bytes = bytes};
  if (plain) return {};
  ::madvise(got, bytes, MADV_DONTFORK);
  return engine_->add(static_cast<std::byte*>(got), bytes);
}

std::byte* Memory::program_address(PageId page) const {
  const std::uint64_t address = address_of(page);
  return reinterpret_cast<std::byte*>(
      address - outside_.window < outside_.bytes ? outside_.low + (address - outside_.window) : address);
}

std::uint64_t Memory::window_address(std::uint64_t address) const {
  return address - outside_.low < outside_.bytes ? outside_.window + (address - outside_.low) : address;
}

std::pair<int, std::uint64_t> Memory::file_behind(std::uint64_t address) {
  const os::MutexLock lock(mu_);
  const Region* const region = find(address);
  if (region == nullptr || region->frames == nullptr) return {-1, 0};
  return {region->frames->file(), region->address};
}

void Memory::note_lock(std::uint64_t address, std::size_t bytes) {
  constexpr std::size_t kMostPages = 4096, kMostOfPage = 16;
  address = window_address(address);
  const std::uint64_t offset = address % kPageBytes;
  if (engine_ == nullptr || !in_window(address) || offset + bytes > kPageBytes || !lock_is_held_) return;
  const os::MutexLock lock(mu_);
  if (locks_.size() >= kMostPages) locks_.clear();
  auto& offsets = locks_[page_of(address)];
  if (offsets.size() < kMostOfPage && std::ranges::find(offsets, offset) == offsets.end())
    offsets.push_back(static_cast<std::uint16_t>(offset));
}

// Who reads there is about to take the lock. A copy to read would be a transfer in vain.
bool Memory::is_beside_lock(PageId page, unsigned line) {
  const os::MutexLock lock(mu_);
  const auto found = locks_.find(page);
  return found != locks_.end() &&
         std::ranges::any_of(found->second, [&](std::uint16_t offset) { return offset / kLineBytes == line; });
}

bool Memory::locked(PageId page) {
  const auto found = locks_.find(page);
  if (found == locks_.end()) return false;
  std::byte* const view = runtime_view(page);
  return std::ranges::any_of(found->second, [&](std::uint16_t offset) { return lock_is_held_(view + offset); });
}

void Memory::unlocked(std::uint64_t address) {
  if (engine_ == nullptr) return;
  const os::MutexLock lock(mu_);
  core_.unlocked(page_of(window_address(address)), now_us(), effects_);
  carry_out();
}

void Memory::zero_here(std::uint64_t address, std::uint64_t bytes) {
  if (engine_ != nullptr) address = window_address(address);
  if (engine_ == nullptr) {
    ::madvise(reinterpret_cast<void*>(address), bytes, MADV_DONTNEED);
    return;
  }
  const os::MutexLock lock(mu_);
  Region* const region = find(address);
  if (region != nullptr) region->frames->discard(address - region->address, bytes);
}

// ---------------------------------------------------------------------------------------------- inspection

std::vector<BlockId> Memory::take_new_homes() {
  const os::MutexLock lock(mu_);
  return std::exchange(new_homes_, {});
}

NodeId Memory::home_of(std::uint64_t address) {
  const os::MutexLock lock(mu_);
  if (engine_ == nullptr) return options_.coherence.self;
  if (!in_window(address) || find(address) == nullptr) return kNoNode;
  const BlockId block = block_of(page_of(address));
  return core_.touched(block) ? core_.home_of(block) : kNoNode;
}

std::uint64_t Memory::room_pages() {
  const os::MutexLock lock(mu_);
  const std::uint64_t budget = options_.coherence.budget_pages;
  // Stale frames are kept for their next use while memory is plenty, but they are room.
  if (core_.frames_in_use() > budget / 2) {
    core_.trim(now_us(), effects_);
    carry_out();
  }
  return core_.frames_in_use() >= budget ? 0 : budget - core_.frames_in_use();
}

void Memory::add_statistics(Statistics& s) {
  const os::MutexLock lock(mu_);
  const coherence::Counters& c = core_.counters();
  s.read_faults += c.read_faults;
  s.write_faults += c.write_faults;
  s.local_faults += c.local_faults;
  s.pages_received += c.pages_received;
  s.pages_sent += c.pages_sent;
  s.invalidations += c.invalidations;
  s.prefetched += c.prefetched;
  s.evicted += c.evicted;
  s.spilled += c.spilled;
  s.resident_bytes += core_.frames_in_use() * kPageBytes;
  s.metadata_bytes += core_.metadata_bytes();
  s.fault_wait_ns += fault_wait_ns_.load(std::memory_order_relaxed);
}

std::string Memory::sharing_report(std::size_t most_pages) {
  const os::MutexLock lock(mu_);
  std::string report;
  for (const auto& shared : core_.most_handed_over(most_pages)) {
    const std::uint64_t address = address_of(shared.page);
    const Region* region = find(address);
    report += fmt::format("{:#x} \"{}\"+{:#x} handed over {} times;", address, region->name, address - region->address,
                          shared.hand_overs);
    std::uint64_t all = 0;
    bool apart = true;
    unsigned writers = 0;
    for (const auto& writer : shared.writers) {
      if (writer.node == kNoNode || writer.lines == 0) continue;
      apart = apart && (all & writer.lines) == 0;
      all |= writer.lines;
      ++writers;
      report += fmt::format(" node {} writes", writer.node);
      for (std::uint64_t lines = writer.lines; lines != 0; lines &= lines - 1) {
        report += fmt::format(" +{:#x}", std::countr_zero(lines) * 64);
      }
      report += ';';
    }
    if (apart && writers > 1) report += " never the same 64 bytes: false sharing";
    report += '\n';
  }
  return report;
}

}  // namespace gallocy::runtime
