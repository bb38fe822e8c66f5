#include "net/shm_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"
#include "os/os_error.h"

namespace gallocy::net {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

Result<Fd> create_ring_memory() {
  Fd memory(::memfd_create("gallocy-rings", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return os::os_failure(errno, "creating a memory file for the rings of a shared-memory link");
  if (::ftruncate(memory.get(), sizeof(RingPair)) != 0 || ::fcntl(memory.get(), F_ADD_SEALS, kSeals) != 0)
    return os::os_failure(errno, "sizing the rings of a shared-memory link");
  return memory;
}

bool is_ring_memory(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && status.st_size == sizeof(RingPair) &&
         (::fcntl(fd, F_GET_SEALS) & kSeals) == kSeals;
}

// The file is all zero, which is the rings' initial state, so nothing is constructed in it.
RingMapping::RingMapping(int fd) {
  void* memory = ::mmap(nullptr, sizeof(RingPair), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(memory != MAP_FAILED, errno);
  rings_ = static_cast<RingPair*>(memory);
}

RingMapping::~RingMapping() { ::munmap(rings_, sizeof(RingPair)); }

}  // namespace gallocy::net
