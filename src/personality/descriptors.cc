#include "personality/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "personality/guest_entry.h"
#include "personality/guest_memory.h"

namespace gallocy::personality {

std::vector<int> open_descriptors() {
  std::vector<int> open;
  DIR* const directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return open;
  while (const dirent* entry = ::readdir(directory)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != ::dirfd(directory)) open.push_back(fd);
  }
  ::closedir(directory);
  std::ranges::sort(open);
  return open;
}

void Descriptors::begin(const rlimit& limit) {
  limit_ = limit;
  for (const int fd : open_descriptors()) {
    if (fd >= kFirstRuntimeDescriptor) keep(fd);
  }
}

int Descriptors::raise(int fd) {
  if (fd < 0) return -1;
  const int raised = ::fcntl(fd, F_DUPFD_CLOEXEC, kFirstRuntimeDescriptor);
  ::close(fd);
  if (raised >= 0) keep(raised);
  return raised;
}

void Descriptors::keep(int fd) {
  const os::MutexLock lock(mu_);
  runtimes_.insert(fd);
}

void Descriptors::close(int fd) {
  const os::MutexLock lock(mu_);
  runtimes_.erase(fd);
  ::close(fd);
}

bool Descriptors::is_runtimes(long fd) {
  if (fd < kFirstRuntimeDescriptor || fd > 1 << 30) return false;
  const os::MutexLock lock(mu_);
  return runtimes_.contains(static_cast<int>(fd));
}

long Descriptors::close_range(const Call& call) {
  auto first = static_cast<unsigned>(call.arguments[0]);
  const auto last = static_cast<unsigned>(call.arguments[1]);
  if (first > last) return -EINVAL;
  const os::MutexLock lock(mu_);
  for (const int fd : runtimes_) {  // ascending
    const auto spared = static_cast<unsigned>(fd);
    if (spared < first || spared > last) continue;
    if (spared > first) raw_system_call(SYS_close_range, first, spared - 1, call.arguments[2]);
    first = spared + 1;
  }
  return first <= last ? raw_system_call(SYS_close_range, first, last, call.arguments[2]) : 0;
}

long Descriptors::limit_call(const Call& call) {
  const bool names_process = call.number == SYS_prlimit64, sets = call.number == SYS_setrlimit;
  if (argument(call, names_process ? 1 : 0) != RLIMIT_NOFILE) return -ENOSYS;
  const std::uint64_t wanted_at = argument(call, names_process ? 2 : 1), second = names_process ? 3 : 1;
  const std::uint64_t present_at = sets ? 0 : argument(call, static_cast<int>(second));
  rlimit wanted{};
  const bool has_wanted = (sets || names_process) && wanted_at != 0;
  if (has_wanted && !copy_in(&wanted, wanted_at, sizeof wanted)) return -EFAULT;
  rlimit present{};
  {
    const os::MutexLock lock(mu_);
    present = limit_;
    if (has_wanted && ::setrlimit(RLIMIT_NOFILE, &wanted) != 0) return -errno;
    if (has_wanted) limit_ = wanted;
  }
  return present_at == 0 || store(present_at, present) ? 0 : -EFAULT;
}

void Descriptors::restore_limit() const { ::setrlimit(RLIMIT_NOFILE, &limit_); }

pid_t Descriptors::fork() {
  const os::MutexLock lock(mu_);  // which the forking thread holds in both
  return ::fork();
}

void Descriptors::close_runtimes(int but) {
  const os::MutexLock lock(mu_);
  for (const int fd : runtimes_) {
    if (fd != but) ::close(fd);
  }
}

}  // namespace gallocy::personality
