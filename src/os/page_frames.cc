#include "os/page_frames.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string>

#include "base/check.h"
#include "base/ids.h"
#include "os/os_error.h"

namespace gallocy::os {
namespace {

void* at(std::uint64_t address) { return reinterpret_cast<void*>(address); }

// The first line of /proc/self/maps that overlaps [base, + bytes): "55d0c0000000-55d0c0021000 rw-p … [heap]".
std::string mapping_in(std::uint64_t base, std::uint64_t bytes) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::uint64_t low = 0, high = 0;
    const auto dash = std::from_chars(line.data(), line.data() + line.size(), low, 16).ptr;
    std::from_chars(dash + 1, line.data() + line.size(), high, 16);
    if (low < base + bytes && base < high) return line;
  }
  return "an unknown mapping";
}

// What to do when the kernel refuses address space.
std::string_view address_space_advice() {
  rlimit limit{};
  ::getrlimit(RLIMIT_AS, &limit);
  return limit.rlim_cur == RLIM_INFINITY ? ""
                                         : "; this process has a limit on its address space: run `ulimit -v unlimited`";
}

}  // namespace

Result<std::unique_ptr<Window>> Window::reserve(std::uint64_t base, std::uint64_t bytes) {
  CHECK(base % kPageBytes == 0 && bytes % kPageBytes == 0 && bytes > 0, base, bytes);
  const int placement = base == 0 ? 0 : MAP_FIXED_NOREPLACE;
  void* const got = ::mmap(at(base), bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | placement, -1, 0);
  const int error = errno;
  // Kernels before 4.17 take the address as a hint only and may answer with another.
  const bool elsewhere = got != MAP_FAILED && base != 0 && got != at(base);
  if (elsewhere) ::munmap(got, bytes);
  if (elsewhere || (got == MAP_FAILED && error == EEXIST)) {
    return fail(ErrorCode::kAddressInUse,
                fmt::format("the addresses {:#x}-{:#x} of global memory are taken in this process by: {}", base,
                            base + bytes, mapping_in(base, bytes)));
  }
  if (got == MAP_FAILED) {
    return os_failure(error, fmt::format("cannot reserve {:#x} bytes of addresses for global memory{}", bytes,
                                         address_space_advice()));
  }
  return std::unique_ptr<Window>(new Window(reinterpret_cast<std::uint64_t>(got), bytes));
}

Window::~Window() { ::munmap(at(base_), bytes_); }

Result<std::unique_ptr<PageFrames>> PageFrames::map(std::uint64_t address, std::size_t bytes) {
  CHECK(address % kPageBytes == 0 && bytes % kPageBytes == 0 && bytes > 0, address, bytes);
  // ftruncate past RLIMIT_FSIZE raises SIGXFSZ, so look before.
  rlimit file_size{};
  if (::getrlimit(RLIMIT_FSIZE, &file_size) == 0 && bytes > file_size.rlim_cur) {
    return fail(ErrorCode::kOutOfMemory, fmt::format("a region of {} bytes is larger than this process's limit on file "
                                                     "sizes ({} bytes): run `ulimit -f unlimited`",
                                                     bytes, file_size.rlim_cur));
  }
  std::unique_ptr<PageFrames> frames(new PageFrames);
  frames->bytes_ = bytes;
  frames->memfd_ = ::memfd_create("gallocy", MFD_CLOEXEC);
  if (frames->memfd_ < 0) return os_failure(errno, "cannot create a memory file for a region");
  if (::ftruncate(frames->memfd_, static_cast<off_t>(bytes)) != 0) {
    return os_failure(errno, fmt::format("cannot size the memory file of a region to {} bytes", bytes));
  }
  GALLOCY_TRY(frames->map_views(address));
  return frames;
}

Result<> PageFrames::map_views(std::uint64_t address) {
  void* const runtime = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memfd_, 0);
  if (runtime == MAP_FAILED) {
    return os_failure(errno, fmt::format("cannot map a region of {} bytes{}", bytes_, address_space_advice()));
  }
  runtime_ = static_cast<std::byte*>(runtime);
  void* const program = ::mmap(at(address), bytes_, PROT_NONE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, memfd_, 0);
  if (program == MAP_FAILED) {
    return os_failure(errno, fmt::format("cannot map a region of {} bytes at {:#x}", bytes_, address));
  }
  program_ = static_cast<std::byte*>(program);
  for (std::byte* view : {program_, runtime_}) {
    for (const int advice : {MADV_DONTFORK, MADV_DONTDUMP}) {
      if (::madvise(view, bytes_, advice) != 0) return os_failure(errno, "cannot set up the views of a region");
    }
  }
  return {};
}

PageFrames::~PageFrames() {
  if (program_ != nullptr) {
    const void* const restored =
        ::mmap(program_, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    CHECK(restored == program_, errno);
  }
  if (runtime_ != nullptr) ::munmap(runtime_, bytes_);
  if (memfd_ >= 0) ::close(memfd_);
}

Result<> PageFrames::populate(std::size_t offset, std::size_t bytes) {
  CHECK(offset + bytes <= bytes_, offset, bytes, bytes_);
  // A signal makes fallocate give up and undo its work (EINTR), so a profiling timer could starve a long one: short
  // steps.
  constexpr std::size_t kStepBytes = 1 << 20;
  for (const std::size_t end = offset + bytes; offset < end;) {
    const std::size_t step = std::min(kStepBytes, end - offset);
    if (::fallocate(memfd_, 0, static_cast<off_t>(offset), static_cast<off_t>(step)) == 0) {
      offset += step;
    } else if (errno != EINTR) {
      return fail(ErrorCode::kOutOfMemory,
                  fmt::format("no memory for {} bytes of page frames: {}", end - offset, os_error_text(errno)));
    }
  }
  return {};
}

void PageFrames::discard(std::size_t offset, std::size_t bytes) {
  CHECK(offset + bytes <= bytes_, offset, bytes, bytes_);
  while (::fallocate(memfd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(bytes)) != 0) {
    CHECK(errno == EINTR, errno, offset, bytes);
  }
}

std::size_t PageFrames::resident_bytes() const {
  struct stat status {};
  CHECK(::fstat(memfd_, &status) == 0, errno);
  return static_cast<std::size_t>(status.st_blocks) * 512;
}

}  // namespace gallocy::os
