// The mmap family. The home decides (address_space.h), fills and writes back file mappings, and has every node set the
// protections; the coherence state of the pages is a second, independent restriction.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

constexpr std::size_t kPieceBytes = 256 << 10;

std::string path_of(int fd) {
  char path[4096];
  const ssize_t length = ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), path, sizeof path);
  return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : std::string();
}

// Executing is not restricted.
int with_executing(int protection) { return (protection & PROT_READ) != 0 ? protection | PROT_EXEC : protection; }

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
      space_->visit(a(0), a(0) + up(a(1)), [&](const Area& area) {
        if (area.shared && area.file != kNoFile && (area.protection & PROT_WRITE) != 0)
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

long Process::map_file(const Call& call) {
  const int flags = static_cast<int>(call.arguments[3]);
  const int fd = static_cast<int>(call.arguments[4]);
  return map(static_cast<std::uint64_t>(call.arguments[0]), static_cast<std::uint64_t>(call.arguments[1]),
             static_cast<int>(call.arguments[2]), flags, (flags & MAP_ANONYMOUS) != 0 ? -1 : fd,
             static_cast<std::uint64_t>(call.arguments[5]), "");
}

long Process::map(std::uint64_t address, std::uint64_t bytes, int protection, int flags, int fd, std::uint64_t offset,
                  const std::string& name) {
  const bool anonymous = (flags & MAP_ANONYMOUS) != 0;
  const int type = flags & MAP_TYPE;
  if (type == MAP_SHARED_VALIDATE) flags = (flags & ~MAP_TYPE) | MAP_SHARED;
  int file = kNoFile;
  const std::lock_guard lock(space_mu_);
  if (!anonymous) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return -EBADF;
    if (!S_ISREG(status.st_mode)) {
      char path[] = "/dev/zero";
      if (path_of(fd) != path) return -ENODEV;
    }
    const int access = ::fcntl(fd, F_GETFL) & O_ACCMODE;
    if (access == O_WRONLY) return -EACCES;
    if ((flags & MAP_TYPE) == MAP_SHARED && (protection & PROT_WRITE) != 0 && access != O_RDWR) return -EACCES;
    file = next_file_++;
    const int own = ::fcntl(fd, F_DUPFD_CLOEXEC, 1000);
    if (own < 0) return -ENFILE;
    files_[file] = own;
    keep_descriptor(own);
  }
  Changes changes;
  const long result = space_->map({.address = address,
                                   .bytes = bytes,
                                   .protection = protection,
                                   .flags = flags,
                                   .file = file,
                                   .offset = offset,
                                   .name = anonymous ? name : path_of(fd)},
                                  changes);
  carry_out(changes);
  if (file == kNoFile && result >= 0 && nodes_ == 1 && (flags & MAP_TYPE) == MAP_SHARED) {
    // Forked children share it.
    CHECK(::mmap(reinterpret_cast<void*>(result), up(bytes), protection, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
                 0) != MAP_FAILED,
          errno);
  }
  if (file == kNoFile) return result;
  if (result < 0) {
    close_descriptor(files_[file]);
    files_.erase(file);
    return result;
  }
  const auto begin = static_cast<std::uint64_t>(result);
  const Area* const area = space_->find(begin);
  CHECK(area != nullptr);
  if (!map_lazily(*area, begin, begin + up(bytes), fd) &&
      !fill({.begin = begin, .end = begin + up(bytes), .protection = protection, .file = file, .offset = offset}, begin,
            begin + up(bytes))) {
    return -EIO;
  }
  if ((flags & MAP_TYPE) == MAP_PRIVATE) {
    file_paths_[file] = path_of(fd);
    close_descriptor(files_[file]);
    files_.erase(file);
  }
  return result;
}

// On one node the kernel can read a private mapping's file as it is touched. A shared one that cannot be written is as
// good as private. False: it is to be filled.
bool Process::map_lazily(const Area& area, std::uint64_t begin, std::uint64_t end, int fd) {
  struct stat status {};
  if (nodes_ > 1 || ::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return false;
  if (area.shared && (::fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR) return false;
  const auto map = [&](int protection) {
    return ::mmap(reinterpret_cast<void*>(begin), end - begin, protection, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd,
                  static_cast<off_t>(area.offset + (begin - area.begin))) != MAP_FAILED;
  };
  // From some file systems nothing may be executed.
  if (!map(with_executing(area.protection)) && !map(area.protection)) return false;
  lazy_mappings_.emplace(begin, end);
  return true;
}

// What of them lies in the range becomes memory without a file.
void Process::end_lazy_mappings(std::uint64_t begin, std::uint64_t end) {
  auto it = lazy_mappings_.upper_bound(begin);
  if (it != lazy_mappings_.begin()) --it;
  while (it != lazy_mappings_.end() && it->first < end) {
    const auto [first, last] = *it;
    const std::uint64_t from = std::max(first, begin), to = std::min(last, end);
    if (from >= to) {
      ++it;
      continue;
    }
    space_->visit_permissions(from, to, [](std::uint64_t part, std::uint64_t part_end, int permission) {
      CHECK(::mmap(reinterpret_cast<void*>(part), part_end - part, with_executing(permission),
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED,
            errno);
    });
    it = lazy_mappings_.erase(it);
    if (first < from) lazy_mappings_.emplace(first, from);
    if (to < last) it = lazy_mappings_.emplace(to, last).first;
  }
}

// The bytes of the area's file, written while the pages may be written, at this node.
bool Process::fill(const Area& area, std::uint64_t begin, std::uint64_t end) {
  const auto found = files_.find(area.file);
  const auto path = file_paths_.find(area.file);
  // Of a private mapping only the path is kept: programs map more files than they may have descriptors.
  const int reopened =
      found == files_.end() && path != file_paths_.end() ? ::open(path->second.c_str(), O_RDONLY | O_CLOEXEC) : -1;
  const int fd = found != files_.end() ? found->second : reopened;
  if (fd < 0) return false;
  const os::Protection limit = limit_of(area.protection);
  const bool limited = limit != os::Protection::kReadWrite;
  if (limited) runtime_.memory().limit_here(begin, end - begin, os::Protection::kReadWrite);
  std::vector<std::byte> piece(std::min<std::uint64_t>(kPieceBytes, end - begin));
  bool ok = true;
  for (std::uint64_t at = begin; at < end && ok;) {
    const ssize_t got = ::pread(fd, piece.data(), std::min<std::uint64_t>(piece.size(), end - at),
                                static_cast<off_t>(area.offset + (at - area.begin)));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      ok = got == 0;
      break;
    }
    ok = copy_out(at, piece.data(), static_cast<std::size_t>(got));
    at += static_cast<std::uint64_t>(got);
  }
  if (limited) runtime_.memory().limit_here(begin, end - begin, limit);
  if (reopened >= 0) ::close(reopened);
  return ok;
}

// Of shared file mappings, when the program ends.
void Process::write_back_all() {
  const std::unique_lock lock(space_mu_, std::try_to_lock);
  if (!lock.owns_lock() || space_ == nullptr) return;  // a thread was in the middle of mmap: nothing waits for it now
  Changes changes;
  space_->visit(0, end_, [&](const Area& area) {
    if (!area.shared || area.file == kNoFile || (area.protection & PROT_WRITE) == 0) return;
    changes.push_back({.kind = Change::Kind::kWriteBack,
                       .begin = area.begin,
                       .end = area.end,
                       .file = area.file,
                       .offset = area.offset});
  });
  carry_out(changes);
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
      case Change::Kind::kMove: {
        // Readable and writable while it is copied, whatever the program may do with it.
        (void)copy_within(c.to, c.begin, c.end - c.begin);
        break;
      }
      case Change::Kind::kWriteBack: {
        const auto found = files_.find(c.file);
        struct stat status {};
        if (found == files_.end() || ::fstat(found->second, &status) != 0) break;
        const auto size = static_cast<std::uint64_t>(status.st_size);
        const std::uint64_t end = std::min(c.end, c.begin + (size > c.offset ? size - c.offset : 0));
        std::vector<std::byte> piece(kPieceBytes);
        for (std::uint64_t at = c.begin; at < end; at += piece.size()) {
          const std::size_t length = std::min<std::uint64_t>(piece.size(), end - at);
          if (!copy_in(piece.data(), at, length)) break;
          if (::pwrite(found->second, piece.data(), length, static_cast<off_t>(c.offset + (at - c.begin))) < 0) break;
        }
        break;
      }
      case Change::Kind::kReload:
        (void)fill(
            {.begin = c.begin, .end = c.end, .protection = PROT_READ | PROT_WRITE, .file = c.file, .offset = c.offset},
            c.begin, c.end);
        break;
      case Change::Kind::kFileReleased:
        file_paths_.erase(c.file);
        if (const auto found = files_.find(c.file); found != files_.end()) {
          close_descriptor(found->second);
          files_.erase(found);
        }
        break;
    }
  }
}

void Process::protect_everywhere(std::uint64_t begin, std::uint64_t end, int protection) {
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kProtect,
                             .words = {begin, end, static_cast<std::uint64_t>(protection)}};
  (void)change_here(request);
  if (nodes_ > 1) ask_all(request);
}

// The pages read as zero from now on. Bytes of them may be on their way between any two nodes, as nodes send pages
// ahead: so first all freeze them and say so to each other, on the links on which those bytes travel.
void Process::discard_everywhere(std::uint64_t begin, std::uint64_t end) {
  if (nodes_ == 1) {
    end_lazy_mappings(begin, end);
    return runtime_.memory().zero_here(begin, end - begin);
  }
  runtime_.memory().freeze_here(begin, end - begin);
  freeze_elsewhere(begin, end);
  runtime_.memory().zero_here(begin, end - begin);
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kDiscard, .words = {begin, end}};
  ask_all(request);
  runtime_.memory().thaw_here(begin, end - begin);
}

// Asks all others to freeze the pages; each tells each other (kArrived), which tells the home.
void Process::freeze_elsewhere(std::uint64_t begin, std::uint64_t end) {
  std::vector<std::unique_ptr<Question>> questions;
  const auto open = [&] {
    questions.push_back(std::make_unique<Question>());
    return open_question(*questions.back());
  };
  for (std::uint16_t n = 1; n < nodes_; ++n) {
    wire::GuestRequest request{.ticket = open(), .kind = wire::GuestRequestKind::kFreeze, .words = {begin, end}};
    std::vector<std::uint64_t> arrivals;
    for (std::uint16_t to = 1; to < nodes_; ++to) arrivals.push_back(to == n ? 0 : open());
    post(NodeId{n}, request, std::as_bytes(std::span(arrivals)));
  }
  wait_for_all(questions);
}

// On every node; at others than the home on the poller. False: the request makes no sense.
bool Process::change_here(const wire::GuestRequest& request) {
  using Kind = wire::GuestRequestKind;
  const std::uint64_t begin = request.words[0], end = request.words[1];
  if (!in_guest(begin) || begin >= end || !in_guest(end - 1)) return false;
  if (request.kind == Kind::kFreeze) {
    runtime_.memory().freeze_here(begin, end - begin);
  } else if (request.kind == Kind::kDiscard) {
    runtime_.memory().zero_here(begin, end - begin);
    runtime_.memory().thaw_here(begin, end - begin);
  } else {
    runtime_.memory().limit_here(begin, end - begin, limit_of(static_cast<int>(request.words[2])));
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
    ask_all(request);
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
