// The descriptors of the home, of which some are the runtime's and not the program's to see or use.
#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {

std::vector<int> Process::open_descriptors() {
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

void Process::close_runtime_descriptors(int but) {
  const os::MutexLock lock(descriptors_mu_);
  for (const int fd : runtime_descriptors_) {
    if (fd != but) ::close(fd);
  }
}

// Descriptors that are open now are the runtime's, but those below kFirstRuntimeDescriptor.
void Process::note_runtime_descriptors() {
  for (const int fd : open_descriptors()) {
    if (fd >= kFirstRuntimeDescriptor) keep_descriptor(fd);
  }
}

bool Process::is_runtime_descriptor(long fd) {
  if (fd < kFirstRuntimeDescriptor || fd > 1 << 30) return false;
  const os::MutexLock lock(descriptors_mu_);
  return runtime_descriptors_.contains(static_cast<int>(fd));
}

bool Process::names_runtime_descriptor(const Call& call) {
  return names_descriptor(call.number) && is_runtime_descriptor(call.arguments[0]);
}

void Process::keep_descriptor(int fd) {
  const os::MutexLock lock(descriptors_mu_);
  runtime_descriptors_.insert(fd);
}

void Process::close_descriptor(int fd) {
  const os::MutexLock lock(descriptors_mu_);
  runtime_descriptors_.erase(fd);
  ::close(fd);
}

long Process::close_range(const Call& call) {
  auto first = static_cast<unsigned>(call.arguments[0]);
  const auto last = static_cast<unsigned>(call.arguments[1]);
  if (first > last) return -EINVAL;
  const os::MutexLock lock(descriptors_mu_);
  for (const int fd : runtime_descriptors_) {  // ascending
    const auto spared = static_cast<unsigned>(fd);
    if (spared < first || spared > last) continue;
    if (spared > first) raw_system_call(SYS_close_range, first, spared - 1, call.arguments[2]);
    first = spared + 1;
  }
  return first <= last ? raw_system_call(SYS_close_range, first, last, call.arguments[2]) : 0;
}

// RLIMIT_NOFILE as the program was started with or has set it: the kernel's was raised for the runtime. -ENOSYS:
// another limit.
long Process::limit_of_descriptors(const Call& call) {
  const bool names_process = call.number == SYS_prlimit64, sets = call.number == SYS_setrlimit;
  const long process = names_process ? call.arguments[0] : 0;
  const bool own = process == 0 || process == home_pid_ || process >> kTidNodeShift != 0;
  if (!own || argument(call, names_process ? 1 : 0) != RLIMIT_NOFILE) return -ENOSYS;
  const std::uint64_t wanted_at = argument(call, names_process ? 2 : 1), second = names_process ? 3 : 1;
  const std::uint64_t present_at = sets ? 0 : argument(call, static_cast<int>(second));
  rlimit wanted{};
  const bool has_wanted = (sets || names_process) && wanted_at != 0;
  if (has_wanted && !copy_in(&wanted, wanted_at, sizeof wanted)) return -EFAULT;
  rlimit present{};
  {
    const os::MutexLock lock(descriptors_mu_);
    present = descriptors_;
    if (has_wanted && ::setrlimit(RLIMIT_NOFILE, &wanted) != 0) return -errno;
    if (has_wanted) descriptors_ = wanted;
  }
  return present_at == 0 || store(present_at, present) ? 0 : -EFAULT;
}

}  // namespace gallocy::personality
