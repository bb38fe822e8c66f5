// The mmap family. The home decides (address_space.h), and has every node set the protections; the coherence state of
// the pages is a second, independent restriction. Files: process_mappings.cc.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/check.h"
#include "personality/guest_memory.h"
#include "personality/patched_entry.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

std::uint64_t up(std::uint64_t bytes) { return (bytes + kPageBytes - 1) & ~(kPageBytes - 1); }

}  // namespace

// Executing is not restricted: what may be read may be executed.
os::Protection Process::limit_of(int protection) {
  if ((protection & PROT_WRITE) != 0) return os::Protection::kReadWrite;
  return (protection & (PROT_READ | PROT_EXEC)) != 0 ? os::Protection::kRead : os::Protection::kNone;
}

// On one node the window asks for huge pages, and the kernel may stop the program for seconds while it compacts memory
// for them. An unmodified program has them where it asks, or where the machine gives them to all.
void Process::leave_huge_pages_to_program() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string text;
  std::getline(file, text);
  if (nodes_ == 1 && text.find("[always]") == std::string::npos)
    ::madvise(reinterpret_cast<void*>(begin_), end_ - begin_, MADV_NOHUGEPAGE);
}

long Process::memory_call(const Call& call) {
  const auto a = [&](int i) { return static_cast<std::uint64_t>(call.arguments[i]); };
  if (call.number == SYS_mmap) return map_file(call);
  const std::lock_guard lock(space_mu_);
  Changes changes;
  long result = 0;
  switch (call.number) {
    case SYS_munmap:
      result = space_->unmap(a(0), a(1), changes);
      break;
    case SYS_mprotect:
      result = space_->protect(a(0), a(1), static_cast<int>(a(2)) & (PROT_READ | PROT_WRITE | PROT_EXEC), changes);
      break;
    case SYS_mremap:
      result = space_->remap(a(0), a(1), a(2), static_cast<int>(a(3)), a(4), changes);
      break;
    case SYS_brk:
      result = space_->set_brk(a(0), changes);
      break;
    case SYS_madvise:
      if (call.arguments[2] == MADV_DONTNEED || call.arguments[2] == MADV_FREE)
        result = space_->discard(a(0), a(1), changes);
      // The others are advice. On several nodes pages are all small.
      if (nodes_ == 1 && (call.arguments[2] == MADV_HUGEPAGE || call.arguments[2] == MADV_NOHUGEPAGE) && in_guest(a(0)))
        ::madvise(reinterpret_cast<void*>(a(0)), a(1), static_cast<int>(call.arguments[2]));
      break;
    case SYS_msync:
      if (nodes_ == 1 && in_guest(a(0)))
        return ::msync(reinterpret_cast<void*>(a(0)), a(1), static_cast<int>(a(2))) == 0 ? 0 : -errno;
      space_->visit(a(0), a(0) + up(a(1)), [&](const Area& area) {
        if (in_kernel_.at(area.begin)) {
          if (::msync(reinterpret_cast<void*>(area.begin), area.end - area.begin, static_cast<int>(a(2))) != 0)
            result = -errno;
        } else if (area.shared && area.file != kNoFile && (area.protection & PROT_WRITE) != 0)
          changes.push_back({.kind = Change::Kind::kWriteBack,
                             .begin = area.begin,
                             .end = area.end,
                             .file = area.file,
                             .offset = area.offset});
      });
      break;
    default:
      return -ENOSYS;
  }
  carry_out(changes);
  return result;
}

// mincore: what is mapped counts as resident, wherever it is.
long Process::residency(const Call& call) {
  const auto begin = static_cast<std::uint64_t>(call.arguments[0]),
             bytes = up(static_cast<std::uint64_t>(call.arguments[1]));
  if (begin % kPageBytes != 0) return -EINVAL;
  std::uint64_t mapped = 0;
  {
    const std::lock_guard lock(space_mu_);
    space_->visit(begin, begin + bytes, [&](const Area& area) { mapped += area.end - area.begin; });
  }
  if (mapped != bytes) return -ENOMEM;
  const std::vector<char> all(bytes / kPageBytes, 1);
  return copy_out(static_cast<std::uint64_t>(call.arguments[2]), all.data(), all.size()) ? 0 : -EFAULT;
}

void Process::carry_out(const Changes& changes) {
  for (const Change& c : changes) {
    switch (c.kind) {
      case Change::Kind::kDiscard:
        discard_everywhere(c.begin, c.end);
        break;
      case Change::Kind::kProtect:
        protect_everywhere(c.begin, c.end, c.protection);
        break;
      case Change::Kind::kMove:
        move_bytes(c.begin, c.end, c.to);
        break;
      case Change::Kind::kWriteBack:
        write_back(c);
        break;
      case Change::Kind::kReload:
        reload({.begin = c.begin, .end = c.end, .file = c.file, .offset = c.offset});
        break;
      case Change::Kind::kFileReleased:
        release_file(c.file);
        break;
    }
  }
}

// Readable and writable while it is copied, whatever the program may do with it. What is unread stays so.
void Process::move_bytes(std::uint64_t begin, std::uint64_t end, std::uint64_t to) {
  if (nodes_ == 1 ? move_in_kernel(begin, end, to) : move_common(begin, end, to)) return;
  close_file_pages(begin, end);
  for (const FilePart& part : unread_parts(begin, end)) {
    const std::uint64_t target = to + (part.begin - begin);
    leave_unread({.begin = target, .end = target + (part.end - part.begin), .file = part.file, .offset = part.offset});
  }
  for (const auto& [first, last] : read_ranges(begin, end)) {
    const std::uint64_t target = to + (first - begin);
    limits_.lift(first, last);
    limits_.lift(target, target + (last - first));
    (void)copy_within(target, first, last - first);
    limits_.restore(target, target + (last - first));
    limits_.restore(first, last);
  }
}

void Process::protect_everywhere(std::uint64_t begin, std::uint64_t end, int protection) {
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kProtect,
                             .words = {begin, end, static_cast<std::uint64_t>(protection)}};
  (void)change_here(request);
  if (nodes_ > 1) questions_.ask_all(request);
}

// The pages read as zero, or are unread, from now on. Bytes of them may be on their way between any two nodes, as nodes
// send pages ahead: so first all freeze them and say so to each other, on the links on which those bytes travel.
void Process::discard_everywhere(std::uint64_t begin, std::uint64_t end, const FilePart* unread) {
  end_kernel_mappings(begin, end);
  if (nodes_ == 1) return runtime_.memory().zero_here(begin, end - begin);
  close_file_pages(begin, end);
  if (unread != nullptr) replace_file_pages(*unread);
  runtime_.memory().freeze_here(begin, end - begin);
  freeze_elsewhere(begin, end);
  if (unread != nullptr) limits_.set_unread(begin, end);
  runtime_.memory().zero_here(begin, end - begin);
  if (unread == nullptr) limits_.set_read(begin, end);
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kDiscard,
                             .words = {begin, end, unread != nullptr ? std::uint64_t{1} : 0}};
  questions_.ask_all(request);
  runtime_.memory().thaw_here(begin, end - begin);
  unread != nullptr ? open_file_pages(begin, end) : remove_file_pages(begin, end);
}

// Asks all others to freeze the pages; each tells each other (kArrived), which tells the home.
void Process::freeze_elsewhere(std::uint64_t begin, std::uint64_t end) {
  QuestionGroup group(questions_);
  for (std::uint16_t n = 1; n < nodes_; ++n) {
    wire::GuestRequest request{
        .ticket = group.ticket(), .kind = wire::GuestRequestKind::kFreeze, .words = {begin, end}};
    std::vector<std::uint64_t> arrivals;
    for (std::uint16_t to = 1; to < nodes_; ++to) arrivals.push_back(to == n ? 0 : group.ticket());
    questions_.post(NodeId{n}, request, std::as_bytes(std::span(arrivals)));
  }
  (void)group.wait();
}

// On every node; at others than the home on the poller. False: the request makes no sense.
bool Process::change_here(const wire::GuestRequest& request) {
  using Kind = wire::GuestRequestKind;
  const std::uint64_t begin = request.words[0], end = request.words[1];
  if (!in_guest(begin) || begin >= end || !in_guest(end - 1)) return false;
  if (request.kind == Kind::kFreeze) {
    runtime_.memory().freeze_here(begin, end - begin);
  } else if (request.kind == Kind::kDiscard) {
    const bool unread = request.words[2] != 0;
    if (unread) limits_.set_unread(begin, end);
    runtime_.memory().zero_here(begin, end - begin);
    if (!unread) limits_.set_read(begin, end);
    runtime_.memory().thaw_here(begin, end - begin);
  } else if (request.kind == Kind::kUnread) {
    limits_.set_unread(begin, end);
  } else if (request.kind == Kind::kCommon) {
    limits_.set_common(begin, end, request.words[2] != 0 ? PageLimits::Common::kElsewhere : PageLimits::Common::kNo);
  } else if (request.kind == Kind::kRead) {
    limits_.set_read(begin, end);
  } else if (request.kind == Kind::kEndView) {
    end_view(begin, end);
  } else {
    limits_.protect(begin, end, limit_of(static_cast<int>(request.words[2])));
  }
  return true;
}

// The last part of the guest window stands for it.
bool Process::allow_range(std::uint64_t begin, std::uint64_t end) {
  const std::uint64_t low = begin / kBlockBytes * kBlockBytes;
  const std::uint64_t bytes = (end - low + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  if (low_end_ != 0) return low >= low_begin_ && end <= low_end_;  // another program, after execve
  if (bytes > kOutsideBytes) return false;
  const std::uint64_t window = end_ - kOutsideBytes;
  if (!place_outside(low, window, bytes)) return false;
  if (nodes_ > 1) {
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kOutside, .words = {low, window, bytes}};
    questions_.ask_all(request);
  }
  space_->add_range(low, low + bytes);
  return true;
}

bool Process::place_outside(std::uint64_t low, std::uint64_t window, std::uint64_t bytes) {
  if (patching_ && low < kSlotTable + kPageBytes * 2 && kSlotTable < low + bytes) {
    patching_ = false;
    unmap_patched_slots();
  }
  if (!runtime_.memory().place_outside(low, window, bytes)) return false;
  low_begin_ = low;
  low_end_ = low + bytes;
  runtime_.memory().limit_here(low, bytes, os::Protection::kReadWrite);
  return true;
}
bool Process::write(std::uint64_t to, const void* from, std::size_t bytes) { return copy_out(to, from, bytes); }
bool Process::zero(std::uint64_t to, std::size_t bytes) { return fill_zero(to, bytes); }

}  // namespace gallocy::personality
