#include "os/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"
#include "base/ids.h"
#include "os/os_error.h"

namespace gallocy::os {
namespace {

// Newer than Debian 12's headers. The first two came together in Linux 6.4, so the feature bit tells of the mode.
constexpr std::uint64_t kFeatureWpUnpopulated = 1 << 13;
constexpr std::uint64_t kContinueModeWp = 1 << 1;
constexpr int kMadviseDontneedLocked = 24;  // Linux 5.18; MADV_DONTNEED refuses memory that the program mlocked

constexpr std::uint64_t kNeededFeatures = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM |
                                          UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
                                          UFFD_FEATURE_EXACT_ADDRESS;

// The content of new frames. Never written: it stays the kernel's shared zero page.
alignas(kPageBytes) std::byte g_zeros[kBlockBytes];

std::uint64_t address_of(const std::byte* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

struct Opened {
  int descriptor;
  bool full;
};

// The device gives what the system call gives, but by file permission: an administrator's way to allow it, also inside
// containers whose seccomp profile refuses the system call.
int open_by_device(int flags) {
  const int device = ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (device < 0) return -1;
  const int descriptor = ::ioctl(device, USERFAULTFD_IOC_NEW, flags);
  ::close(device);
  return descriptor;
}

Result<Opened> open_descriptor(UffdDelivery delivery) {
  constexpr int kFlags = O_CLOEXEC | O_NONBLOCK;
  if (delivery == UffdDelivery::kMessages) {
    int full = static_cast<int>(::syscall(SYS_userfaultfd, kFlags));
    if (full < 0) full = open_by_device(kFlags);
    if (full >= 0) return Opened{full, true};
  }
  const int user_mode = static_cast<int>(::syscall(SYS_userfaultfd, kFlags | UFFD_USER_MODE_ONLY));
  if (user_mode >= 0) return Opened{user_mode, false};
  const int error = errno;
  const int by_device = open_by_device(kFlags);
  if (by_device >= 0) return Opened{by_device, delivery == UffdDelivery::kMessages};
  if (error == ENOSYS) {
    return fail(ErrorCode::kUnsupported, "this kernel is built without userfaultfd (CONFIG_USERFAULTFD)");
  }
  if (error == EINVAL) {
    return fail(ErrorCode::kUnsupported,
                "this kernel has no user-mode userfaultfd for ordinary users (Linux 5.11 has)");
  }
  if (error == EPERM || error == EACCES) {
    return fail(
        ErrorCode::kNotPermitted,
        "a seccomp profile or security module forbids userfaultfd(2), as container runtimes do by default: allow "
        "the system call, or give the container /dev/userfaultfd");
  }
  return os_failure(error, "userfaultfd(2)");
}

// A descriptor does its handshake once, so the features are asked for on one of their own.
Result<std::uint64_t> supported_features(UffdDelivery delivery) {
  GALLOCY_ASSIGN(const Opened opened, open_descriptor(delivery));
  uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
  const int result = ::ioctl(opened.descriptor, UFFDIO_API, &api);
  const int error = errno;
  ::close(opened.descriptor);
  if (result != 0) return os_failure(error, "userfaultfd handshake");
  return api.features;
}

[[noreturn]] void die_of(std::string_view what, int error, const std::byte* where) {
  char text[200];
  const auto end = error == ENOMEM ? fmt::format_to_n(text, sizeof text, "gallocy: out of memory for page frames at {}",
                                                      static_cast<const void*>(where))
                                   : fmt::format_to_n(text, sizeof text, "gallocy: {} failed at {} with error {}", what,
                                                      static_cast<const void*>(where), error);
  die(static_cast<int>(error == ENOMEM ? ErrorCode::kOutOfMemory : ErrorCode::kOsError),
      {text, std::min(end.size, sizeof text)});
}

// One UFFDIO_CONTINUE or UFFDIO_COPY: bytes done (> 0), or -errno for the first page.
std::int64_t map_frames(int descriptor, std::byte* start, std::size_t bytes, PageMode mode) {
  uffdio_continue request{.range = {.start = address_of(start), .len = bytes},
                          .mode = mode == PageMode::kWritable ? 0 : kContinueModeWp,
                          .mapped = 0};
  if (::ioctl(descriptor, UFFDIO_CONTINUE, &request) == 0) return static_cast<std::int64_t>(bytes);
  return errno == EAGAIN && request.mapped > 0 ? request.mapped : -errno;
}

std::int64_t map_zeros(int descriptor, std::byte* start, std::size_t bytes, PageMode mode) {
  const std::size_t step = std::min(bytes, sizeof g_zeros);
  uffdio_copy request{.dst = address_of(start),
                      .src = address_of(g_zeros),
                      .len = step,
                      .mode = mode == PageMode::kWritable ? 0 : UFFDIO_COPY_MODE_WP,
                      .copy = 0};
  if (::ioctl(descriptor, UFFDIO_COPY, &request) == 0) return static_cast<std::int64_t>(step);
  return errno == EAGAIN && request.copy > 0 ? request.copy : -errno;
}

}  // namespace

Result<std::unique_ptr<Uffd>> Uffd::open(UffdDelivery delivery) {
  GALLOCY_ASSIGN(const std::uint64_t supported, supported_features(delivery));
  const std::uint64_t delivered_by = delivery == UffdDelivery::kSigbus ? UFFD_FEATURE_SIGBUS : UFFD_FEATURE_THREAD_ID;
  const std::uint64_t needed = kNeededFeatures | delivered_by;
  if ((supported & (needed | kFeatureWpUnpopulated)) != (needed | kFeatureWpUnpopulated)) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("this kernel's userfaultfd cannot map a shared page write-protected (Linux 6.4 can; "
                            "features here: {:#x})",
                            supported));
  }
  GALLOCY_ASSIGN(const Opened opened, open_descriptor(delivery));
  std::unique_ptr<Uffd> uffd(new Uffd(opened.descriptor, opened.full));
  uffdio_api api{.api = UFFD_API, .features = needed, .ioctls = 0};
  if (::ioctl(opened.descriptor, UFFDIO_API, &api) != 0) return os_failure(errno, "userfaultfd handshake");
  return uffd;
}

Uffd::~Uffd() { ::close(descriptor_); }

Result<> Uffd::add(std::byte* view, std::size_t bytes) const {
  uffdio_register request{.range = {.start = address_of(view), .len = bytes},
                          .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP,
                          .ioctls = 0};
  if (::ioctl(descriptor_, UFFDIO_REGISTER, &request) != 0) {
    return os_failure(errno, fmt::format("cannot register {} bytes with userfaultfd", bytes));
  }
  if (::mprotect(view, bytes, PROT_READ | PROT_WRITE) != 0) {
    const int error = errno;
    remove(view, bytes);
    return os_failure(error, fmt::format("cannot open {} bytes to userfaultfd", bytes));
  }
  return {};
}

void Uffd::remove(std::byte* view, std::size_t bytes) const {
  CHECK(::mprotect(view, bytes, PROT_NONE) == 0, errno);
  drop(view, bytes);
  uffdio_range range{.start = address_of(view), .len = bytes};
  CHECK(::ioctl(descriptor_, UFFDIO_UNREGISTER, &range) == 0, errno);
}

void Uffd::install(std::byte* start, std::size_t bytes, PageMode mode) const {
  bool hole = false;  // the page at `start` has no frame
  std::size_t most = bytes;
  while (bytes > 0) {
    const std::size_t step = std::min(bytes, most);
    std::int64_t done = hole ? map_zeros(descriptor_, start, step, mode) : map_frames(descriptor_, start, step, mode);
    if (done == -ENOENT && step > kPageBytes) {
      // The range goes over the border of two mappings: parts of it are protected differently (mprotect).
      most = (step / 2 + kPageBytes - 1) / kPageBytes * kPageBytes;
    } else if (done == -EFAULT && !hole) {
      hole = true;
    } else if (done == -EEXIST && hole) {
      hole = false;  // a frame has come since, or the hole ends here
    } else if (done == -EEXIST) {
      set_mode(start, kPageBytes, mode);
      wake(start, kPageBytes);
      done = kPageBytes;
    } else if (done < 0 && done != -EAGAIN) {  // EAGAIN: the address space is being changed elsewhere
      die_of("mapping a page frame", static_cast<int>(-done), start);
    }
    if (done > 0) {
      start += done;
      bytes -= static_cast<std::size_t>(done);
      most = bytes;
    }
  }
}

void Uffd::set_mode(std::byte* start, std::size_t bytes, PageMode mode) const {
  uffdio_writeprotect request{.range = {.start = address_of(start), .len = bytes},
                              .mode = mode == PageMode::kWritable ? 0 : UFFDIO_WRITEPROTECT_MODE_WP};
  while (::ioctl(descriptor_, UFFDIO_WRITEPROTECT, &request) != 0) {
    if (errno != EAGAIN && errno != EINTR) die_of("write-protecting pages", errno, start);
  }
}

void Uffd::drop(std::byte* start, std::size_t bytes) const {
  while (::madvise(start, bytes, kMadviseDontneedLocked) != 0) {
    if (errno != EAGAIN && errno != EINTR) die_of("dropping pages", errno, start);
  }
}

void Uffd::wake(std::byte* start, std::size_t bytes) const {
  uffdio_range range{.start = address_of(start), .len = bytes};
  CHECK(::ioctl(descriptor_, UFFDIO_WAKE, &range) == 0, errno);
}

}  // namespace gallocy::os
