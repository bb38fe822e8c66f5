// What system calls and process mode ask of memory beside the faults: pages to be here, limits, addresses outside the
// window, locks.
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "runtime/memory.h"

namespace gallocy::runtime {

Result<> Memory::prefault(std::uint64_t address, std::uint64_t bytes, Access access) {
  if (engine_ == nullptr || bytes == 0) return {};
  address = window_address(address);
  for (std::uint64_t page = page_of(address).value; page <= page_of(address + bytes - 1).value; ++page) {
    if (!in_window(address) ||
        (!wait_for_page(PageId{page}, access, 0, /*pin_it=*/false) && !prefault_other(PageId{page}, access))) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{:#x} is not in a region of global memory", page * kPageBytes + kWindowBase));
    }
  }
  return {};
}

bool Memory::prefault_other(PageId page, Access access) {
  const os::FaultKind kind = access == Access::kWrite ? os::FaultKind::kWrite : os::FaultKind::kRead;
  return other_memory_ != nullptr && other_memory_->fault(address_of(page), kind, /*in_faulting_thread=*/true);
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

// In ascending order, as pinned().
void Memory::overwrite(std::uint64_t address, std::uint64_t bytes, const std::function<void(std::byte*)>& f) {
  const PageId first = page_of(window_address(address)), end{first.value + bytes / kPageBytes};
  std::byte* frames = nullptr;
  {
    const os::MutexLock lock(mu_);
    frames = runtime_view(first);
  }
  // Frames that are not there yet are made in one step, for both views: the faults would cost several times as much.
  ::madvise(frames, bytes, MADV_POPULATE_WRITE);
  for (PageId page = first; page < end;) {
    {
      const os::MutexLock lock(mu_);
      for (; page < end && core_.mapped(page) == Access::kWrite; ++page.value) core_.pin(page);
    }
    if (page < end) CHECK(wait_for_page(page, Access::kWrite, 0, /*pin_it=*/true), page), ++page.value;
  }
  f(frames);
  const os::MutexLock lock(mu_);
  for (PageId page = first; page < end; ++page.value) {
    core_.unpin(page, now_us(), effects_);
    carry_out();
  }
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

// What the kernel has mapped.
static void limit_mapping(std::uint64_t address, std::uint64_t bytes, os::Protection most) {
  const int read = most == os::Protection::kNone ? PROT_NONE : PROT_READ | PROT_EXEC;
  const int write = most == os::Protection::kReadWrite ? PROT_WRITE : 0;
  auto* const begin = reinterpret_cast<void*>(address);
  if (::mprotect(begin, bytes, read | write) == 0) return;
  // A file of a file system from which nothing may be executed.
  CHECK(errno == EACCES && ::mprotect(begin, bytes, (read | write) & ~PROT_EXEC) == 0, errno, address, bytes);
}

void Memory::limit_here(std::uint64_t address, std::uint64_t bytes, os::Protection most) {
  if (engine_ == nullptr) return limit_mapping(address, bytes, most);
  const os::MutexLock lock(mu_);
  by_lent(address, address + bytes, [&](std::uint64_t begin, std::uint64_t end, bool lent) REQUIRES(mu_) {
    if (lent) return limit_mapping(begin, end - begin, most);
    engine_->limit(reinterpret_cast<std::byte*>(begin), end - begin, most);
    if (!engine_->applies_limits_later()) return;
    for_each_mapped(begin, end - begin, [&](PageId page, Access mapped) REQUIRES(mu_) {
      engine_->protect(program_address(page), kPageBytes, protection(mapped), protection(mapped));
    });
  });
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

bool Memory::locked(PageId page) {
  return keeps_page_ && keeps_page_(reinterpret_cast<std::uint64_t>(program_address(page)) / kPageBytes);
}

void Memory::unlocked(std::uint64_t address) {
  if (engine_ == nullptr) return;
  const os::MutexLock lock(mu_);
  core_.unlocked(page_of(window_address(address)), now_us(), effects_);
  carry_out();
}

bool Memory::give_home(std::uint64_t address, NodeId to) {
  if (engine_ == nullptr) return true;
  address = window_address(address);
  const os::MutexLock lock(mu_);
  if (!in_window(address) || find(address) == nullptr) return true;
  const bool given = core_.give_home(block_of(page_of(address)), to, now_us(), effects_);
  carry_out();
  return given;
}

void Memory::freeze_here(std::uint64_t address, std::uint64_t bytes) {
  if (engine_ == nullptr) return;
  const os::MutexLock lock(mu_);
  core_.freeze(page_of(window_address(address)), bytes / kPageBytes);
}

void Memory::thaw_here(std::uint64_t address, std::uint64_t bytes) {
  if (engine_ == nullptr) return;
  const os::MutexLock lock(mu_);
  core_.thaw(page_of(window_address(address)), bytes / kPageBytes, now_us(), effects_);
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
  if (region == nullptr) return;
  region->frames->discard(address - region->address, bytes);
  zeroed_.zeroed(page_of(address), bytes / kPageBytes);
}

}  // namespace gallocy::runtime
