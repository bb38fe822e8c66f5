#include "raw_fault.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

namespace gallocy::bench {
namespace {

constexpr std::size_t kPage = 4096;

double now_us() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

// A memory file with every frame present, mapped for the one who faults.
class Frames {
 public:
  Frames(std::size_t pages, int protection) : bytes_(pages * kPage), file_(::memfd_create("raw_fault", MFD_CLOEXEC)) {
    if (file_ < 0 || ::ftruncate(file_, static_cast<off_t>(bytes_)) != 0 ||
        ::fallocate(file_, 0, 0, static_cast<off_t>(bytes_)) != 0) {
      return;
    }
    void* const at = ::mmap(nullptr, bytes_, protection, MAP_SHARED, file_, 0);
    if (at != MAP_FAILED) start_ = static_cast<char*>(at);
  }
  ~Frames() {
    if (start_ != nullptr) ::munmap(start_, bytes_);
    if (file_ >= 0) ::close(file_);
  }
  Frames(const Frames&) = delete;
  Frames& operator=(const Frames&) = delete;
  char* start() const { return start_; }
  std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(start_); }
  std::size_t bytes() const { return bytes_; }

 private:
  const std::size_t bytes_;
  const int file_;
  char* start_ = nullptr;
};

// The handler of one signal for the length of a measurement.
class Handler {
 public:
  Handler(int signal, void (*handler)(int, siginfo_t*, void*)) : signal_(signal) {
    struct sigaction action {};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(signal, &action, &before_);
  }
  ~Handler() { ::sigaction(signal_, &before_, nullptr); }
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;

 private:
  const int signal_;
  struct sigaction before_ {};
};

// A user-mode userfaultfd that answers with SIGBUS, over all of the frames.
class Uffd {
 public:
  explicit Uffd(const Frames& frames)
      : descriptor_(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY))) {
    uffdio_api api{.api = UFFD_API,
                   .features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP |
                               UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
                   .ioctls = 0};
    uffdio_register range{.range = {.start = frames.address(), .len = frames.bytes()},
                          .mode = UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP,
                          .ioctls = 0};
    works_ = descriptor_ >= 0 && ::ioctl(descriptor_, UFFDIO_API, &api) == 0 &&
             ::ioctl(descriptor_, UFFDIO_REGISTER, &range) == 0;
  }
  ~Uffd() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Uffd(const Uffd&) = delete;
  Uffd& operator=(const Uffd&) = delete;
  bool works() const { return works_; }
  int descriptor() const { return descriptor_; }

 private:
  const int descriptor_;
  bool works_ = false;
};

int g_descriptor = -1;  // for the handlers

std::uint64_t page_of(const siginfo_t& info) { return reinterpret_cast<std::uint64_t>(info.si_addr) & ~(kPage - 1); }

void resolve_by_continue(int, siginfo_t* info, void*) {
  uffdio_continue request{.range = {.start = page_of(*info), .len = kPage}, .mode = 0, .mapped = 0};
  if (::ioctl(g_descriptor, UFFDIO_CONTINUE, &request) != 0) ::_exit(1);
}

void resolve_by_unprotect(int, siginfo_t* info, void*) {
  uffdio_writeprotect request{.range = {.start = page_of(*info), .len = kPage}, .mode = 0};
  if (::ioctl(g_descriptor, UFFDIO_WRITEPROTECT, &request) != 0) ::_exit(1);
}

void resolve_by_mprotect(int, siginfo_t* info, void*) {
  if (::mprotect(reinterpret_cast<void*>(page_of(*info)), kPage, PROT_READ | PROT_WRITE) != 0) ::_exit(1);
}

// Writes to every page once and times each.
Spread touch(const Frames& frames) {
  std::vector<std::size_t> order(frames.bytes() / kPage);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  std::vector<double> us(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double start = now_us();
    *reinterpret_cast<volatile char*>(frames.start() + order[i] * kPage) = 1;
    us[i] = now_us() - start;
  }
  std::sort(us.begin(), us.end());
  return {.median = us[us.size() / 2], .p25 = us[us.size() / 4], .p75 = us[us.size() * 3 / 4]};
}

}  // namespace

std::optional<Spread> fault_by_uffd_continue(std::size_t pages) {
  const Frames frames(pages, PROT_READ | PROT_WRITE);
  if (frames.start() == nullptr) return std::nullopt;
  const Uffd uffd(frames);
  if (!uffd.works()) return std::nullopt;
  g_descriptor = uffd.descriptor();
  const Handler handler(SIGBUS, resolve_by_continue);
  return touch(frames);
}

std::optional<Spread> fault_by_uffd_unprotect(std::size_t pages) {
  const Frames frames(pages, PROT_READ | PROT_WRITE);
  if (frames.start() == nullptr) return std::nullopt;
  std::memset(frames.start(), 1, frames.bytes());  // present before userfaultfd guards them
  const Uffd uffd(frames);
  uffdio_writeprotect all{.range = {.start = frames.address(), .len = frames.bytes()},
                          .mode = UFFDIO_WRITEPROTECT_MODE_WP};
  if (!uffd.works() || ::ioctl(uffd.descriptor(), UFFDIO_WRITEPROTECT, &all) != 0) return std::nullopt;
  g_descriptor = uffd.descriptor();
  const Handler handler(SIGBUS, resolve_by_unprotect);
  return touch(frames);
}

std::optional<Spread> fault_by_mprotect(std::size_t pages) {
  const Frames frames(pages, PROT_NONE);
  if (frames.start() == nullptr) return std::nullopt;
  const Handler handler(SIGSEGV, resolve_by_mprotect);
  return touch(frames);
}

std::optional<Spread> fault_in_kernel(std::size_t pages) {
  const Frames frames(pages, PROT_READ | PROT_WRITE);
  if (frames.start() == nullptr) return std::nullopt;
  ::madvise(frames.start(), frames.bytes(), MADV_RANDOM);  // else one fault maps sixteen pages
  return touch(frames);
}

std::optional<Spread> cheapest_fault(std::size_t pages) {
  const auto by_uffd = fault_by_uffd_continue(pages), by_mprotect = fault_by_mprotect(pages);
  if (by_uffd && by_mprotect) return by_uffd->median < by_mprotect->median ? by_uffd : by_mprotect;
  return by_uffd ? by_uffd : by_mprotect;
}

}  // namespace gallocy::bench
