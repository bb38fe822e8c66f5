// Context: what all objects of one core share: the way out (messages, wakes), the view of the cluster, the cells of
// their queues. Messages of a node to itself go through a queue of their own and the same code as those of others.
#pragma once

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "sync/cell_pool.h"
#include "sync/effects.h"
#include "sync/object_table.h"
#include "sync/options.h"
#include "sync/view.h"

namespace gallocy::sync {

struct Counters {
  std::uint64_t acquires = 0;         // locks of mutexes and shared mutexes asked for
  std::uint64_t acquires_cached = 0;  // of these, granted without a message
  std::uint64_t sent = 0;             // messages to other nodes
  std::uint64_t refused = 0;          // messages that break the protocol
  std::uint64_t from_dead = 0;        // messages ignored because their sender is dead
  std::uint64_t deferred = 0;         // messages put aside
};

class Context {
 public:
  explicit Context(const Options& chosen) : options(chosen), view(chosen.nodes, chosen.self, chosen.present) {
    if (options.founders == 0) options.founders = options.nodes;
  }

  NodeId self() const { return options.self; }
  NodeId first_home(SyncId id) const { return sync::first_home(id, options.nodes, options.founders); }
  NodeId home(SyncId id) const { return view.next_home(first_home(id)); }
  bool is_home(SyncId id) const { return home(id) == self(); }
  // A home of this object died: what the present one does not know of it may have died with that.
  bool may_be_bereft(SyncId id) const { return options.founders == 1 ? a_home_died : first_home(id) != home(id); }
  // At the end of a move: nobody who registered anything of the object knew it, as if this node heard of it now.
  bool inherits(SyncId id) const { return is_home(id) && became_home && may_be_bereft(id); }
  // This node is the home, and what it does not know of the object nobody does.
  bool may_forget(SyncId id) const { return is_home(id) && !may_be_bereft(id) && view.moves() == 0; }
  // Between the news of a death and the moment when nothing older is in flight to this node: no requests, no passing
  // on.
  bool frozen() const { return frozen_; }
  void set_frozen(bool frozen) { frozen_ = frozen; }
  // Nodes have died that the program does not know of: waits for "somebody" may wait for the dead.
  bool lossy() const { return view.deaths() > acknowledged; }
  bool injected(FaultInjection fault) const { return __builtin_expect(options.fault_injection == fault, 0); }

  std::uint32_t last_ticket() const { return last_ticket_; }
  std::uint32_t next_ticket() { return ++last_ticket_ == 0 ? ++last_ticket_ : last_ticket_; }

  void send(NodeId to, wire::SyncMessage message) {
    message.view = view.number();
    if (to == self()) {
      to_self.push_back(message);
      return;
    }
    ++counters.sent;
    effects->push_back({.kind = Effect::Kind::kSend, .node = to, .message = message});
  }
  void send_home(SyncId id, wire::SyncMessage message) {
    message.object = id.value;
    send(home(id), message);
  }

  // The wait of the thread whose call is being served ends by the value returned, any other by an effect. 0: nobody.
  void wake(std::uint64_t waiter, Outcome outcome) {
    if (waiter == 0) return;
    if (waiter == calling.value) {
      returned = outcome;
      calling = WaiterId{};
      return;
    }
    effects->push_back({.kind = Effect::Kind::kWake, .outcome = outcome, .waiter = WaiterId{waiter}});
  }

  // The object of that kind and number, made if need be; null if the number belongs to an object of another kind.
  template <typename Kind>
  Kind* find(SyncId id) {
    Object* object = objects.find(id);
    if (object == nullptr) {
      object = &objects.insert(id);
      Kind& state = object->state.emplace<Kind>();
      if (is_home(id) && may_be_bereft(id)) state.inherit();
      return &state;
    }
    object->used = true;
    return std::get_if<Kind>(&object->state);
  }

  Options options;  // constant after construction
  View view;
  CellPool cells;
  ObjectTable objects;
  Counters counters;

  std::vector<wire::SyncMessage> to_self;
  std::vector<SyncId> holding_arrivals;  // barriers that have arrivals not yet sent
  std::uint32_t ticks = 0;
  std::uint16_t acknowledged = 0;  // deaths that the program knows of
  bool stale = false;              // the message being handled was sent in an older view
  bool rebuilding = false;         // from a change of the view until all have registered
  bool moving = false;             // and homes have moved since
  std::uint16_t moves_before = 0;  // then; during homes_move
  bool became_home = false;        // by these moves
  bool a_home_died = false;        // where there is one founder

  // During one step of the core.
  Effects* effects = nullptr;
  WaiterId calling{};
  Outcome returned = Outcome::kPending;

 private:
  bool frozen_ = false;
  std::uint32_t last_ticket_ = 0;
};

}  // namespace gallocy::sync
