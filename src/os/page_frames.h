// PageFrames: the memory behind one region on one node. A sparse memfd mapped twice:
//   program view   at the region's global address; its protection is the coherence state (set by a FaultEngine)
//   runtime view   anywhere; always readable and writable; pages are filled and sent through it
// A page that was never filled is a hole and reads as zero.
//
// Threads: all functions may be called by any thread. discard is async-signal-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace gallocy::os {

// The address window, reserved with PROT_NONE so that nothing else is placed there. One per process.
class Window {
 public:
  static Result<std::unique_ptr<Window>> reserve(std::uint64_t base, std::uint64_t bytes);
  ~Window();
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;

 private:
  Window(std::uint64_t base, std::uint64_t bytes) : base_(base), bytes_(bytes) {}
  std::uint64_t base_, bytes_;
};

class PageFrames {
 public:
  // Maps `bytes` (page-aligned) at `address`, which lies in the reserved window. The program view begins inaccessible
  // (no page table entries; the mapping itself is readable and writable, as userfaultfd wants it, unless
  // `mprotected`, which the sigsegv engine needs).
  static Result<std::unique_ptr<PageFrames>> map(std::uint64_t address, std::size_t bytes, bool mprotected);
  ~PageFrames();  // unmaps both; the window's reservation is restored
  PageFrames(const PageFrames&) = delete;
  PageFrames& operator=(const PageFrames&) = delete;

  std::byte* program_view() const { return program_; }
  std::byte* runtime_view() const { return runtime_; }
  std::size_t bytes() const { return bytes_; }

  // Allocates zeroed frames for [offset, + bytes) in one step (fallocate), so that filling them does not fault page by page.
  Result<> populate(std::size_t offset, std::size_t bytes);
  // Gives the frames back to the kernel; they read as zero again. The program view must not be accessible there.
  void discard(std::size_t offset, std::size_t bytes);
  // Bytes of frames the kernel holds for this region.
  std::size_t resident_bytes() const;

 private:
  PageFrames() = default;
  std::byte* program_ = nullptr;
  std::byte* runtime_ = nullptr;
  std::size_t bytes_ = 0;
  int memfd_ = -1;
};

}  // namespace gallocy::os
