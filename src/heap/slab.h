// Slab: which objects of a run of granules are free. It lies in private memory, off to the side: neither allocating nor
// freeing touches the objects, whose pages may be on another node.
//
// A slab belongs to one thread cache, its *owner*, or to none (Heap::unowned). The owner marks an object free by a
// plain store to `free`; every other thread of the node, and a message from another node, by an atomic or to `remote`,
// which the owner collects when it runs out of objects.
//
// How the owner learns of it (the inbox). remote_pending names the words that have got bits. Who makes it nonzero
// pushes the slab on the inbox of its owner, an intrusive stack. The owner takes the whole stack, and from each slab
// first the set of words, then the bits; who adds a bit later finds the word missing from the set and adds it again. A
// slab may change hands while it is in the former owner's inbox: who finds a slab of another in its inbox passes it on.
//
// Threads: fields before remote_pending are the owner's; `owner` changes under the heap's mutex. Words are atomic
// because other threads read them to name double frees; all accesses that take part in the hand-over are seq_cst.
//
// Invariants
// 1. An object is allocated if its bit is in neither `free` nor `remote`; never in both, unless two threads freed it at
// once.
// 2. nonempty has the bit of every word that has free objects, and of no other, except the word the owner allocates
// from.
// 3. countdown: the owner's frees until the slab has to be dealt with. 1 if it is full (it gets something to allocate),
// its
//    allocated objects if it is listed (it becomes empty), kNever if it is the one its owner allocates from.
// 4. remote_pending nonzero: the slab is in exactly one inbox, or some thread is about to push or is emptying it.
// 5. Only slabs in use have bits in `free` or `remote`.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>

#include "heap/size_classes.h"

namespace gallocy::heap {

class ThreadCache;

struct FreeWord {
  std::atomic<std::uint64_t> free;    // written by the owner
  std::atomic<std::uint64_t> remote;  // freed by others, not yet collected
};

// Zeroed memory is a slab that is not in use and was never owned.
struct alignas(64) Slab {
  // Frees of a slab that stays the current one are counted too, and no program makes as many.
  static constexpr std::uint32_t kNever = ~std::uint32_t{0};

  std::atomic<ThreadCache*> owner;
  std::uint64_t nonempty;    // set of words
  std::uint64_t reciprocal;  // of the object size (size_classes.h)
  std::uint32_t countdown;
  std::uint32_t object_bytes;
  std::uint16_t objects;
  std::uint8_t size_class;
  std::uint8_t last_word;
  std::uint8_t listed;  // in its owner's list of slabs with free objects
  std::uint64_t last_mask;
  Slab *previous, *next;  // in that list

  alignas(64) std::atomic<std::uint64_t> remote_pending;  // set of words
  Slab* next_pending;                                     // in the inbox
  FreeWord words[64];

  std::uint64_t mask_of(unsigned word) const { return word == last_word ? last_mask : ~std::uint64_t{0}; }
  std::uint32_t free_objects() const {
    std::uint32_t count = 0;
    for (unsigned w = 0; w <= last_word; ++w) {
      count += static_cast<std::uint32_t>(std::popcount(words[w].free.load(std::memory_order_relaxed)));
    }
    return count;
  }
};
static_assert(sizeof(Slab) == 64 + 64 + 1024, "1.8 % of a slab of one granule");

// What a granule is part of, in one word that any thread may read at any time, for pointers that need not be good.
struct Shape {
  // Otherwise a size class + 1.
  static constexpr std::uint64_t kFree = 0, kInsideLarge = 0xfe, kLarge = 0xff;
  static_assert(kClassCount < kInsideLarge);

  std::uint64_t word = kFree;

  static constexpr Shape slab(unsigned size_class, std::uint64_t back) { return {(size_class + 1) | back << 8}; }
  static constexpr Shape large(std::uint64_t granules) { return {kLarge | granules << 8}; }
  static constexpr Shape inside_large(std::uint64_t back) { return {kInsideLarge | back << 8}; }

  constexpr std::uint64_t kind() const { return word & 0xff; }
  constexpr bool is_slab() const { return kind() - 1 < kClassCount; }
  constexpr unsigned size_class() const { return static_cast<unsigned>(kind() - 1); }
  constexpr std::uint64_t back() const { return word >> 8; }      // granules from here to the first of the run
  constexpr std::uint64_t granules() const { return word >> 8; }  // of a large object
};

}  // namespace gallocy::heap
