#include "personality/mapped_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include "personality/address_space.h"

namespace gallocy::personality {
namespace {

constexpr int kLeastDescriptor = 1000;
constexpr int kSpareDescriptors = 256;  // for what else the runtime needs

}  // namespace

std::string path_of(int fd) {
  char path[4096];
  const ssize_t length = ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), path, sizeof path);
  return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : std::string();
}

int MappedFiles::keep(int fd) {
  const os::MutexLock lock(mu_);
  return keep(next_, fd) ? next_++ : kNoFile;
}

bool MappedFiles::keep(int file, int fd) {
  const int own = ::fcntl(fd, F_DUPFD_CLOEXEC, kLeastDescriptor);
  if (own < 0) return false;
  descriptors_.keep(own);
  open_[file] = own;
  return true;
}

int MappedFiles::descriptor(int file) {
  const os::MutexLock lock(mu_);
  const auto found = open_.find(file);
  return found != open_.end() ? found->second : -1;
}

bool MappedFiles::is_scarce(int file) {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
         static_cast<rlim_t>(descriptor(file)) + kSpareDescriptors >= limit.rlim_cur;
}

void MappedFiles::keep_path(int file) {
  const std::string path = path_of(descriptor(file));
  close(file);
  const os::MutexLock lock(mu_);
  paths_[file] = path;
}

bool MappedFiles::open(int file) {
  const os::MutexLock lock(mu_);
  if (open_.contains(file)) return true;
  const auto path = paths_.find(file);
  const int fd = path == paths_.end() ? -1 : ::open(path->second.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool kept = keep(file, fd);
  ::close(fd);
  return kept;
}

void MappedFiles::close(int file) {
  const os::MutexLock lock(mu_);
  const auto found = open_.find(file);
  if (found == open_.end()) return;
  descriptors_.close(found->second);
  open_.erase(found);
}

void MappedFiles::forget(int file) {
  close(file);
  const os::MutexLock lock(mu_);
  paths_.erase(file);
}

}  // namespace gallocy::personality
