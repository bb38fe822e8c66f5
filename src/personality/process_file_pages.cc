// File mappings of several nodes: their pages are read when they are touched, by the node that touches them, or viewed
// (process_file_views.cc). See "File mappings" in docs/process-mode.md.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/check.h"
#include "personality/file_task.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

using Kind = wire::GuestRequestKind;

constexpr std::size_t kPieceBytes = 128 << 10;  // of a file, in one message to another machine
// Answers to kTouch: it is there; the asking node is to read, or to view, what the FileTask says.
constexpr long kThere = 0, kReadIt = 1, kViewIt = 2;

std::uint64_t up(std::uint64_t bytes) { return (bytes + kPageBytes - 1) & ~(kPageBytes - 1); }

MachineName machine_name() {
  MachineName name{};
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  char space[32] = {};
  if (boot.size() != 36 || ::readlink("/proc/self/ns/pid", space, sizeof space - 1) <= 0) return name;
  (boot + space).copy(name.data(), name.size() - 1);
  return name;
}

// Up to `bytes` bytes from `offset` on; fewer at the file's end, or where it cannot be read.
std::size_t read_file(int fd, std::byte* to, std::size_t bytes, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::pread(fd, to + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

}  // namespace

// In a fault handler or a copy to or from the program's memory. view_would_do: the page is only read. False: there is
// nothing to read for the page.
bool Process::read_touched(std::uint64_t address, bool view_would_do) {
  view_would_do = view_would_do && can_view_.load(std::memory_order_relaxed);
  for (;;) {
    std::vector<std::byte> answer;
    Question question;
    const std::uint64_t ticket = questions_.open(question);
    if (is_home()) {
      touch_file_page(kHome, ticket, address, view_would_do);
    } else {
      wire::GuestRequest request{.ticket = ticket, .kind = Kind::kTouch, .words = {address, view_would_do ? 1u : 0u}};
      questions_.post(kHome, request);
    }
    questions_.wait(question);
    const long what = questions_.close(ticket, question, &answer);
    if (what == kThere) return true;
    FileTask task;
    CHECK(answer.size() >= sizeof task, answer.size());
    std::memcpy(static_cast<void*>(&task), answer.data(), sizeof task);
    std::uint64_t end = task.part.begin;
    if (what == kViewIt) {
      end += view_part(task);
    } else {
      std::vector<NodeId> viewers((answer.size() - sizeof task) / sizeof(NodeId));
      std::memcpy(static_cast<void*>(viewers.data()), answer.data() + sizeof task, viewers.size() * sizeof(NodeId));
      end_views(task.part.begin, task.part.end, viewers);
      end += read_part(task);
      limits_.set_read(task.part.begin, end);
    }
    wire::GuestRequest done{.kind = what == kViewIt ? Kind::kHasViewed : Kind::kHasRead,
                            .words = {task.part.begin, task.part.end, end}};
    if (is_home()) {
      file_part_done(kHome, done);
    } else {
      questions_.post(kHome, done);
    }
    if (address < end) return true;
    if (what == kReadIt) return false;
    view_would_do = false;  // it cannot be viewed here
  }
}

// Fills the frames of the part, while nobody may touch them; the bytes of the pages that have been read.
std::uint64_t Process::read_part(const FileTask& task) {
  const FilePart& part = task.part;
  std::size_t bytes = part.end - part.begin, got = 0;
  if (const int fd = reach_file(task); fd >= 0) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return 0;
    const auto size = static_cast<std::uint64_t>(status.st_size);
    bytes = std::min<std::uint64_t>(bytes, size > part.offset ? up(size - part.offset) : 0);
    if (bytes == 0) return 0;
    runtime_.memory().overwrite(part.begin, bytes,
                                [&](std::byte* frames) { got = read_file(fd, frames, bytes, part.offset); });
    return up(got);
  }
  if (is_home()) return 0;
  const std::vector<std::byte> contents = contents_from_home(part);
  if (contents.empty()) return 0;
  runtime_.memory().overwrite(part.begin, up(contents.size()),
                              [&](std::byte* frames) { std::ranges::copy(contents, frames); });
  return up(contents.size());
}

// The file that the home has open: its own, or that of its process on the same machine; -1: neither.
int Process::reach_file(const FileTask& task) {
  if (is_home()) return task.descriptor;
  const os::MutexLock lock(reached_mu_);
  const auto found = reached_.find(task.part.file);
  if (found != reached_.end()) return found->second;
  static const MachineName own = machine_name();
  int fd = -1;
  if (own[0] != 0 && own == task.machine) {
    fd = ::open(fmt::format("/proc/{}/fd/{}", task.home_pid, task.descriptor).c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (fd >= 0 && (::fstat(fd, &status) != 0 || status.st_dev != task.device || status.st_ino != task.inode))
      fd = (::close(fd), -1);
  }
  return reached_[task.part.file] = fd;
}

void Process::forget_file(int file) {
  const os::MutexLock lock(reached_mu_);
  const auto found = reached_.find(file);
  if (found == reached_.end()) return;
  if (found->second >= 0) ::close(found->second);
  reached_.erase(found);
}

// All pieces are asked for at once.
std::vector<std::byte> Process::contents_from_home(const FilePart& part) {
  QuestionGroup group(questions_);
  for (std::uint64_t at = part.begin; at < part.end; at += kPieceBytes) {
    wire::GuestRequest request{.ticket = group.ticket(),
                               .kind = Kind::kFileBytes,
                               .words = {static_cast<std::uint64_t>(part.file), part.offset + (at - part.begin),
                                         std::min<std::uint64_t>(kPieceBytes, part.end - at)}};
    questions_.post(kHome, request);
  }
  std::vector<std::byte> contents;
  for (const std::vector<std::byte>& piece : group.wait()) {
    contents.insert(contents.end(), piece.begin(), piece.end());
    if (piece.size() != kPieceBytes) break;
  }
  return contents;
}

// ---------------------------------------------------------------------------------------------- at the home

void Process::send_file_bytes(NodeId to, std::uint64_t ticket, int file, std::uint64_t offset, std::size_t bytes) {
  std::vector<std::byte> contents(std::min(bytes, kPieceBytes));
  const int fd = files_.descriptor(file);
  contents.resize(fd < 0 ? 0 : read_file(fd, contents.data(), contents.size(), offset));
  questions_.reply(to, ticket, 0, contents);
}

// On any thread, the poller too. The ticket is answered when the page is there, or has become the node's to read.
void Process::touch_file_page(NodeId node, std::uint64_t ticket, std::uint64_t address, bool view_would_do) {
  static const MachineName own = machine_name();
  const os::MutexLock lock(file_pages_mu_);
  const FilePages::Answer answer = file_pages_.touch(address, node, view_would_do);
  switch (answer.kind) {
    case FilePages::Answer::Kind::kViewed:
      return questions_.answer(node, ticket, kThere);
    case FilePages::Answer::Kind::kWait:
      file_waiters_.push_back({.node = node, .ticket = ticket, .begin = address, .end = address + 1});
      return;
    case FilePages::Answer::Kind::kThere: {
      // Behind what has made them unread, and before what may do so again: hence not a part of the answer.
      const bool low = address - low_begin_ < low_end_ - low_begin_;
      wire::GuestRequest request{.kind = Kind::kRead,
                                 .words = {std::max(answer.part.begin, low ? low_begin_ : begin_),
                                           std::min(answer.part.end, low ? low_end_ : end_)}};
      if (node == self_) {
        (void)change_here(request);
      } else {
        questions_.post(node, request);
      }
      return questions_.answer(node, ticket, kThere);
    }
    case FilePages::Answer::Kind::kView:
    case FilePages::Answer::Kind::kRead: {
      FileTask task{.part = answer.part,
                    .home_pid = home_pid_,
                    .descriptor = files_.descriptor(answer.part.file),
                    .machine = own};
      struct stat status {};
      if (::fstat(task.descriptor, &status) == 0) task.device = status.st_dev, task.inode = status.st_ino;
      const auto head = std::as_bytes(std::span(&task, 1)), viewers = std::as_bytes(std::span(answer.viewers));
      std::vector<std::byte> bytes(head.begin(), head.end());
      bytes.insert(bytes.end(), viewers.begin(), viewers.end());
      return questions_.answer(node, ticket, answer.kind == FilePages::Answer::Kind::kView ? kViewIt : kReadIt, bytes);
    }
  }
}

void Process::file_part_done(NodeId node, const wire::GuestRequest& request) {
  const auto [begin, end, done_end] = std::tuple(request.words[0], request.words[1], request.words[2]);
  const os::MutexLock lock(file_pages_mu_);
  if (request.kind == Kind::kHasViewed) {
    file_pages_.viewed(begin, end, done_end, node);
  } else {
    file_pages_.read(begin, end, done_end);
  }
  answer_file_waiters();
}

void Process::answer_file_waiters() {
  std::erase_if(file_waiters_, [&](const FileWaiter& waiter) {
    if (waiter.closes ? file_pages_.reading(waiter.begin, waiter.end) : file_pages_.waits(waiter.begin)) return false;
    questions_.answer(waiter.node, waiter.ticket, kThere);
    return true;
  });
}

// Nobody reads or views these pages until they are opened or removed.
void Process::close_file_pages(std::uint64_t begin, std::uint64_t end) {
  for (;;) {
    Question question;
    const std::uint64_t ticket = questions_.open(question);
    bool closed = false;
    {
      const os::MutexLock lock(file_pages_mu_);
      closed = file_pages_.close(begin, end);
      if (!closed)
        file_waiters_.push_back({.node = self_, .ticket = ticket, .begin = begin, .end = end, .closes = true});
    }
    if (!closed) questions_.wait(question);
    (void)questions_.close(ticket, question);
    if (closed) break;
  }
  std::vector<NodeId> viewers;
  {
    const os::MutexLock lock(file_pages_mu_);
    viewers = file_pages_.viewers(begin, end);
  }
  if (viewers.empty()) return;
  end_views(begin, end, viewers);
  const os::MutexLock lock(file_pages_mu_);
  file_pages_.views_ended(begin, end);
}

void Process::open_file_pages(std::uint64_t begin, std::uint64_t end) {
  const os::MutexLock lock(file_pages_mu_);
  file_pages_.open(begin, end);
  answer_file_waiters();
}

// They have been closed.
void Process::remove_file_pages(std::uint64_t begin, std::uint64_t end) {
  const os::MutexLock lock(file_pages_mu_);
  file_pages_.remove(begin, end);
  answer_file_waiters();
}

// They have been closed, and stay so, but are of this file.
void Process::replace_file_pages(const FilePart& part) {
  const os::MutexLock lock(file_pages_mu_);
  file_pages_.remove(part.begin, part.end);
  file_pages_.add(part, is_viewable(part));
}

// The pages read as zero on all nodes. From now on they are the file's, and who touches them reads them.
void Process::leave_unread(const FilePart& part) {
  {
    const os::MutexLock lock(file_pages_mu_);
    file_pages_.add(part, is_viewable(part));
  }
  limits_.set_unread(part.begin, part.end);
  wire::GuestRequest request{.kind = Kind::kUnread, .words = {part.begin, part.end}};
  questions_.ask_all(request);
  open_file_pages(part.begin, part.end);
}

std::vector<FilePart> Process::unread_parts(std::uint64_t begin, std::uint64_t end) {
  std::vector<FilePart> parts;
  const os::MutexLock lock(file_pages_mu_);
  file_pages_.visit(begin, end, [&](const FilePart& part) { parts.push_back(part); });
  return parts;
}

std::vector<std::pair<std::uint64_t, std::uint64_t>> Process::read_ranges(std::uint64_t begin, std::uint64_t end) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  const os::MutexLock lock(file_pages_mu_);
  file_pages_.visit_others(begin, end, [&](std::uint64_t from, std::uint64_t to) { ranges.emplace_back(from, to); });
  return ranges;
}

// All of them, as far as the file goes.
void Process::read_all(std::uint64_t begin, std::uint64_t end) {
  for (;;) {
    const std::vector<FilePart> parts = unread_parts(begin, end);
    if (parts.empty() || !read_touched(parts.front().begin, /*view_would_do=*/false)) return;
  }
}

}  // namespace gallocy::personality
