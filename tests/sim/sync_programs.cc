#include "sync_programs.h"

#include <set>
#include <string>

namespace gallocy::sim {

using sync::Core;
using sync::Effects;
using sync::LockMode;
using sync::Notify;
using Patience = Thread::Patience;

namespace {

NodeId random_node(SyncWorld& world) {
  return NodeId(static_cast<std::uint16_t>(world.prng().below(world.network().nodes())));
}

// Half of the objects have names.
SyncId random_object(SyncWorld& world, std::uint64_t serial) {
  if (world.prng().one_in(2))
    return sync::named_id("object " + std::to_string(serial) + std::to_string(world.prng()()));
  return sync::unnamed_id(random_node(world), serial);
}

template <typename State>
std::shared_ptr<State> make_state(SyncWorld& world) {
  return std::make_shared<State>(State{.world = world});
}

// Mutual exclusion and the news of dead holders.
struct Section {
  SyncWorld& world;
  SyncId mutex{};
  const Thread* inside = nullptr;
  NodeId inside_at{};
  bool holder_died = false;

  void enter(const Thread& thread, Outcome outcome) {
    world.require(inside == nullptr, "two threads in one critical section");
    world.require(!holder_died || outcome == Outcome::kOwnerDied, "the holder died inside and the next was not told");
    world.require(outcome != Outcome::kOwnerDied || world.deaths() > 0, "owner died without a death");
    if (outcome == Outcome::kOwnerDied) holder_died = false;
    inside = &thread;
    inside_at = thread.node();
  }
  // After a wait on a condition variable: timeouts do not tell of a dead holder.
  void enter_again(const Thread& thread, Outcome outcome) {
    const bool tells = sync::succeeded(outcome);
    const bool died = holder_died;
    if (!tells) holder_died = false;
    enter(thread, outcome);
    if (!tells) holder_died = died;
  }
  void leave(const Thread& thread) {
    world.require(inside == &thread, "left a critical section without being inside");
    inside = nullptr;
  }
  void node_died(NodeId node) {
    if (inside == nullptr || inside_at != node) return;
    inside = nullptr;
    holder_died = true;
  }
};

struct Mutexes {
  SyncWorld& world;
  std::vector<Section> sections{};
};

Program use_mutexes(Thread& t, std::shared_ptr<Mutexes> m, unsigned turns) {
  Prng& prng = m->world.prng();
  for (; turns > 0; --turns) {
    Section& section = m->sections[prng.below(m->sections.size())];
    const SyncId id = section.mutex;
    Outcome outcome;
    if (prng.one_in(4)) {
      const WaiterId waiter = t.waiter();
      outcome = co_await t.call(id, [id, waiter](Core& c, Effects& e) { return c.try_lock(id, waiter, e); });
    } else {
      outcome = co_await t.lock(id, Patience::kMayCancel);
    }
    if (outcome == Outcome::kTimeout || outcome == Outcome::kWouldBlock) continue;
    m->world.require(sync::succeeded(outcome), "a lock that was neither granted nor given up");
    section.enter(t, outcome);
    while (!prng.one_in(3)) co_await t.pause();
    section.leave(t);
    outcome = co_await t.unlock(id);
    m->world.require(outcome == Outcome::kGranted, "unlock failed");
  }
}

struct Fairness {
  SyncWorld& world;
  SyncId mutex{};
  bool home_waits = false;
  NodeId last{};
  unsigned visits = 0;  // of the token at other nodes since the home asked
  unsigned done = 0;
};

Program compete(Thread& t, std::shared_ptr<Fairness> f, bool at_home, unsigned turns) {
  Prng& prng = f->world.prng();
  for (; turns > 0; --turns) {
    if (at_home) {
      f->home_waits = true;
      f->visits = 0;
    }
    (void)co_await t.lock(f->mutex);
    if (at_home) {
      f->home_waits = false;
    } else if (f->home_waits && (f->visits == 0 || f->last != t.node())) {
      f->last = t.node();
      f->world.require(++f->visits <= f->world.network().nodes(), "a waiting node was overtaken");
    }
    while (!prng.one_in(3)) co_await t.pause();
    (void)co_await t.unlock(f->mutex);
  }
}

struct SharedSection {
  SyncWorld& world;
  SyncId id{};
  std::multiset<NodeId> readers{};
  const Thread* writer = nullptr;
  NodeId writer_at{};
  bool writer_died = false;
};

Program read_and_write(Thread& t, std::shared_ptr<SharedSection> s, unsigned turns) {
  SyncWorld& world = s->world;
  Prng& prng = world.prng();
  const SyncId id = s->id;
  const WaiterId waiter = t.waiter();
  for (; turns > 0; --turns) {
    const LockMode mode = prng.one_in(3) ? LockMode::kExclusive : LockMode::kShared;
    Outcome outcome;
    if (prng.one_in(4)) {
      outcome = co_await t.call(id, [=](Core& c, Effects& e) { return c.try_rw_lock(id, mode, waiter, e); });
    } else {
      outcome = co_await t.call(
          id, [=](Core& c, Effects& e) { return c.rw_lock(id, mode, waiter, e); }, Patience::kMayCancel);
    }
    if (outcome == Outcome::kTimeout || outcome == Outcome::kWouldBlock) continue;
    world.require(sync::succeeded(outcome), "a shared lock that was neither granted nor given up");
    world.require(s->writer == nullptr, "somebody beside a writer");
    world.require(mode == LockMode::kShared || s->readers.empty(), "a writer beside readers");
    world.require(!s->writer_died || outcome == Outcome::kOwnerDied,
                  "the writer died inside and the next was not told");
    world.require(outcome != Outcome::kOwnerDied || world.deaths() > 0, "owner died without a death");
    if (mode == LockMode::kExclusive) {
      s->writer_died = false;  // told, and about to repair; if it dies as well, on_death says so
      s->writer = &t;
      s->writer_at = t.node();
    } else {
      s->readers.insert(t.node());
    }
    while (!prng.one_in(3)) co_await t.pause();
    if (mode == LockMode::kExclusive) {
      s->writer = nullptr;
    } else {
      s->readers.erase(s->readers.find(t.node()));
    }
    outcome = co_await t.call(id, [=](Core& c, Effects& e) { return c.rw_unlock(id, mode, e); });
    world.require(outcome == Outcome::kGranted, "unlock of a shared mutex failed");
  }
}

struct Buffer {
  SyncWorld& world;
  Section section;
  SyncId not_full{}, not_empty{};
  unsigned capacity = 0, filled = 0, produced = 0, consumed = 0, total = 0;
};

// Under the mutex: waits until ready() holds; false: it gave up because of a death, and still has the mutex.
#define WAIT_UNTIL(ready, condition)                                                                    \
  while (!(ready)) {                                                                                    \
    if (b->world.knows_of_death(t.node())) {                                                            \
      gave_up = true;                                                                                   \
      break;                                                                                            \
    }                                                                                                   \
    b->section.leave(t);                                                                                \
    const Outcome waited = co_await t.wait(condition, b->section.mutex, Patience::kMayCancel);          \
    b->world.require(waited != Outcome::kMismatch, "the mutex was not held");                           \
    b->world.require(waited != Outcome::kPeerLost || b->world.deaths() > 0, "peer lost without death"); \
    b->section.enter_again(t, waited);                                                                  \
  }

Program produce(Thread& t, std::shared_ptr<Buffer> b, unsigned items) {
  bool gave_up = false;
  for (; items > 0 && !gave_up; --items) {
    Outcome outcome = co_await t.lock(b->section.mutex);
    b->section.enter(t, outcome);
    WAIT_UNTIL(b->filled < b->capacity, b->not_full)
    if (!gave_up) {
      ++b->filled;
      ++b->produced;
    }
    const bool notify_inside = b->world.prng().one_in(2);
    if (notify_inside) (void)co_await t.notify(b->not_empty, Notify::kOne);
    b->section.leave(t);
    (void)co_await t.unlock(b->section.mutex);
    if (!notify_inside) (void)co_await t.notify(b->not_empty, Notify::kOne);
  }
}

Program consume(Thread& t, std::shared_ptr<Buffer> b) {
  bool gave_up = false;
  for (bool more = true; more && !gave_up;) {
    Outcome outcome = co_await t.lock(b->section.mutex);
    b->section.enter(t, outcome);
    WAIT_UNTIL(b->filled > 0 || b->consumed == b->total, b->not_empty)
    if (!gave_up && b->filled > 0) {
      --b->filled;
      ++b->consumed;
    }
    more = b->consumed < b->total;
    b->section.leave(t);
    (void)co_await t.unlock(b->section.mutex);
    (void)co_await t.notify(b->not_full, Notify::kOne);
    if (!more) (void)co_await t.notify(b->not_empty, Notify::kAll);
  }
}
#undef WAIT_UNTIL

struct Permits {
  SyncWorld& world;
  SyncId id{};
  std::uint32_t initial = 0;
  std::multiset<NodeId> out{};  // by node; those of the dead stay out
};

Program use_permits(Thread& t, std::shared_ptr<Permits> p, unsigned turns) {
  SyncWorld& world = p->world;
  Prng& prng = world.prng();
  const SyncId id = p->id;
  const std::uint32_t initial = p->initial;
  const WaiterId waiter = t.waiter();
  for (; turns > 0; --turns) {
    Outcome outcome;
    if (prng.one_in(4)) {
      outcome = co_await t.call(id, [=](Core& c, Effects& e) { return c.try_acquire(id, initial, waiter, e); });
    } else {
      outcome = co_await t.call(
          id, [=](Core& c, Effects& e) { return c.acquire(id, initial, waiter, e); }, Patience::kMayCancel);
    }
    if (outcome == Outcome::kTimeout || outcome == Outcome::kWouldBlock) continue;
    if (outcome == Outcome::kPeerLost) {
      world.require(world.deaths() > 0, "peer lost without a death");
      co_return;
    }
    world.require(outcome == Outcome::kGranted, "a permit that was neither granted nor given up");
    p->out.insert(t.node());
    world.require(p->out.size() <= initial, "more permits out than there are");
    while (!prng.one_in(3)) co_await t.pause();
    p->out.erase(p->out.find(t.node()));
    (void)co_await t.call(id, [=](Core& c, Effects& e) { return c.release(id, initial, 1, e); });
  }
}

struct Phases {
  SyncWorld& world;
  SyncId id{};
  std::uint32_t expected = 0;
  unsigned arrivals_left = 0;
  unsigned arrivals = 0, released = 0;
};

Program arrive_often(Thread& t, std::shared_ptr<Phases> b, unsigned own_phases) {
  SyncWorld& world = b->world;
  const SyncId id = b->id;
  const std::uint32_t expected = b->expected;
  const WaiterId waiter = t.waiter();
  // own_phases: 0: as long as there are arrivals left, whoever makes them; cancelled ones count as well.
  const bool whoever_comes = own_phases == 0;
  for (unsigned phase = 1; whoever_comes ? b->arrivals_left > 0 : phase <= own_phases; ++phase) {
    --b->arrivals_left;
    ++b->arrivals;
    const Outcome outcome = co_await t.call(
        id, [=](Core& c, Effects& e) { return c.arrive(id, expected, waiter, e); },
        whoever_comes ? Patience::kMayCancel : Patience::kEndless);
    if (outcome == Outcome::kPeerLost) {
      world.require(world.deaths() > 0, "peer lost without a death");
      co_return;
    }
    if (outcome == Outcome::kTimeout) continue;
    world.require(outcome == Outcome::kGranted, "a barrier that did not open");
    ++b->released;
    if (whoever_comes) {
      world.require(b->released <= b->arrivals / expected * expected, "released before the phase was full");
    } else {
      world.require(b->arrivals >= phase * expected, "released before all of this phase had come");
      world.require(b->arrivals <= (phase + 1) * expected, "a thread is two phases ahead");
    }
    while (!world.prng().one_in(3)) co_await t.pause();
  }
}

struct Gate {
  SyncWorld& world;
  SyncId id{};
  std::uint32_t expected = 0, counted = 0;
};

Program count_down(Thread& t, std::shared_ptr<Gate> g, std::uint32_t update) {
  while (!g->world.prng().one_in(8)) co_await t.pause();
  const SyncId id = g->id;
  const std::uint32_t expected = g->expected;
  g->counted += update;
  (void)co_await t.call(id, [=](Core& c, Effects& e) { return c.count_down(id, expected, update, e); });
}

Program wait_for_gate(Thread& t, std::shared_ptr<Gate> g) {
  SyncWorld& world = g->world;
  const SyncId id = g->id;
  const std::uint32_t expected = g->expected;
  const WaiterId waiter = t.waiter();
  for (;;) {
    const bool only_try = world.prng().one_in(3);
    const Outcome outcome = co_await t.call(
        id,
        [=](Core& c, Effects& e) {
          return only_try ? c.latch_try_wait(id, expected, waiter, e) : c.latch_wait(id, expected, waiter, e);
        },
        only_try ? Patience::kEndless : Patience::kMayCancel);
    if (outcome == Outcome::kGranted) {
      world.require(g->counted >= expected, "the latch opened too early");
      co_return;
    }
    if (outcome == Outcome::kPeerLost) {
      world.require(world.deaths() > 0, "peer lost without a death");
      co_return;
    }
    co_await t.pause();
    if (world.knows_of_death(t.node())) co_return;
  }
}

struct RunOnce {
  SyncWorld& world;
  SyncId id{};
  const Thread* running = nullptr;
  NodeId running_at{};
  bool done = false;  // and a live thread knows
  std::set<NodeId> knowing{};
};

Program call_once(Thread& t, std::shared_ptr<RunOnce> o) {
  SyncWorld& world = o->world;
  const SyncId id = o->id;
  const WaiterId waiter = t.waiter();
  for (;;) {
    while (!world.prng().one_in(3)) co_await t.pause();
    const Outcome outcome = co_await t.call(
        id, [=](Core& c, Effects& e) { return c.once_call(id, waiter, e); }, Patience::kMayCancel);
    if (outcome == Outcome::kTimeout) continue;
    if (outcome == Outcome::kGranted) {
      world.require(!o->knowing.empty() || world.deaths() > 0, "returned before the function had run");
      o->knowing.insert(t.node());
      co_return;
    }
    world.require(outcome == Outcome::kRun, "once: neither run nor done");
    world.require(o->running == nullptr, "the function runs twice at a time");
    world.require(o->knowing.empty(), "the function ran again");
    o->running = &t;
    o->running_at = t.node();
    while (!world.prng().one_in(3)) co_await t.pause();
    o->running = nullptr;
    const bool success = !world.prng().one_in(3);
    if (success) o->knowing.insert(t.node());
    (void)co_await t.call(id, [=](Core& c, Effects& e) { return c.once_end(id, success, e); });
    if (success) co_return;
  }
}

struct Meeting {
  SyncWorld& world;
  unsigned phases = 0;
  std::vector<unsigned> came{};  // by node: deaths it has acknowledged * 1000 + phase it has begun
  std::set<NodeId> finished{};
  bool over = false;
};

Program meet_often(Thread& t, std::shared_ptr<Meeting> m) {
  SyncWorld& world = m->world;
  const WaiterId waiter = t.waiter();
  unsigned acknowledged = 0;
  for (unsigned phase = 1;; ++phase) {
    bool lost = false;
    if (phase <= m->phases) {
      m->came[t.node().value] = acknowledged * 1000 + phase;
      const Outcome outcome = co_await t.call(SyncId{}, [=](Core& c, Effects& e) { return c.meet(waiter, e); });
      lost = outcome == Outcome::kPeerLost;
      world.require(lost ? world.deaths() > 0 : outcome == Outcome::kGranted, "meet failed without a death");
      for (std::uint16_t i = 0; i < world.network().nodes() && !lost; ++i) {
        const bool came = m->came[i] >= acknowledged * 1000 + phase;
        world.require(came || !world.alive(NodeId{i}), "met before all had come");
      }
    } else {
      m->finished.insert(t.node());
      while (!m->over && world.deaths() == acknowledged) {
        m->over = m->finished.size() == world.network().alive_count();
        co_await t.pause();
      }
      if (m->over) co_return;
      m->finished.erase(t.node());
      lost = true;
    }
    if (!lost) continue;
    // The survivors begin again: here, once all of them know of all deaths.
    for (std::uint16_t i = 0; i < world.network().nodes(); ++i) {
      while (world.alive(NodeId{i}) && world.core(NodeId{i}).known_deaths() < world.deaths()) co_await t.pause();
    }
    acknowledged = world.core(t.node()).known_deaths();
    world.core(t.node()).acknowledge_losses();
    phase = 0;
  }
}

}  // namespace

void add_mutex_threads(SyncWorld& world) {
  auto mutexes = make_state<Mutexes>(world);
  const std::uint64_t count = 1 + world.prng().below(3);
  for (std::uint64_t i = 1; i <= count; ++i) {
    mutexes->sections.push_back({.world = world, .mutex = random_object(world, i)});
  }
  world.on_death([mutexes](NodeId node) {
    for (Section& section : mutexes->sections) section.node_died(node);
  });
  const std::uint64_t threads = 3 + world.prng().below(8);
  for (std::uint64_t i = 0; i < threads; ++i) {
    world.add_thread(random_node(world), [&](Thread& t) { return use_mutexes(t, mutexes, 12); });
  }
}

void add_fairness_threads(SyncWorld& world) {
  auto fairness = make_state<Fairness>(world);
  const NodeId home = random_node(world);
  fairness->mutex = sync::unnamed_id(home, 77);
  world.add_thread(home, [&](Thread& t) { return compete(t, fairness, true, 10); });
  for (std::uint16_t i = 0; i < world.network().nodes(); ++i) {
    if (NodeId{i} == home) continue;
    for (int k = 0; k < 3; ++k) {
      world.add_thread(NodeId{i}, [&](Thread& t) { return compete(t, fairness, false, 15); });
    }
  }
}

void add_rw_threads(SyncWorld& world) {
  auto section = make_state<SharedSection>(world);
  section->id = random_object(world, 100);
  world.on_death([section](NodeId node) {
    section->readers.erase(node);
    if (section->writer == nullptr || section->writer_at != node) return;
    section->writer = nullptr;
    section->writer_died = true;
  });
  const std::uint64_t threads = 3 + world.prng().below(8);
  for (std::uint64_t i = 0; i < threads; ++i) {
    world.add_thread(random_node(world), [&](Thread& t) { return read_and_write(t, section, 12); });
  }
}

void add_buffer_threads(SyncWorld& world) {
  auto buffer = std::make_shared<Buffer>(Buffer{.world = world, .section = {.world = world}});
  buffer->section.mutex = random_object(world, 200);
  buffer->not_full = random_object(world, 201);
  buffer->not_empty = random_object(world, 202);
  buffer->capacity = static_cast<unsigned>(1 + world.prng().below(3));
  world.on_death([buffer](NodeId node) { buffer->section.node_died(node); });
  const std::uint64_t producers = 1 + world.prng().below(4), consumers = 1 + world.prng().below(4);
  constexpr unsigned kItems = 8;
  buffer->total = static_cast<unsigned>(producers) * kItems;
  for (std::uint64_t i = 0; i < producers; ++i) {
    world.add_thread(random_node(world), [&](Thread& t) { return produce(t, buffer, kItems); });
  }
  for (std::uint64_t i = 0; i < consumers; ++i) {
    world.add_thread(random_node(world), [&](Thread& t) { return consume(t, buffer); });
  }
}

void add_semaphore_threads(SyncWorld& world) {
  auto permits = make_state<Permits>(world);
  permits->id = random_object(world, 300);
  // When the home dies, or is about to hand it over, survivors that have used the semaphore know it to be lost; if
  // there are none, or they die before they have said so, it is as new.
  world.on_death([permits, &world](NodeId node) {
    if (world.core(node).home_of(permits->id) != node && !world.core(node).recovering()) return;
    std::erase_if(permits->out, [&world](NodeId holder) { return !world.alive(holder); });
  });
  permits->initial = static_cast<std::uint32_t>(1 + world.prng().below(3));
  for (int i = 0; i < 7; ++i) {
    world.add_thread(random_node(world), [&](Thread& t) { return use_permits(t, permits, 10); });
  }
}

void add_barrier_threads(SyncWorld& world) {
  auto phases = make_state<Phases>(world);
  phases->id = random_object(world, 400);
  phases->expected = static_cast<std::uint32_t>(1 + world.prng().below(6));
  const bool whoever_comes = world.prng().one_in(2);
  const std::uint64_t threads = phases->expected + (whoever_comes ? world.prng().below(4) : 0);
  const unsigned each = 8;
  phases->arrivals_left = phases->expected * each;
  for (std::uint64_t i = 0; i < threads; ++i) {
    world.add_thread(random_node(world), [&](Thread& t) { return arrive_often(t, phases, whoever_comes ? 0 : each); });
  }
}

void add_latch_threads(SyncWorld& world) {
  auto gate = make_state<Gate>(world);
  gate->id = random_object(world, 500);
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t update = static_cast<std::uint32_t>(1 + world.prng().below(3));
    gate->expected += update;
    world.add_thread(random_node(world), [&](Thread& t) { return count_down(t, gate, update); });
  }
  for (int i = 0; i < 4; ++i) {
    world.add_thread(random_node(world), [&](Thread& t) { return wait_for_gate(t, gate); });
  }
}

void add_once_threads(SyncWorld& world) {
  auto once = make_state<RunOnce>(world);
  once->id = random_object(world, 600);
  world.on_death([once](NodeId node) {
    once->knowing.erase(node);
    if (once->running != nullptr && once->running_at == node) once->running = nullptr;
  });
  for (int i = 0; i < 6; ++i) {
    world.add_thread(random_node(world), [&](Thread& t) { return call_once(t, once); });
  }
}

void add_meet_threads(SyncWorld& world) {
  auto meeting = make_state<Meeting>(world);
  meeting->phases = 5;
  meeting->came.resize(world.network().nodes());
  world.on_death([meeting](NodeId node) { meeting->finished.erase(node); });
  for (std::uint16_t i = 0; i < world.network().nodes(); ++i) {
    world.add_thread(NodeId{i}, [&](Thread& t) { return meet_often(t, meeting); });
  }
}

}  // namespace gallocy::sim
