// Board: a file that all processes of a test of durable memory have mapped, and the test itself. What a node wrote
// there is there when it has been killed: how many of its transactions were acknowledged, and what its operations saw.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace gallocy::testing {

inline constexpr unsigned kMostNodes = 5, kThreads = 3;
inline constexpr std::uint32_t kMostOperations = 50'000;  // of one thread

struct BoardOperation {  // as sim::RegisterOperation
  std::uint64_t value, expected, called, returned;
  std::uint32_t reg;
  std::uint8_t kind, success;
};

struct alignas(64) BoardThread {
  std::atomic<std::uint64_t> acknowledged;
  std::atomic<std::uint32_t> operations;  // the last of them may have no answer yet
  BoardOperation operation[kMostOperations];
};

// How the power goes in the midst of a write of a journal: what is on disk of it then.
enum class Tear : std::uint8_t { kNone, kCut, kZeroed, kScrambled };

struct alignas(64) BoardNode {
  std::atomic<int> pid;
  std::atomic<Tear> tear;                 // at the next write of this node the power goes, for all of them
  std::atomic<std::uint64_t> epoch;       // as durable memory has it
  std::atomic<std::uint64_t> unrestored;  // blocks
  BoardThread thread[kThreads];
};

struct Board {
  std::atomic<std::uint64_t> stop;
  BoardNode node[kMostNodes];

  // Zeroed if it is new. Stays mapped.
  static Board* map(const std::string& file) {
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ::ftruncate(fd, sizeof(Board)) != 0) return nullptr;
    void* const board = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    return board == MAP_FAILED ? nullptr : static_cast<Board*>(board);
  }

  std::uint64_t acknowledged(unsigned of) const {
    std::uint64_t sum = 0;
    for (const BoardThread& t : node[of].thread) sum += t.acknowledged;
    return sum;
  }
};

}  // namespace gallocy::testing
