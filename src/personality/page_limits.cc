#include "personality/page_limits.h"

#include <algorithm>
#include <vector>

namespace gallocy::personality {

void PageLimits::apply(std::uint64_t begin, std::uint64_t end) {
  common_.visit(begin, end, [&](std::uint64_t first, std::uint64_t last, Common common) {
    if (common == Common::kElsewhere) return memory_.limit_here(first, last - first, os::Protection::kNone);
    unread_.visit(first, last, [&](std::uint64_t from, std::uint64_t to, bool unread) {
      const auto ask = [&](std::uint64_t part, std::uint64_t part_end, os::Protection most) {
        memory_.limit_here(part, part_end - part, unread ? std::min(most, os::Protection::kRead) : most);
      };
      if (!unread) return asked_.visit(from, to, ask);
      viewed_.visit(from, to, [&](std::uint64_t part, std::uint64_t part_end, bool viewed) {
        if (viewed) return asked_.visit(part, part_end, ask);
        memory_.limit_here(part, part_end - part, os::Protection::kNone);
      });
    });
  });
}

void PageLimits::protect(std::uint64_t begin, std::uint64_t end, os::Protection most) {
  const os::MutexLock lock(mu_);
  asked_.assign(begin, end, most);
  apply(begin, end);
}

void PageLimits::set_common(std::uint64_t begin, std::uint64_t end, Common common) {
  const os::MutexLock lock(mu_);
  if (common != Common::kNo) ++times_of_kernel_;
  common_.assign(begin, end, common);
  apply(begin, end);
}

bool PageLimits::is_common(std::uint64_t address) const {
  if (times_of_kernel_.load(std::memory_order_relaxed) == 0) return false;
  const os::MutexLock lock(mu_);
  return common_.at(address) != Common::kNo;
}

void PageLimits::set_unread(std::uint64_t begin, std::uint64_t end) {
  const os::MutexLock lock(mu_);
  unread_.assign(begin, end, true);
  memory_.limit_here(begin, end - begin, os::Protection::kNone);
}

void PageLimits::set_read(std::uint64_t begin, std::uint64_t end) {
  const os::MutexLock lock(mu_);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> parts;
  unread_.visit(begin, end, [&](std::uint64_t from, std::uint64_t to, bool unread) {
    if (unread) parts.emplace_back(from, to);
  });
  unread_.assign(begin, end, false);
  for (const auto& [from, to] : parts) apply(from, to);
}

void PageLimits::set_viewed(std::uint64_t begin, std::uint64_t end, bool viewed) {
  const os::MutexLock lock(mu_);
  if (viewed) ++times_of_kernel_;
  viewed_.assign(begin, end, viewed);
  apply(begin, end);
}

std::vector<std::pair<std::uint64_t, std::uint64_t>> PageLimits::viewed(std::uint64_t begin, std::uint64_t end) const {
  const os::MutexLock lock(mu_);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> parts;
  viewed_.visit(begin, end, [&](std::uint64_t from, std::uint64_t to, bool viewed) {
    if (viewed) parts.emplace_back(from, to);
  });
  return parts;
}

bool PageLimits::is_of_kernel(std::uint64_t address) const {
  if (times_of_kernel_.load(std::memory_order_relaxed) == 0) return false;
  const os::MutexLock lock(mu_);
  return common_.at(address) != Common::kNo || viewed_.at(address);
}

void PageLimits::lift(std::uint64_t begin, std::uint64_t end) {
  const os::MutexLock lock(mu_);
  memory_.limit_here(begin, end - begin, os::Protection::kReadWrite);
}

void PageLimits::restore(std::uint64_t begin, std::uint64_t end) {
  const os::MutexLock lock(mu_);
  apply(begin, end);
}

// From some file systems, which the kernel does not allow to execute from, pages are read for that after all.
PageLimits::Verdict PageLimits::judge(std::uint64_t address, Use use) const {
  const os::MutexLock lock(mu_);
  const os::Protection most = asked_.at(address);
  if (most == os::Protection::kNone || (use == Use::kWrite && most != os::Protection::kReadWrite))
    return Verdict::kForbidden;
  const Common common = common_.at(address);
  if (common == Common::kElsewhere) return Verdict::kCommon;
  if (common == Common::kHere) return use == Use::kExecute ? Verdict::kAllowed : Verdict::kOfKernel;
  if (!unread_.at(address)) return Verdict::kAllowed;
  return viewed_.at(address) && use == Use::kRead ? Verdict::kOfKernel : Verdict::kUnread;
}

}  // namespace gallocy::personality
