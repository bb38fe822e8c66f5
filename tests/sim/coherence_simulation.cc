#include "coherence_simulation.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "base/check.h"

namespace gallocy::sim {

using coherence::FaultOutcome;

CoherenceSimulation::CoherenceSimulation(const Options& options)
    : options_(options),
      prng_(options.seed),
      cluster_(options.cluster, *this),
      last_arrival_(options.cluster.nodes.size() * options.cluster.nodes.size()),
      tick_at_(options.cluster.nodes.size(), ~std::uint64_t{0}),
      log_applied_(options.cluster.nodes.size()),
      leaving_(options.cluster.nodes.size()),
      delivered_(last_arrival_.size()),
      farewell_(last_arrival_.size()),
      leaves_at_(options.cluster.nodes.size()) {
  for (const auto& region : options.cluster.regions) {
    std::vector<NodeId> anchors{region.node};
    if (region.placement != coherence::PlacementKind::kNode) anchors = all_nodes();
    anchors_.push_back(std::move(anchors));
  }
}

std::vector<NodeId> CoherenceSimulation::all_nodes() const {
  std::vector<NodeId> nodes;
  for (std::uint16_t n = 0; n < cluster_.count(); ++n) nodes.push_back(NodeId{n});
  return nodes;
}

void CoherenceSimulation::add_thread(NodeId node, Program program) {
  threads_.push_back({.node = node, .program = std::move(program)});
  stepping_.push_back(true);
  Thread& thread = threads_.back();
  if (!thread.program.resume({})) thread.state = Thread::State::kEnded;
  at(think(), Event::Kind::kStep, static_cast<unsigned>(threads_.size() - 1));
}

void CoherenceSimulation::crash_at(std::uint64_t us, NodeId node) { at(us, Event::Kind::kCrash, node.value); }

void CoherenceSimulation::at(std::uint64_t time, Event::Kind kind, unsigned a, unsigned b) {
  room_events_ += kind == Event::Kind::kRoom ? 1 : 0;
  events_left_.push({.time = time, .order = order_++, .kind = kind, .a = a, .b = b});
}

void CoherenceSimulation::run() {
  if (options_.announce_room) {
    for (unsigned n = 0; n < cluster_.count(); ++n) {
      cluster_.announce_room(NodeId{static_cast<std::uint16_t>(n)});
      at(1, Event::Kind::kRoom, n);
    }
  }
  while (!events_left_.empty()) {
    const Event event = events_left_.top();
    events_left_.pop();
    cluster_.advance_to(event.time);
    CHECK(++events_ < kMostEvents, "it never ends");
    if (events_ % 1024 == 0) check_nobody_waits_too_long();
    happen(event);
  }
  for (const Thread& thread : threads_) {
    if (!cluster_.alive(thread.node)) continue;
    CHECK(thread.state == Thread::State::kEnded, "a thread waits for ever", thread.node,
          cluster_.core(thread.node).describe(thread.waits_for));
    threads_lost_ += thread.lost ? 1 : 0;
  }
  cluster_.check_rest();
}

void CoherenceSimulation::check_nobody_waits_too_long() const {
  for (const Thread& thread : threads_) {
    if (thread.state != Thread::State::kWaiting || !cluster_.alive(thread.node)) continue;
    CHECK(cluster_.now() - thread.since < kLongestWaitUs, "waits too long", thread.node,
          cluster_.core(thread.node).describe(thread.waits_for));
  }
}

void CoherenceSimulation::happen(const Event& event) {
  const NodeId a{static_cast<std::uint16_t>(event.a)}, b{static_cast<std::uint16_t>(event.b)};
  digest_ = mix(digest_, event.time ^ event.a << 20 ^ event.b << 10 ^ static_cast<unsigned>(event.kind));
  switch (event.kind) {
    case Event::Kind::kDeliver:
      if (cluster_.network().pending(a, b) == 0) return;  // cut off by a death
      if (options_.cluster.mutant == Mutant::kNone && prng_.one_in(2) && cluster_.begin_receiving(a, b)) {
        at(event.time + prng_.below(20), Event::Kind::kDeliver, event.a, event.b);
        return;
      }
      deliver(a, b);
      schedule_tick(b);
      break;
    case Event::Kind::kStep:
      stepping_[event.a] = false;
      step(event.a);
      if (options_.cluster.locks && cluster_.alive(threads_[event.a].node) && prng_.one_in(4))
        cluster_.unlock(threads_[event.a].node, threads_[event.a].waits_for);
      if (options_.cluster.locks && prng_.one_in(16)) freeze_for_a_while(event.a);
      if (options_.cluster.homes_given && prng_.one_in(16)) give_some_home(event.a);
      schedule_tick(threads_[event.a].node);
      break;
    case Event::Kind::kTick:
      if (tick_at_[event.a] != event.time) return;
      tick_at_[event.a] = ~std::uint64_t{0};
      if (cluster_.alive(a) && cluster_.core(a).next_deadline() <= event.time) cluster_.tick(a);
      schedule_tick(a);
      break;
    case Event::Kind::kCrash:
      if (!cluster_.alive(a) || cluster_.network().alive_count() == 1) return;
      cluster_.crash(a, [this](NodeId, std::size_t in_flight) { return prng_.below(in_flight + 1); });
      for (unsigned n = 0; n < cluster_.count(); ++n) {
        const auto arrival = std::max(last_arrival_[event.a * cluster_.count() + n], event.time) + prng_.below(200);
        at(arrival, Event::Kind::kDeliver, event.a, n);
      }
      break;
    case Event::Kind::kRoom:
      if (--room_events_ >= events_left_.size()) return;  // nothing else is left to happen
      if (cluster_.alive(a)) cluster_.announce_room(a, leaving_[event.a] == Leaving::kNot);
      at(event.time + 50 + prng_.below(500), Event::Kind::kRoom, event.a);
      break;
    case Event::Kind::kThaw: {
      const auto [node, page] = frozen_[event.a];
      if (cluster_.alive(node)) cluster_.thaw(node, page);
      schedule_tick(node);
      break;
    }
    case Event::Kind::kLog: {
      const LogEntry entry = log_[log_applied_[event.a]++];
      if (cluster_.alive(a)) apply(a, entry);
      schedule_tick(a);
      break;
    }
    case Event::Kind::kLeave:
      if (!cluster_.alive(a) || leaving_[event.a] == Leaving::kGone) return;
      if (leaving_[event.a] == Leaving::kNot && heirs(a).empty()) return;  // the others were faster: it stays
      go_on_leaving(a);
      schedule_tick(a);
      if (cluster_.alive(a)) at(event.time + 20 + prng_.below(100), Event::Kind::kLeave, event.a);
      break;
  }
}

// After a death the driver tells the core again what the log says, because what the core knew better may be dead now.
void CoherenceSimulation::deliver(NodeId from, NodeId to) {
  const bool death = !cluster_.network().in_flight(from, to).front();
  cluster_.deliver(from, to);
  ++delivered_[std::size_t{from.value} * cluster_.count() + to.value];
  if (!death) return;
  std::map<BlockId, NodeId> homes;
  for (std::size_t i = 0; i < log_applied_[to.value]; ++i) {
    if (log_[i].home != kNoNode) homes[log_[i].block] = log_[i].home;
  }
  for (const auto& [block, home] : homes) cluster_.home_hint(to, block, home);
}

void CoherenceSimulation::schedule_tick(NodeId node) {
  const std::uint64_t deadline = cluster_.core(node).next_deadline();
  if (!cluster_.alive(node) || deadline == ~std::uint64_t{0}) return;
  if (tick_at_[node.value] != ~std::uint64_t{0} && tick_at_[node.value] <= std::max(deadline, cluster_.now()) + 20)
    return;
  tick_at_[node.value] = std::max(deadline, cluster_.now()) + prng_.below(20);
  at(tick_at_[node.value], Event::Kind::kTick, node.value);
}

// A page that a thread has waited for, on any node.
void CoherenceSimulation::freeze_for_a_while(unsigned thread) {
  const NodeId node{static_cast<std::uint16_t>(prng_.below(cluster_.count()))};
  const PageId page = threads_[thread].waits_for;
  if (!cluster_.alive(node) || !cluster_.core(node).knows(block_of(page))) return;
  cluster_.freeze(node, page);
  frozen_.emplace_back(node, page);
  at(cluster_.now() + prng_.below(300), Event::Kind::kThaw, static_cast<unsigned>(frozen_.size() - 1));
}

// As a program's memory policy does: all nodes are told, and one of them may be the home.
void CoherenceSimulation::give_some_home(unsigned thread) {
  const BlockId block = block_of(threads_[thread].waits_for);
  const NodeId to{static_cast<std::uint16_t>(prng_.below(cluster_.count()))};
  if (leaving_[to.value] != Leaving::kNot) return;  // its program has ended, and chooses no homes any more
  for (std::uint16_t n = 0; n < cluster_.count(); ++n) {
    const NodeId node{n};
    if (!cluster_.alive(node)) continue;
    cluster_.give_home(node, block, to);
    schedule_tick(node);
  }
}

// ---------------------------------------------------------------------------------------------- threads

void CoherenceSimulation::step(unsigned index) {
  Thread& thread = threads_[index];
  if (!cluster_.alive(thread.node) || thread.state == Thread::State::kEnded) return;
  thread.state = Thread::State::kReady;
  if (thread.attempts == 0) thread.since = cluster_.now();
  const Operation& o = thread.program.operation();
  if (thread.attempts != 0 && options_.timing.announced_us != 0)
    cluster_.about_to_access(thread.node, o.address.page, options_.timing.announced_us);
  if (o.kind == Operation::Kind::kPause) {
    finish(thread, index, {});
  } else if (o.kind == Operation::Kind::kUnpin) {
    cluster_.unpin(thread.node, o.address.page);
    finish(thread, index, {});
  } else if (cluster_.may(thread.node, o.address.page, o.access)) {
    access(thread, index);
  } else {
    fault(thread, index, o.address.page);
  }
}

// One instruction: it happens at one point in time.
void CoherenceSimulation::access(Thread& thread, unsigned index) {
  const Operation& o = thread.program.operation();
  const auto [page, word] = o.address;
  ++accesses_;
  if (o.kind == Operation::Kind::kPin) {
    cluster_.pin(thread.node, page, o.access);
    return finish(thread, index, {});
  }
  OperationResult result;
  if (o.kind != Operation::Kind::kWrite) result.value = cluster_.read(thread.node, page, word);
  if (o.kind == Operation::Kind::kWrite) cluster_.write(thread.node, page, word, o.value);
  if (o.kind == Operation::Kind::kAdd) cluster_.write(thread.node, page, word, result.value + o.value);
  if (o.kind == Operation::Kind::kCompareSwap && result.value == o.expected)
    cluster_.write(thread.node, page, word, o.value);
  finish(thread, index, result);
}

void CoherenceSimulation::fault(Thread& thread, unsigned index, PageId page) {
  const Operation o = thread.program.operation();
  const std::uint64_t waited = cluster_.now() - thread.since;
  CHECK(waited < kLongestWaitUs, "starved", thread.node, page, thread.attempts);
  // As the runtime does: a thread that lost the page several times asks for a longer hold.
  const std::uint64_t hold_us = thread.attempts < 3 ? 0 : std::uint64_t{20} << std::min(thread.attempts, 8u);
  most_attempts_ = std::max(most_attempts_, ++thread.attempts);
  thread.waits_for = page;
  thread.state = Thread::State::kWaiting;  // before the effects are carried out: they may wake it
  switch (cluster_.fault(thread.node, page, o.access, hold_us)) {
    case FaultOutcome::kResolved:
      thread.state = Thread::State::kReady;
      if (!stepping_[index]) at(cluster_.now() + wake_delay(), Event::Kind::kStep, index);
      stepping_[index] = true;
      break;
    case FaultOutcome::kPending:
      break;
    case FaultOutcome::kLost:
      thread.lost = true;
      finish(thread, index, {.lost = true});
      break;
  }
}

void CoherenceSimulation::finish(Thread& thread, unsigned index, OperationResult result) {
  const std::uint64_t waited = cluster_.now() - thread.since;
  longest_wait_us_ = std::max(longest_wait_us_, waited);
  digest_ = mix(digest_, result.value);
  const std::uint64_t pause =
      thread.program.operation().kind == Operation::Kind::kPause ? thread.program.operation().value : 0;
  thread.attempts = 0;
  thread.state = Thread::State::kReady;
  if (!thread.program.resume(result)) {
    thread.state = Thread::State::kEnded;
    return;
  }
  stepping_[index] = true;
  at(cluster_.now() + pause + think(), Event::Kind::kStep, index);
}

std::uint64_t CoherenceSimulation::wake_delay() {
  const Timing& t = options_.timing;
  if (t.preempted_one_in != 0 && prng_.one_in(t.preempted_one_in)) return prng_.below(1000);
  return prng_.below(t.wake_us + 1);
}

// ---------------------------------------------------------------------------------------------- what the cluster tells

void CoherenceSimulation::sent(NodeId from, NodeId to) {
  const Timing& t = options_.timing;
  std::uint64_t delay = t.delay_us + prng_.below(t.jitter_us + 1);
  if (t.slow_one_in != 0 && prng_.one_in(t.slow_one_in)) delay *= 1 + prng_.below(20);
  std::uint64_t& last = last_arrival_[std::size_t{from.value} * cluster_.count() + to.value];
  last = std::max(last, cluster_.now() + delay);
  at(last, Event::Kind::kDeliver, from.value, to.value);
}

void CoherenceSimulation::woken(NodeId node, BlockId block, coherence::PageSet pages) {
  for (unsigned i = 0; i < threads_.size(); ++i) {
    Thread& thread = threads_[i];
    const PageId page = thread.waits_for;
    if (thread.node != node || thread.state != Thread::State::kWaiting || block_of(page) != block ||
        !coherence::contains(pages, index_in_block(page)))
      continue;
    thread.state = Thread::State::kReady;
    stepping_[i] = true;
    at(cluster_.now() + wake_delay(), Event::Kind::kStep, i);
  }
}

// Faulting again tells the thread that the page is lost.
void CoherenceSimulation::lost(NodeId node, BlockId block, coherence::PageSet pages) { woken(node, block, pages); }

void CoherenceSimulation::home_moved(NodeId node, BlockId block) { write({.block = block, .home = node}); }

void CoherenceSimulation::write(LogEntry entry) {
  log_.push_back(std::move(entry));
  for (unsigned n = 0; n < cluster_.count(); ++n) at(cluster_.now() + 100 + prng_.below(1000), Event::Kind::kLog, n);
}

void CoherenceSimulation::apply(NodeId node, const LogEntry& entry) {
  if (entry.giver != kNoNode) cluster_.home_given(node, entry.block, entry.giver, entry.home);
  if (entry.home != kNoNode) cluster_.home_hint(node, entry.block, entry.home);
  if (entry.leaver != kNoNode && entry.leaver != node) {
    const std::size_t pair = std::size_t{node.value} * cluster_.count() + entry.leaver.value;
    farewell_[pair] = delivered_[pair] + cluster_.network().pending(node, entry.leaver);
    cluster_.node_leaves(node, entry.leaver);
  }
  if (entry.leaver != node) follow_anchors(node, entry.anchors);
}

void CoherenceSimulation::follow_anchors(NodeId node, const std::vector<std::vector<NodeId>>& anchors) {
  for (std::size_t i = 0; i < anchors.size(); ++i)
    cluster_.anchors_are(node, options_.cluster.regions[i].first_page, anchors[i]);
}

// ---------------------------------------------------------------------------------------------- leaving

bool CoherenceSimulation::threads_have_ended(NodeId node) const {
  return std::ranges::none_of(
      threads_, [&](const Thread& thread) { return thread.node == node && thread.state != Thread::State::kEnded; });
}

std::vector<NodeId> CoherenceSimulation::heirs(NodeId node) const {
  std::vector<NodeId> nodes;
  for (const NodeId other : all_nodes()) {
    if (other != node && cluster_.alive(other) && leaving_[other.value] == Leaving::kNot) nodes.push_back(other);
  }
  return nodes;
}

// As the runtime's Steward does it, a step at a time.
void CoherenceSimulation::go_on_leaving(NodeId node) {
  Leaving& phase = leaving_[node.value];
  if (phase == Leaving::kNot) {
    const Mutant mutant = options_.cluster.mutant;
    if (!threads_have_ended(node) || somebody_leaves()) return;
    leaves_at_[node.value] = log_.size();
    if (mutant != Mutant::kLeaveUnannounced) write({.leaver = node});
    phase = mutant == Mutant::kLeaveUnannounced ? Leaving::kDrains : Leaving::kAnnounced;
  }
  if (phase == Leaving::kAnnounced) {
    if (!all_know_up_to(node, leaves_at_[node.value]) || !has_seen_off_all(node)) return;
    phase = Leaving::kDrains;
  }
  const auto to = heirs(node);
  const auto kept = cluster_.blocks_kept(node);
  for (const BlockId block : kept) cluster_.give_up(node, block, to[prng_.below(to.size())]);
  if (!kept.empty()) return;
  if (phase == Leaving::kDrains) {
    cluster_.keep_untouched(node);
    phase = Leaving::kKeepsUntouched;
  } else if (phase == Leaving::kKeepsUntouched) {
    say_it_leaves(node);
    phase = Leaving::kSaysSo;
  } else if (all_know_up_to(node, leaves_at_[node.value])) {
    follow_anchors(node, anchors_);
    phase = Leaving::kGone;
    ++nodes_left_;
    cluster_.leave(node);
    for (unsigned n = 0; n < cluster_.count(); ++n) {
      const auto last = last_arrival_[std::size_t{node.value} * cluster_.count() + n];
      at(std::max(last, cluster_.now()) + prng_.below(200), Event::Kind::kDeliver, node.value, n);
    }
  }
}

bool CoherenceSimulation::somebody_leaves() const {
  return std::ranges::any_of(all_nodes(), [&](NodeId node) {
    const Leaving phase = leaving_[node.value];
    return cluster_.alive(node) && phase != Leaving::kNot && phase != Leaving::kGone;
  });
}

// All others have that entry of the log and say so. Messages keep their order, so what they sent the node before has
// arrived.
bool CoherenceSimulation::all_know_up_to(NodeId node, std::size_t entry) const {
  return std::ranges::all_of(all_nodes(), [&](NodeId other) {
    if (!cluster_.alive(other)) return true;
    const std::size_t pair = std::size_t{other.value} * cluster_.count() + node.value;
    return log_applied_[other.value] > entry && delivered_[pair] >= farewell_[pair];
  });
}

// What those who have left before sent to the node has arrived, and so has the end of their connections.
bool CoherenceSimulation::has_seen_off_all(NodeId node) const {
  return std::ranges::all_of(all_nodes(), [&](NodeId other) {
    return leaving_[other.value] != Leaving::kGone || cluster_.network().pending(other, node) == 0;
  });
}

void CoherenceSimulation::say_it_leaves(NodeId node) {
  for (const auto& [block, home] : cluster_.given_homes(node)) write({.block = block, .home = home, .giver = node});
  const NodeId heir = heirs(node).front();
  for (auto& anchors : anchors_) std::ranges::replace(anchors, node, heir);
  leaves_at_[node.value] = log_.size();
  write({.leaver = node, .anchors = anchors_});
}

void CoherenceSimulation::trace(std::string_view line) {
  std::fprintf(stderr, "%8llu %.*s\n", static_cast<unsigned long long>(cluster_.now()), static_cast<int>(line.size()),
               line.data());
}

}  // namespace gallocy::sim
