// What the heap core asks of its surroundings: private memory for its metadata, and its effects.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/ids.h"

namespace gallocy::heap {

class PrivateMemory {
 public:
  virtual ~PrivateMemory() = default;
  // Zeroed memory of this process alone, page-aligned, committed page by page as it is touched (the heap reserves far
  // more than it uses). It stays as long as the provider. Null when there is none. Any thread, one at a time.
  virtual void* reserve(std::size_t bytes) = 0;
};

enum class FreeError : std::uint8_t {
  kNone,
  kDoubleFree,    // the object is free already
  kInsideObject,  // no object begins there
  kNotAllocated,  // no object is there, and none has been lately
  kForeign,       // not an address of the heap
};

// A free that must not have been. The program is wrong, and its memory may be already.
struct BadFree {
  FreeError error = FreeError::kNone;
  std::uint64_t address = 0;
  NodeId owner = kNoNode;  // of the address; kNoNode: not of the heap
  NodeId freed_by = kNoNode;
  std::uint64_t object_bytes = 0;  // of the object there; 0: unknown
};
// One line, without a newline.
std::string to_string(const BadFree& bad);

class Host {
 public:
  virtual ~Host() = default;
  // Sends the addresses of objects of `owner` home in one message (wire/heap.h), to be passed to its remote_freed().
  // Called without any lock of the heap held, on the thread that freed, flushed or ticked. The span ends with the call.
  virtual void send_remote_frees(NodeId owner, std::span<const std::uint64_t> addresses) = 0;
  // The contents of these pages (of this node's slice) will not be read again before they are written: their frames may
  // be discarded. Until it returns the heap does not give them out. Called by tick() only.
  virtual void release_pages(std::uint64_t start, std::uint64_t bytes) = 0;
  // The program freed what it must not free: called by the thread that did, on the one that received the message, or,
  // if two threads freed one object at the same time, on the one that found out. Should end the process.
  virtual void bad_free(const BadFree& bad) = 0;
};

}  // namespace gallocy::heap
