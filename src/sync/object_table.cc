#include "sync/object_table.h"

#include <utility>

#include "base/check.h"

namespace gallocy::sync {

Object& ObjectTable::insert(SyncId id) {
  DCHECK(find(id) == nullptr, id);
  if ((size_ + 1) * 4 > slots_.size() * 3) grow();
  std::uint32_t object;
  if (free_.empty()) {
    object = static_cast<std::uint32_t>(objects_.size());
    objects_.emplace_back();
  } else {
    object = free_.back();
    free_.pop_back();
  }
  objects_[object].id = id;
  objects_[object].used = true;
  put(id.value, object);
  ++size_;
  return objects_[object];
}

void ObjectTable::erase(SyncId id) {
  const std::size_t mask = slots_.size() - 1;
  std::size_t hole = place(id);
  while (slots_[hole].id != id.value) {
    CHECK(slots_[hole].id != 0, id);
    hole = (hole + 1) & mask;
  }
  objects_[slots_[hole].object].state.emplace<std::monostate>();
  free_.push_back(slots_[hole].object);
  --size_;
  // Move back what probed past the hole (Knuth, "The Art of Computer Programming", vol. 3, 6.4, algorithm R).
  for (std::size_t at = (hole + 1) & mask; slots_[at].id != 0; at = (at + 1) & mask) {
    const std::size_t wanted = place(SyncId{slots_[at].id});
    if (((at - wanted) & mask) >= ((at - hole) & mask)) {
      slots_[hole] = slots_[at];
      hole = at;
    }
  }
  slots_[hole] = {};
}

void ObjectTable::put(std::uint64_t id, std::uint32_t object) {
  std::size_t at = place(SyncId{id});
  while (slots_[at].id != 0) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = {id, object};
}

void ObjectTable::grow() {
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots_.size() * 2));
  for (const Slot& slot : old) {
    if (slot.id != 0) put(slot.id, slot.object);
  }
}

}  // namespace gallocy::sync
