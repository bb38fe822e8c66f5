// Pages of a region that the kernel maps itself, from a file or device, because others have a part in them.
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "runtime/memory.h"

namespace gallocy::runtime {

// The parts of the range, lent or not.
void Memory::by_lent(std::uint64_t begin, std::uint64_t end,
                     const std::function<void(std::uint64_t, std::uint64_t, bool)>& f) const {
  auto next = lent_.upper_bound(begin);
  if (next != lent_.begin() && std::prev(next)->second > begin) --next;
  for (; next != lent_.end() && next->first < end; ++next) {
    const std::uint64_t from = std::max(begin, next->first), to = std::min(end, next->second);
    if (begin < from) f(begin, from, false);
    f(from, to, true);
    begin = to;
  }
  if (begin < end) f(begin, end, false);
}

void Memory::protect_here(std::byte* start, std::size_t bytes, os::Protection from, os::Protection to) {
  if (lent_.empty()) return engine_->protect(start, bytes, from, to);
  const auto begin = reinterpret_cast<std::uint64_t>(start);
  by_lent(begin, begin + bytes, [&](std::uint64_t part, std::uint64_t part_end, bool lent) REQUIRES(mu_) {
    if (!lent) engine_->protect(reinterpret_cast<std::byte*>(part), part_end - part, from, to);
  });
}

// The pages of the range, by the program's addresses, that its threads may touch on this node.
void Memory::for_each_mapped(std::uint64_t address, std::uint64_t bytes, const std::function<void(PageId, Access)>& f) {
  const std::uint64_t begin = window_address(address);
  const auto look = [&](BlockId block) REQUIRES(mu_) {
    for (unsigned i = 0; i < kBlockPages; ++i) {
      const PageId page{first_page(block).value + i};
      const Access mapped = core_.mapped(page);
      if (address_of(page) - begin < bytes && mapped != Access::kNone) f(page, mapped);
    }
  };
  const BlockId first = block_of(page_of(begin)), last = block_of(page_of(begin + bytes - 1));
  if (last.value - first.value < core_.blocks_with_frames().size()) {
    for (BlockId block = first; block <= last; ++block.value) look(block);
  } else {
    std::ranges::for_each(core_.blocks_with_frames(), look);
  }
}

void Memory::lend(std::uint64_t address, std::uint64_t bytes) {
  CHECK(engine_ != nullptr && address % kPageBytes == 0 && bytes % kPageBytes == 0, address, bytes);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> parts;
  {
    const os::MutexLock lock(mu_);
    by_lent(address, address + bytes, [&](std::uint64_t begin, std::uint64_t end, bool lent) {
      if (!lent) parts.emplace_back(begin, end);
    });
    for (const auto& [begin, end] : parts) lent_[begin] = end;
  }
  // The engine waits for its own thread, which takes mu_.
  for (const auto& [begin, end] : parts) engine_->remove(reinterpret_cast<std::byte*>(begin), end - begin);
}

void Memory::take_back(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t end = address + bytes;
  int file = -1;
  std::uint64_t region_begin = 0;
  {
    const os::MutexLock lock(mu_);
    bool all = true;
    by_lent(address, end, [&](std::uint64_t, std::uint64_t, bool lent) { all = all && lent; });
    const Region* const region = find(window_address(address));
    CHECK(all && region != nullptr, address, bytes);
    file = region->frames->file();
    region_begin = region->address;
  }
  auto* const begin = reinterpret_cast<std::byte*>(address);
  CHECK(::mmap(begin, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, file,
               static_cast<off_t>(window_address(address) - region_begin)) == begin,
        errno);
  for (const int advice : {MADV_DONTFORK, MADV_DONTDUMP}) CHECK(::madvise(begin, bytes, advice) == 0, errno);
  // A fault between the two waits for the lock.
  const os::MutexLock lock(mu_);
  const Result<> added = engine_->add(begin, bytes);
  CHECK(added, added.error().message);
  engine_->limit(begin, bytes, os::Protection::kNone);
  for (auto it = std::prev(lent_.upper_bound(address)); it != lent_.end() && it->first < end;) {
    const auto [from, to] = *it;
    it = lent_.erase(it);
    if (from < address) lent_[from] = address;
    if (end < to) it = lent_.emplace(end, to).first;
  }
  for_each_mapped(address, bytes, [&](PageId page, Access mapped) REQUIRES(mu_) {
    engine_->protect(program_address(page), kPageBytes, os::Protection::kNone, protection(mapped));
  });
}

}  // namespace gallocy::runtime
