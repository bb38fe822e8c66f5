// The descriptors of the home, of which some are the runtime's and not the program's to see or use.
#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

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

}  // namespace gallocy::personality
