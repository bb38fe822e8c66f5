// HomeKnew: what the home that was knew of a lock, while homes move (Core::homes_move).
//
// What a home knew is registered beside the number of moves after which it was the home: the next one may move on
// before all have heard that it is the home, and then who was it before may register the same again, which is older.
#pragma once

#include <cstdint>

#include "sync/view.h"
#include "wire/sync.h"

namespace gallocy::sync {

enum class HomeKnew : std::uint8_t {
  kNothing,  // this node was not the home, and has heard nothing from it
  kClean,    // nobody had it, and whoever had it last has given it back
  kSuspect,  // nobody had it, or who had it may have died; unless somebody registers it
  kOut,      // somebody had it, and registers it
};

// As a mode of a message that registers it with the next home.
constexpr std::uint8_t mode_of(HomeKnew knew) {
  const std::uint8_t more = knew == HomeKnew::kSuspect ? wire::kSyncOwnerDied
                            : knew == HomeKnew::kOut   ? wire::kSyncWrite
                                                       : std::uint8_t{0};
  return static_cast<std::uint8_t>(wire::kSyncHomeWas | more);
}
constexpr bool is_of_home(std::uint8_t mode) { return (mode & wire::kSyncHomeWas) != 0; }
constexpr HomeKnew home_knew(std::uint8_t mode) {
  if ((mode & wire::kSyncOwnerDied) != 0) return HomeKnew::kSuspect;
  return (mode & wire::kSyncWrite) != 0 ? HomeKnew::kOut : HomeKnew::kClean;
}

// The same of one lock, from the beginning of a move to its end.
struct KnownByHome {
  HomeKnew what = HomeKnew::kNothing;
  std::uint16_t after = 0;  // so many moves

  bool is_known() const { return what != HomeKnew::kNothing; }
  // Registered by one that was the home; `m` says after how many moves.
  void hear(const wire::SyncMessage& m) {
    if (!is_known() || m.node >= after) *this = {home_knew(m.mode), m.node};
  }
  // Whoever had the lock may have died.
  void view_changed(const Death& death) {
    if (is_known() && (death.of_home || what == HomeKnew::kOut)) what = HomeKnew::kSuspect;
  }
};

}  // namespace gallocy::sync
