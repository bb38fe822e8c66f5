#include "runtime/sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "os/clock.h"
#include "sync/sync_id.h"

namespace gallocy::runtime {
namespace {

using durable::PageRange;
using Step = durable::Section::Step;

// Frames are kept for the next section, up to so many pages: to give one back and take it again costs more than the
// page's comparison.
constexpr std::size_t kMostKeptFrames = 4096;

constexpr os::Protection protection(Access access) { return static_cast<os::Protection>(access); }

PageRange range_of(const Sections::Lock& lock) { return {page_of(lock.address), lock.bytes / kPageBytes}; }

sync::SyncId mutex_of(PageId first) {
  return sync::named_id(fmt::format("gallocy.durable lock {:#x}", address_of(first)));
}

}  // namespace

Sections::~Sections() {
  for (const Region& region : regions_) engine_->remove(region.frames->program_view(), region.bytes);
}

Result<> Sections::add_region(const std::string& name, std::uint64_t address, std::uint64_t bytes) {
  Region region{.name = name, .address = address, .bytes = bytes, .frames = nullptr};
  GALLOCY_ASSIGN(region.frames, os::PageFrames::map(address, bytes));
  GALLOCY_TRY(engine_->add(region.frames->program_view(), bytes));
  const os::MutexLock lock(mu_);
  regions_.push_back(std::move(region));
  return {};
}

const Sections::Region* Sections::find(std::uint64_t address) const {
  const auto found = std::ranges::find_if(regions_, [&](const Region& r) { return address - r.address < r.bytes; });
  return found == regions_.end() ? nullptr : &*found;
}

OpenSection* Sections::section_of(PageId page) const {
  const auto found = std::ranges::find_if(open_, [&](const OpenSection* o) { return o->section_.covers(page); });
  return found == open_.end() ? nullptr : *found;
}

std::span<std::byte> Sections::frame(PageId page) const {
  const Region* const region = find(address_of(page));
  CHECK(region != nullptr, page);
  return {region->frames->runtime_view() + (address_of(page) - region->address), kPageBytes};
}

void Sections::protect(PageId first, std::uint64_t pages, Access from, Access to) {
  engine_->protect(reinterpret_cast<std::byte*>(address_of(first)), pages * kPageBytes, protection(from),
                   protection(to));
}

// ---------------------------------------------------------------------------------------------- faults

bool Sections::fault(std::uint64_t address, os::FaultKind kind, bool in_faulting_thread) {
  const PageId page = page_of(address);
  const Access want = kind == os::FaultKind::kWrite ? Access::kWrite : Access::kRead;
  for (;;) {
    Waiter waiter{.page = page};
    OpenSection* open = nullptr;
    Step step{};
    {
      const os::MutexLock lock(mu_);
      const Region* const region = find(address);
      if (region == nullptr) return false;
      open = section_of(page);
      if (open == nullptr) refuse(*region, address);
      const Access before = open->section_.access(page);
      step = open->section_.touch(page, want, frame(page));
      if (step == Step::kOpen) return protect(page, 1, before, open->section_.access(page)), true;
      if (step == Step::kFetch) ++open->fetching_;
      if (in_faulting_thread) waiters_.push_back(&waiter);
    }
    if (step == Step::kFetch) fetch(*open, page);
    if (!in_faulting_thread) return true;
    (void)waiting_->wait(waiter.flag);
  }
}

// Straight into the frame, which the program cannot see yet.
void Sections::fetch(OpenSection& open, PageId page) {
  const auto bytes = [&] {
    const os::MutexLock lock(mu_);
    return frame(page);
  }();
  service_.fetch({address_of(page), bytes}, [this, &open, page, bytes](const Result<DurableOutcome>& ended) {
    arrived(open, page, bytes, ended);
  });
}

void Sections::arrived(OpenSection& open, PageId page, std::span<std::byte> bytes,
                       const Result<DurableOutcome>& ended) {
  const os::MutexLock lock(mu_);
  if (auto error = error_of(ended)) {
    std::ranges::fill(bytes, std::byte{});
    open.error_ = std::move(error);
  }
  open.section_.fetched(page, bytes);
  framed_.insert(page);
  if (section_of(page) == &open) protect(page, 1, Access::kNone, open.section_.access(page));
  std::erase_if(waiters_, [&](Waiter* waiter) {
    if (waiter->page != page) return false;
    waiter->flag.set();
    return true;
  });
  if (--open.fetching_ == 0 && open.closed_ != nullptr) open.closed_->set();
}

void Sections::refuse(const Region& region, std::uint64_t address) const {
  char text[256];
  const auto end = fmt::format_to_n(text, sizeof text,
                                    "gallocy: node {}: address {:#x} of region \"{}\" is durable memory: enter a "
                                    "gallocy::Section of its lock first, or use gallocy::Transaction",
                                    self_, address, region.name);
  die(static_cast<int>(ErrorCode::kInvalidArgument), {text, std::min(end.size, sizeof text)});
}

// ---------------------------------------------------------------------------------------------- locks

Result<std::unique_ptr<OpenSection>> Sections::enter(std::vector<Lock> locks, Timeout timeout) {
  std::ranges::sort(locks);
  const auto twice = std::ranges::unique(locks);
  locks.erase(twice.begin(), twice.end());
  GALLOCY_TRY(check(locks));
  const std::int64_t began = os::monotonic_ns();
  std::vector<PageRange> ranges;
  for (const Lock& lock : locks) ranges.push_back(range_of(lock));
  auto open = std::make_unique<OpenSection>(std::move(ranges));
  for (const PageRange& range : open->section_.ranges()) {
    const Timeout left = timeout == kForever ? kForever : timeout - Timeout(os::monotonic_ns() - began);
    const auto died = take(range, left);
    if (!died) {
      let_go(*open);
      return tl::unexpected(died.error());
    }
    ++open->locks_held_;
    open->owner_died_ = open->owner_died_ || *died;
  }
  if (auto opened = this->open(*open); !opened) {
    let_go(*open);
    return tl::unexpected(opened.error());
  }
  return open;
}

// Of whole pages of durable memory, of each only once, and of none that this thread has already.
Result<> Sections::check(const std::vector<Lock>& locks) {
  if (locks.empty()) return fail(ErrorCode::kInvalidArgument, "a section needs a durable lock");
  const os::MutexLock guard(mu_);
  for (std::size_t i = 0; i < locks.size(); ++i) {
    const Lock& lock = locks[i];
    const Region* const region = find(lock.address);
    if (region == nullptr || lock.bytes == 0 || lock.bytes > region->address + region->bytes - lock.address ||
        lock.address % kPageBytes != 0 || lock.bytes % kPageBytes != 0) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("a durable lock of {} bytes at {:#x}: it has to be of whole pages of a region that was "
                              "mapped with durable_backups",
                              lock.bytes, lock.address));
    }
    const auto overlaps = [&](const PageRange& range) { return range.overlaps(range_of(lock)); };
    const bool twice = i > 0 && overlaps(range_of(locks[i - 1]));
    const bool own = std::ranges::any_of(open_, [&](const OpenSection* o) {
      return o->opener_ == std::this_thread::get_id() && std::ranges::any_of(o->section_.ranges(), overlaps);
    });
    if (twice || own) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("the durable lock at {:#x} overlaps another of this thread", lock.address));
    }
  }
  return {};
}

// True: who had the lock last died, perhaps within a section.
Result<bool> Sections::take(const PageRange& range, Timeout timeout) {
  const sync::SyncId id = mutex_of(range.first);
  const sync::Outcome outcome =
      sync_.run(id, timeout, [id](sync::Core& c, sync::WaiterId w, sync::Effects& e) { return c.lock(id, w, e); });
  if (sync::succeeded(outcome)) return outcome == sync::Outcome::kOwnerDied;
  if (outcome == sync::Outcome::kTimeout) return fail(ErrorCode::kTimeout, "a durable lock: the time is over");
  return fail(ErrorCode::kPeerLost, "a durable lock: a node died that would have had to act");
}

void Sections::let_go(const OpenSection& open) {
  for (std::size_t i = open.locks_held_; i-- > 0;) {
    const sync::SyncId id = mutex_of(open.section_.ranges()[i].first);
    const sync::Outcome outcome =
        sync_.run(id, kForever, [id](sync::Core& c, sync::WaiterId, sync::Effects& e) { return c.unlock(id, e); });
    CHECK(sync::succeeded(outcome), static_cast<int>(outcome));
  }
}

// ---------------------------------------------------------------------------------------------- from begin to end

Result<> Sections::open(OpenSection& open) {
  const os::MutexLock lock(mu_);
  for (const OpenSection* other : open_) {
    for (const PageRange& range : other->section_.ranges()) {
      if (std::ranges::none_of(open.section_.ranges(), [&](const PageRange& r) { return r.overlaps(range); })) continue;
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("the durable lock at {:#x} overlaps another one: a page belongs to one lock",
                              address_of(range.first)));
    }
  }
  open_.push_back(&open);
  return {};
}

// The program can touch its pages no more, and all that were asked for have come.
void Sections::close(OpenSection& open) {
  WaitFlag closed;
  {
    const os::MutexLock lock(mu_);
    std::erase(open_, &open);
    open.section_.for_each_run([&](PageId first, std::uint64_t pages, Access access) {
      if (access != Access::kNone) protect(first, pages, access, Access::kNone);
    });
    if (open.fetching_ == 0) return;
    open.closed_ = &closed;
  }
  (void)waiting_->wait(closed);
}

Result<> Sections::commit(OpenSection& open) {
  close(open);
  if (!open.error_) {
    const auto items = open.section_.items([this](PageId page) {
      const os::MutexLock lock(mu_);
      return std::span<const std::byte>(frame(page));
    });
    open.error_ = error_of(service_.commit(items));
  }
  end(open);
  if (open.error_) return tl::unexpected(*open.error_);
  return {};
}

void Sections::roll_back(OpenSection& open) {
  close(open);
  end(open);
}

void Sections::end(OpenSection& open) {
  {
    const os::MutexLock lock(mu_);
    if (framed_.size() > kMostKeptFrames) give_back_frames(open);
  }
  let_go(open);
}

void Sections::give_back_frames(const OpenSection& open) {
  open.section_.for_each_run([&](PageId first, std::uint64_t pages, Access) {
    const Region* const region = find(address_of(first));
    region->frames->discard(address_of(first) - region->address, pages * kPageBytes);
    for (std::uint64_t i = 0; i < pages; ++i) framed_.erase(PageId{first.value + i});
  });
}

}  // namespace gallocy::runtime
