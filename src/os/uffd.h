// Uffd: one userfaultfd and the operations on the program views registered with it.
//
// A registered page is in one of three states: no page table entry (kNone), an entry marked write-protected (kRead), an
// entry without the mark (kReadWrite). The kernel never makes an entry by itself there: every access to a page without
// one is a fault of ours, whether the frame exists (MINOR), does not (MISSING), or was swapped out. An old
// write-protect mark may stay in an empty entry after drop(); install() overwrites it.
//
// All functions but open, add and remove are async-signal-safe, and end the process with one line where the kernel has
// no memory: there is nobody to return to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.h"

namespace gallocy::os {

enum class UffdDelivery : std::uint8_t { kSigbus, kMessages };

// What UFFDIO_COPY, UFFDIO_CONTINUE and UFFDIO_WRITEPROTECT let the program do with a page.
enum class PageMode : std::uint8_t { kWriteProtected, kWritable };

class Uffd {
 public:
  // The most capable descriptor that this machine permits for the delivery. kUnsupported with a sentence that names the
  // kernel version it takes, or kNotPermitted with one that says who refuses.
  static Result<std::unique_ptr<Uffd>> open(UffdDelivery delivery);
  ~Uffd();
  Uffd(const Uffd&) = delete;
  Uffd& operator=(const Uffd&) = delete;

  int descriptor() const { return descriptor_; }
  // Accesses by system calls are delivered too (kMessages only), not failed with EFAULT.
  bool full() const { return full_; }

  // Registers an inaccessible mapping (PROT_NONE, nothing present) and opens it: from now on userfaultfd guards it.
  Result<> add(std::byte* view, std::size_t bytes) const;
  // Drops everything, closes the mapping to PROT_NONE, lets go of it and wakes who sleeps on it.
  void remove(std::byte* view, std::size_t bytes) const;

  // Gives pages without an entry one; holes get zeroed frames. Pages that have one only get the mode.
  void install(std::byte* start, std::size_t bytes, PageMode mode) const;
  // Sets the mode of pages that have an entry.
  void set_mode(std::byte* start, std::size_t bytes, PageMode mode) const;
  // Takes the entries away; the frames stay.
  void drop(std::byte* start, std::size_t bytes) const;
  void wake(std::byte* start, std::size_t bytes) const;

 private:
  Uffd(int descriptor, bool full) : descriptor_(descriptor), full_(full) {}
  const int descriptor_;
  const bool full_;
};

}  // namespace gallocy::os
