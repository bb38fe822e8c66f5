// Common memory: pages that other processes have too, forked children or whoever maps the same file. They write them at
// any time without a fault, so the coherence protocol cannot have them. The home's kernel maps them as it does for any
// process; no other node may touch them, and a thread that does goes on at the home (process_moves.cc). See "Common
// memory" in docs/process-mode.md.
//
// All at the home, under space_mu_, but where it is said.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/check.h"
#include "os/clock.h"
#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

using Common = PageLimits::Common;

constexpr std::int64_t kShortestStayNs = 10'000'000, kLongestStayNs = 2'000'000'000;  // of a visit

}  // namespace

// On all nodes.
void Process::close_to_others(std::uint64_t begin, std::uint64_t end) {
  limits_.set_common(begin, end, Common::kElsewhere);
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kCommon, .words = {begin, end, 1}};
  questions_.ask_all(request);
}

// The part, of one area, becomes common. 0 or an errno, with which the area has to be unmapped.
int Process::make_common(const FilePart& part, Bytes bytes) {
  const os::MutexLock changing(common_mu_);  // who touches the pages here meanwhile waits for it
  close_file_pages(part.begin, part.end);
  close_to_others(part.begin, part.end);
  if (bytes == Bytes::kInPages) write_pages(part);
  remove_file_pages(part.begin, part.end);
  limits_.set_read(part.begin, part.end);
  runtime_.memory().lend(part.begin, part.end - part.begin);
  in_kernel_.assign(part.begin, part.end, true);
  const int error = map_in_kernel(part);
  limits_.set_common(part.begin, part.end, Common::kHere);
  if (bytes == Bytes::kInPages) wake_range(part.begin, part.end);
  return error;
}

// What the pages hold goes to the file. Nobody can touch them.
void Process::write_pages(const FilePart& part) {
  const int fd = files_.descriptor(part.file);
  struct stat status {};
  if (fd < 0 || ::fstat(fd, &status) != 0) return;
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const std::uint64_t file_end = part.begin + (size > part.offset ? size - part.offset : 0);
  for (const auto& [first, last] : read_ranges(part.begin, part.end)) {
    if (first >= file_end) return;
    runtime_.memory().overwrite(first, last - first, [&](std::byte* frames) {
      const std::uint64_t end = std::min(last, file_end);
      for (std::uint64_t at = first; at < end;) {
        const ssize_t put =
            ::pwrite(fd, frames + (at - first), end - at, static_cast<off_t>(part.offset + at - part.begin));
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return;
        at += static_cast<std::uint64_t>(put);
      }
    });
  }
}

// What of the range is common becomes pages of the region again, with bytes that mean nothing.
void Process::end_common(std::uint64_t begin, std::uint64_t end) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> parts;
  in_kernel_.visit(begin, end, [&](std::uint64_t from, std::uint64_t to, bool in_kernel) {
    if (in_kernel) parts.emplace_back(from, to);
  });
  for (const auto& [from, to] : parts) {
    runtime_.memory().take_back(from, to - from);
    in_kernel_.assign(from, to, false);
    limits_.set_common(from, to, Common::kNo);
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kCommon, .words = {from, to, 0}};
    questions_.ask_all(request);
  }
}

// mremap. `to` holds nothing.
bool Process::move_common(std::uint64_t begin, std::uint64_t end, std::uint64_t to) {
  const os::MutexLock changing(common_mu_);
  bool all = true;
  in_kernel_.visit(begin, end, [&](std::uint64_t, std::uint64_t, bool in_kernel) { all = all && in_kernel; });
  if (!all) return false;
  const std::uint64_t bytes = end - begin;
  close_to_others(to, to + bytes);
  runtime_.memory().lend(to, bytes);
  CHECK(::mremap(reinterpret_cast<void*>(begin), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
                 reinterpret_cast<void*>(to)) != MAP_FAILED,
        errno);
  in_kernel_.assign(to, to + bytes, true);
  limits_.set_common(to, to + bytes, Common::kHere);
  end_common(begin, end);
  return true;
}

// Before a fork: the child is to have the same memory.
void Process::share_with_child() {
  std::vector<FilePart> parts;
  space_->visit(0, end_, [&](const Area& area) {
    if (area.shared && area.file != kNoFile && !in_kernel_.at(area.begin) && may_be_common(area.file))
      parts.push_back({.begin = area.begin, .end = area.end, .file = area.file, .offset = area.offset});
  });
  for (const FilePart& part : parts) {
    common_files_.insert(part.file);
    CHECK(make_common(part, Bytes::kInPages) == 0, part.begin);
  }
}

// What nobody can write through a mapping is as good as private.
bool Process::may_be_common(int file) {
  const int fd = files_.descriptor(file);
  return fd >= 0 && (::fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
}

// The area's file is mapped elsewhere in the program too: what is written through one is to be seen through the other.
bool Process::joins_alias(const FilePart& part) {
  struct stat own {};
  if (::fstat(files_.descriptor(part.file), &own) != 0) return false;
  std::vector<FilePart> others;
  space_->visit(0, end_, [&](const Area& area) {
    struct stat other {};
    if (area.shared && area.file != kNoFile && area.file != part.file &&
        ::fstat(files_.descriptor(area.file), &other) == 0 && own.st_dev == other.st_dev && own.st_ino == other.st_ino)
      others.push_back({.begin = area.begin, .end = area.end, .file = area.file, .offset = area.offset});
  });
  const bool written = std::ranges::any_of(others, [&](const FilePart& other) { return may_be_common(other.file); });
  if (others.empty() || (!written && !may_be_common(part.file))) return false;
  for (const FilePart& other : others) {
    common_files_.insert(other.file);
    if (!in_kernel_.at(other.begin)) CHECK(make_common(other, Bytes::kInPages) == 0, other.begin);
  }
  return true;
}

// Memory that is shared but has no file has one that nobody else can name, as in Linux.
int Process::nameless_file(std::uint64_t bytes) {
  const int fd = ::memfd_create("gallocy-shared", MFD_CLOEXEC);
  if (fd < 0) return kNoFile;
  const int file = ::ftruncate(fd, static_cast<off_t>(bytes)) == 0 ? files_.keep(fd) : kNoFile;
  ::close(fd);
  if (file != kNoFile) nameless_files_.insert(file);
  return file;
}

// ---------------------------------------------------------------------------------------------- on any node

// A thread of this node has touched a page that it may not touch, as it is common. At the home it has just become so.
// False: nothing can be done.
bool Process::touched_common(GuestThread* thread, ucontext_t& context, bool in_guest) {
  if (is_home()) {
    const os::MutexLock changed(common_mu_);
    return true;
  }
  if (in_guest) return visit_home(*thread, context);
  // The runtime copies from or to the program's memory: that the home can do, as system calls do it, in pieces.
  const auto copy = copy_under_way(context);
  CHECK(copy, context.uc_mcontext.gregs[REG_RIP]);
  const bool writes = limits_.is_common(copy->to);
  if (!writes && !limits_.is_common(copy->from)) return true;  // not any more
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kCopy,
                             .words = {writes ? copy->to : copy->from, copy->bytes}};
  std::vector<std::byte> bytes(writes ? copy->bytes : 0), answer;
  if (writes && copy->from != 0 && !copy_in(bytes.data(), copy->from, bytes.size())) return end_failed_copy(context);
  if (questions_.ask(kHome, request, bytes, &answer) != 0) return end_failed_copy(context);
  if (!writes && (answer.size() != copy->bytes || !copy_out(copy->to, answer.data(), answer.size())))
    return end_failed_copy(context);
  finish_copy(context, copy->bytes);
  return true;
}

// In the handler of a fault of the program's code. The thread goes on at the home, the longer the sooner it came again.
bool Process::visit_home(GuestThread& thread, ucontext_t& context) {
  if (thread.must_end.load()) end_thread_quietly(thread);
  if (!is_movable(thread, context)) return false;
  const bool again = os::monotonic_ns() - thread.active.began_ns.load() < 4 * thread.stay_ns;
  thread.stay_ns = std::clamp(again ? 2 * thread.stay_ns : thread.stay_ns / 2, kShortestStayNs, kLongestStayNs);
  thread.visits = true;
  thread.move_to.store(kHome.value);
  (void)move_if_asked(thread, context);
  return true;  // it is back, or makes the access, and so comes here, again
}

// At the home, called now and then: visitors go back to where the threads of their node are.
void Process::send_visitors_back() {
  const std::int64_t now_ns = os::monotonic_ns();
  const os::MutexLock lock(threads_mu_);
  for (const auto& [tid, thread] : threads_) {
    if (thread->leave_at_ns == 0 || now_ns < thread->leave_at_ns) continue;
    const NodeId place{runs_on_[thread->belongs_on.value].load()};
    if (place == self_) continue;
    thread->move_to.store(place.value);
    kick_in_guest(*thread);
  }
}

// At the home, on a thread of its own.
void Process::copy_for(NodeId node, const wire::GuestRequest& request, std::span<const std::byte> bytes) {
  const std::uint64_t address = request.words[0];
  if (!bytes.empty())
    return questions_.reply(node, request.ticket, copy_out(address, bytes.data(), bytes.size()) ? 0 : -EFAULT);
  std::vector<std::byte> answer(std::min<std::uint64_t>(request.words[1], kPageBytes));
  const bool read = copy_in(answer.data(), address, answer.size());
  questions_.reply(node, request.ticket, read ? 0 : -EFAULT, answer);
}

}  // namespace gallocy::personality
