// PageFrames: the memory behind one region on one node. A sparse memfd mapped twice:
//   program view   at the region's global address; its protection is the coherence state (set by a FaultEngine)
//   runtime view   anywhere; always readable and writable; pages are filled and sent through it
// A page that was never filled is a hole and reads as zero.
//
// Forked children: a child is not a node. It gets neither view (MADV_DONTFORK), so an access to global memory ends it
// with SIGSEGV instead of reading frames that nobody keeps coherent, and instead of writing into its parent's. Fork and
// exec works, and so do vfork and posix_spawn, which run in the parent's memory; a program that forks and goes on must
// copy what the child needs into private memory first.
//
// Core dumps leave both views out: the kernel would walk every page of a sparse region, which takes minutes per
// terabyte.
//
// Threads: all functions may be called by any thread. discard is async-signal-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.h"

namespace gallocy::os {

// A range of addresses, reserved with PROT_NONE so that nothing else is placed there. One per process.
class Window {
 public:
  // kAddressInUse, naming what is there, if any part is taken. Base 0 means anywhere (probes and tests).
  static Result<std::unique_ptr<Window>> reserve(std::uint64_t base, std::uint64_t bytes);
  ~Window();
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;

  std::uint64_t base() const { return base_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  Window(std::uint64_t base, std::uint64_t bytes) : base_(base), bytes_(bytes) {}
  const std::uint64_t base_, bytes_;
};

class PageFrames {
 public:
  // Maps `bytes` (page-aligned, up to terabytes: memory is taken when pages are filled) at `address`, which lies in the
  // reserved window. The program view begins with PROT_NONE; FaultEngine::add takes it over.
  static Result<std::unique_ptr<PageFrames>> map(std::uint64_t address, std::size_t bytes);
  ~PageFrames();  // unmaps both; the window's reservation is restored. Not while an engine has the program view.
  PageFrames(const PageFrames&) = delete;
  PageFrames& operator=(const PageFrames&) = delete;

  std::byte* program_view() const { return program_; }
  std::byte* runtime_view() const { return runtime_; }
  std::size_t bytes() const { return bytes_; }
  int file() const { return memfd_; }  // stays this object's

  // Allocates zeroed frames for [offset, + bytes) in one step (fallocate), so that filling them does not fault page by
  // page. Frames that exist keep their bytes.
  Result<> populate(std::size_t offset, std::size_t bytes);
  // Gives the frames back to the kernel; they read as zero again. The program view must not be accessible there.
  void discard(std::size_t offset, std::size_t bytes);
  // Bytes of frames the kernel holds for this region.
  std::size_t resident_bytes() const;

 private:
  PageFrames() = default;
  Result<> map_views(std::uint64_t address);

  std::byte* program_ = nullptr;
  std::byte* runtime_ = nullptr;
  std::size_t bytes_ = 0;
  int memfd_ = -1;
};

}  // namespace gallocy::os
