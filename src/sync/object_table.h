// ObjectTable: the objects that this node uses or is home of, by number. Open addressing with linear probing; objects
// do not move while others come and go, so a reference is good until the object itself is dropped.
//
// Every kind has these functions, beside those for its users:
//   receive(context, id, from, m)   a message; false: it breaks the protocol
//   cancel(context, id, waiter)     true: the waiter waited here and no longer does
//   end_waits(context, outcome)     the outcome for all threads of this node that wait
//   inherit()                       this node became home after another, and knows nothing of what was before
//   view_changed(context, id, death)  a node died
//   homes_move(context, id, was_home)  the home of all is another; this node may have been it
//   enroll(context, id)             nothing older is in flight: tell the home what is here, and ask again
//   homes_moved(context, id)        the next home has everything
//   drop(context, id)               true: the object is as if it had never been used and may be forgotten
//   check(context, id), digest(context, digest)
#pragma once

#include <cstdint>
#include <deque>
#include <type_traits>
#include <variant>
#include <vector>

#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/latch.h"
#include "sync/mutex.h"
#include "sync/once.h"
#include "sync/rw_lock.h"
#include "sync/semaphore.h"
#include "sync/sync_id.h"

namespace gallocy::sync {

struct Object {
  using State = std::variant<std::monostate, Mutex, RwLock, Condition, Semaphore, Barrier, Latch, Once>;
  SyncId id{};
  bool used = true;  // since the last sweep
  State state;       // monostate: free
};

// f(state) with the state in its own type; nothing if the object is free.
template <typename F>
void visit_state(Object& object, F f) {
  std::visit(
      [&](auto& state) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(state)>, std::monostate>) f(state);
      },
      object.state);
}
template <typename F>
void visit_state(const Object& object, F f) {
  std::visit(
      [&](const auto& state) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(state)>, std::monostate>) f(state);
      },
      object.state);
}

class ObjectTable {
 public:
  ObjectTable() : slots_(kFirstSlots) {}

  Object* find(SyncId id) {
    for (std::size_t at = place(id);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].id == id.value) return &objects_[slots_[at].object];
      if (slots_[at].id == 0) return nullptr;
    }
  }
  Object& insert(SyncId id);  // must not be there
  void erase(SyncId id);      // must be there

  // Places of objects, including free ones (state is monostate); for sweeps and recovery.
  std::size_t places() const { return objects_.size(); }
  Object& at(std::size_t place) { return objects_[place]; }
  const Object& at(std::size_t place) const { return objects_[place]; }

  std::size_t size() const { return size_; }
  std::size_t bytes() const { return slots_.capacity() * sizeof(Slot) + objects_.size() * sizeof(Object); }

 private:
  static constexpr std::size_t kFirstSlots = 64;  // a power of two

  struct Slot {
    std::uint64_t id = 0;  // 0: empty; no object has this number
    std::uint32_t object = 0;
  };

  // Numbers of unnamed objects count up: a multiplication spreads them.
  std::size_t place(SyncId id) const { return ((id.value * 0x9e3779b97f4a7c15) >> 32) & (slots_.size() - 1); }
  void put(std::uint64_t id, std::uint32_t object);
  void grow();

  std::vector<Slot> slots_;
  std::deque<Object> objects_;
  std::vector<std::uint32_t> free_;
  std::size_t size_ = 0;
};

}  // namespace gallocy::sync
