// The files behind mappings: mmap, and what is written back. One node's are the kernel's; on several, pages are read
// when they are touched (process_file_pages.cc).
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/check.h"
#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

constexpr std::size_t kPieceBytes = 256 << 10;

bool is_zero_device(const struct stat& status) {
  return S_ISCHR(status.st_mode) && status.st_rdev == ::makedev(1, 5);  // mem(4)
}

// Files that are made to be shared with other processes: of shm_open(3), sem_open(3), memfd_create(2).
bool is_meant_for_others(const std::string& path) {
  return path.starts_with("/dev/shm/") || path.starts_with("/memfd:");
}

// Executing is not restricted.
int with_executing(int protection) { return (protection & PROT_READ) != 0 ? protection | PROT_EXEC : protection; }

std::uint64_t up(std::uint64_t bytes) { return (bytes + kPageBytes - 1) & ~(kPageBytes - 1); }

bool is_all(const IntervalMap<bool>& map, std::uint64_t begin, std::uint64_t end) {
  bool all = true;
  map.visit(begin, end, [&](std::uint64_t, std::uint64_t, bool value) { all = all && value; });
  return all;
}

}  // namespace

long Process::map_file(const Call& call) {
  const int flags = static_cast<int>(call.arguments[3]);
  const int fd = static_cast<int>(call.arguments[4]);
  return map(static_cast<std::uint64_t>(call.arguments[0]), static_cast<std::uint64_t>(call.arguments[1]),
             static_cast<int>(call.arguments[2]), flags, (flags & MAP_ANONYMOUS) != 0 ? -1 : fd,
             static_cast<std::uint64_t>(call.arguments[5]), "");
}

long Process::map(std::uint64_t address, std::uint64_t bytes, int protection, int flags, int fd, std::uint64_t offset,
                  const std::string& name) {
  if ((flags & MAP_TYPE) == MAP_SHARED_VALIDATE) flags = (flags & ~MAP_TYPE) | MAP_SHARED;
  const bool shared = (flags & MAP_TYPE) == MAP_SHARED;
  int file = kNoFile;
  bool common = false;
  std::string named = fd >= 0 ? path_of(fd) : name;
  const std::lock_guard lock(space_mu_);
  if ((flags & MAP_ANONYMOUS) == 0) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return -EBADF;
    const int access = ::fcntl(fd, F_GETFL) & O_ACCMODE;
    if (access == O_WRONLY) return -EACCES;
    if (shared && (protection & PROT_WRITE) != 0 && access != O_RDWR) return -EACCES;
    if (is_zero_device(status)) {
      flags |= MAP_ANONYMOUS;
    } else if ((file = files_.keep(fd)) == kNoFile) {
      return -ENFILE;
    }
    common = file != kNoFile && (!S_ISREG(status.st_mode) || (shared && is_meant_for_others(named)));
  }
  if (nodes_ > 1 && shared && file == kNoFile && bytes != 0) {
    if ((file = nameless_file(up(bytes))) == kNoFile) return -ENOMEM;
    flags &= ~MAP_ANONYMOUS;
    offset = 0;
    named = "/dev/zero (deleted)";
  }
  Changes changes;
  const long result = space_->map({.address = address,
                                   .bytes = bytes,
                                   .protection = protection,
                                   .flags = flags,
                                   .file = file,
                                   .offset = offset,
                                   .name = named},
                                  changes);
  carry_out(changes);
  if (result < 0) {
    if (file != kNoFile) release_file(file);
    return result;
  }
  const auto begin = static_cast<std::uint64_t>(result);
  if (file == kNoFile && nodes_ == 1 && (flags & MAP_TYPE) == MAP_SHARED) {
    // Forked children share it.
    CHECK(::mmap(reinterpret_cast<void*>(result), up(bytes), protection, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
                 0) != MAP_FAILED,
          errno);
  }
  if (file == kNoFile) return result;
  const FilePart part{.begin = begin, .end = begin + up(bytes), .file = file, .offset = offset};
  int error = 0;
  if (nodes_ == 1) {
    error = map_in_kernel(part);
  } else if (common || (shared && joins_alias(part))) {
    common_files_.insert(file);
    error = make_common(part, Bytes::kInFile);
  } else {
    leave_unread(part);
    if (files_.is_scarce(file)) read_all(part.begin, part.end);
  }
  if (error != 0) {
    changes.clear();
    (void)space_->unmap(part.begin, part.end - part.begin, changes);
    carry_out(changes);
    return -error;
  }
  if (!shared && !common && files_.is_scarce(file)) files_.keep_path(file);
  return result;
}

void Process::release_file(int file) {
  files_.forget(file);
  common_files_.erase(file);
  nameless_files_.erase(file);
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kFileGone, .words = {static_cast<std::uint64_t>(file)}};
  for (std::uint16_t n = 1; n < nodes_; ++n) questions_.post(NodeId{n}, request);
}

// The pages have the file's bytes again. Other threads may read them all the time: they are to see what the pages held
// or what the file holds. So mappings of the kernel stay, protected as they are; mapped anew, they would be something
// else for a moment.
void Process::reload(const FilePart& part) {
  if (is_all(in_kernel_, part.begin, part.end) &&
      ::madvise(reinterpret_cast<void*>(part.begin), part.end - part.begin, MADV_DONTNEED) == 0)
    return;
  const bool kept = files_.descriptor(part.file) >= 0;
  const bool there = files_.open(part.file);
  if (nodes_ == 1 || common_files_.contains(part.file)) {
    discard_everywhere(part.begin, part.end);
    if (there) (void)(nodes_ == 1 ? map_in_kernel(part) : make_common(part, Bytes::kInFile));
  } else {
    discard_everywhere(part.begin, part.end, there ? &part : nullptr);
    if (there && !kept) read_all(part.begin, part.end);
  }
  if (!kept) files_.close(part.file);
}

// 0 or an errno.
int Process::map_in_kernel(const FilePart& part) {
  const Area* const area = space_->find(part.begin);
  const int fd = files_.descriptor(part.file);
  CHECK(area != nullptr && fd >= 0, part.begin, part.file);
  // A shared mapping that cannot be written is as good as a private one, which the runtime can patch.
  const bool shared = area->shared && (nodes_ > 1 || (::fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
  const auto map = [&](int protection) {
    return ::mmap(reinterpret_cast<void*>(part.begin), part.end - part.begin, protection,
                  (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED | MAP_NORESERVE, fd,
                  static_cast<off_t>(part.offset)) != MAP_FAILED;
  };
  // From some file systems nothing may be executed.
  if (!map(with_executing(area->protection)) && !map(area->protection)) return errno;
  in_kernel_.assign(part.begin, part.end, true);
  return 0;
}

// On one node: moves such mappings with their pages; the old place becomes memory without a file. False: not all of the
// range is.
bool Process::move_in_kernel(std::uint64_t begin, std::uint64_t end, std::uint64_t to) {
  if (!is_all(in_kernel_, begin, end) ||
      ::mremap(reinterpret_cast<void*>(begin), end - begin, end - begin, MREMAP_MAYMOVE | MREMAP_FIXED,
               reinterpret_cast<void*>(to)) == MAP_FAILED)
    return false;
  end_kernel_mappings(begin, end);
  in_kernel_.assign(to, to + (end - begin), true);
  return true;
}

// What of them lies in the range becomes memory without a file, whose bytes mean nothing.
void Process::end_kernel_mappings(std::uint64_t begin, std::uint64_t end) {
  if (nodes_ > 1) return end_common(begin, end);
  in_kernel_.visit(begin, end, [&](std::uint64_t from, std::uint64_t to, bool in_kernel) {
    if (!in_kernel) return;
    space_->visit_permissions(from, to, [](std::uint64_t part, std::uint64_t part_end, int permission) {
      CHECK(::mmap(reinterpret_cast<void*>(part), part_end - part, with_executing(permission),
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED,
            errno);
    });
  });
  in_kernel_.assign(begin, end, false);
}

// What is unread was not written to; what the kernel maps it writes; nobody reads a file without a name.
void Process::write_back(const Change& change) {
  if (nodes_ == 1 || common_files_.contains(change.file) || nameless_files_.contains(change.file)) return;
  const int fd = files_.descriptor(change.file);
  struct stat status {};
  if (fd < 0 || ::fstat(fd, &status) != 0) return;
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const std::uint64_t end = std::min(change.end, change.begin + (size > change.offset ? size - change.offset : 0));
  std::vector<std::byte> piece(kPieceBytes);
  for (const auto& [first, last] : read_ranges(change.begin, end)) {
    for (std::uint64_t at = first; at < last; at += piece.size()) {
      const std::size_t length = std::min<std::uint64_t>(piece.size(), last - at);
      if (!copy_in(piece.data(), at, length)) return;
      if (::pwrite(fd, piece.data(), length, static_cast<off_t>(change.offset + (at - change.begin))) < 0) return;
    }
  }
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

}  // namespace gallocy::personality
