// fdatasync() of the programs that test durable memory, in place of the C library's: a disk whose power goes in the
// midst of a write of the journal. Only here it is known what nobody can have been told of: the bytes that are not
// synced yet.
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "durable_workloads.h"

namespace program {
namespace {

using gallocy::testing::kMostNodes;
using gallocy::testing::Tear;

std::atomic<Board*> the_board{nullptr};
std::atomic<unsigned> this_node{0};

std::string path_of(int fd) {
  char path[4096];
  const ssize_t length = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path);
  return {path, length < 0 ? 0 : static_cast<std::size_t>(length)};
}

// Of the bytes from `begin` to `end` some are on disk.
bool tear(const std::string& path, Tear how, std::size_t begin, std::size_t end) {
  Random random(now_ns());
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  const std::size_t unsynced = end - begin;
  if (how == Tear::kCut) return ::ftruncate(fd, static_cast<off_t>(begin + 1 + random.below(unsynced - 1))) == 0;
  std::vector<char> lost(unsynced / 2 + random.below(unsynced / 2));
  for (char& byte : lost) byte = static_cast<char>(how == Tear::kZeroed ? 0 : random.word());
  return ::pwrite(fd, lost.data(), lost.size(), static_cast<off_t>(end - lost.size())) ==
         static_cast<ssize_t>(lost.size());
}

// All nodes end at this moment.
[[noreturn]] void power_goes(const Board& board) {
  for (unsigned n = 0; n < kMostNodes; ++n) {
    if (n != this_node && board.node[n].pid != 0) ::kill(board.node[n].pid, SIGKILL);
  }
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

// By the thread that writes the journal.
void before_sync(const std::string& path, std::size_t end) {
  static std::string file;
  static std::size_t synced = 0;
  Board* const board = the_board;
  if (board != nullptr && path == file && end > synced + 1) {
    const Tear how = board->node[this_node].tear.exchange(Tear::kNone);
    if (how != Tear::kNone) {
      if (!tear(path, how, synced, end)) wrong("the journal cannot be torn");
      power_goes(*board);
    }
  }
  file = path, synced = end;
}

}  // namespace

void may_be_torn(Board& board, unsigned node) {
  board.node[node].pid = ::getpid();
  this_node = node;
  the_board = &board;
}

}  // namespace program

extern "C" int fdatasync(int fd) {
  const std::string path = program::path_of(fd);
  struct stat status {};
  if (path.find("/durable/log-") != std::string::npos && ::fstat(fd, &status) == 0)
    program::before_sync(path, static_cast<std::size_t>(status.st_size));
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}
