// A thread of the program as it travels from node to node: what a node keeps of it besides its memory.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "personality/affinity.h"
#include "personality/guest_entry.h"

namespace gallocy::personality {

struct MovedThread {
  int guest_tid = 0;
  NodeId belongs_on{};
  GuestRegisters registers;
  std::uint64_t mask = 0, clear_tid = 0, robust_list = 0;
  stack_t signal_stack{};
  std::uint64_t held_count = 0;
  decltype(GuestThread::held_pages) held_pages{};
  std::uint64_t pending_count = 0;
  decltype(GuestThread::pending) pending{};
  ProcessorMask affinity;
  std::int64_t processor_ns = 0;  // that it has used so far
  std::int64_t stay_ns = 0;       // see GuestThread
  bool visits = false;
  HelperState helper;
  char name[16] = {};
  // Behind it: the vector registers, as in a signal frame.

  // Of the calling thread, which `context` interrupted in the program. affinity is the caller's to fill in. Empties the
  // thread's queue of signals.
  static MovedThread take(GuestThread& thread, const ucontext_t& context);
  // Into a thread that has none of it yet.
  void give(GuestThread& thread) const;
};

// Differs between processors whose frames cannot be exchanged.
std::uint64_t state_layout();

std::vector<std::byte> encode(const MovedThread& thread, std::span<const std::byte> state);
// Nothing: it is none. `state` is what follows in `bytes`.
std::optional<MovedThread> decode_moved_thread(std::span<const std::byte> bytes, std::span<const std::byte>& state);

}  // namespace gallocy::personality
