// CoherenceCluster: the cores of several nodes with simulated page frames, program views and network, all in one
// thread. It has no will of its own: a scheduler, an explorer or a scenario says which event comes next (a fault, a
// delivery, a tick, a death), and the cluster carries out the effects as effects.h asks for.
//
// What it checks, apart from the code under test, at every step (a violation is a failed CHECK)
// 1. One node's program view is writable, or several are readable, never both.
// 2. A page becomes accessible only with the bytes that were written last, and every access sees those: the accesses of
//    all threads, each at one point in time, are sequentially consistent word by word because there is one shadow copy.
// 3. Each kProtect names the present protection; a discarded frame is not mapped; a pinned page keeps its access.
// 4. No message is refused; every core's own invariants hold; no table grows without end.
// 5. A page is declared lost only if it may have been lost with a node.
// check_rest() adds what must hold once nothing is under way.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "coherence/core.h"
#include "network.h"

namespace gallocy::sim {

// The protocol never looks inside a page, so a simulated one has only a few words.
inline constexpr unsigned kPageWords = 8;
using PageWords = std::array<std::uint64_t, kPageWords>;

struct CoherenceMessage {
  wire::MessageType type{};
  wire::PageMessage body{};
  std::vector<coherence::DirectoryEntry> tail;
  std::vector<PageWords> payload;
};
std::uint64_t digest(const CoherenceMessage& message);
std::string_view name_of(wire::MessageType type);
std::string describe(const CoherenceMessage& message);
std::string describe(coherence::PageSet pages);  // "0-3,7"

// Bugs that a driver could have; the checkers must find each one (coherence_mutant_test.cc).
enum class Mutant : std::uint8_t {
  kNone,
  kSendBeforeProtect,  // a page is still accessible when the message that gives it away leaves
  kNeverProtect,       // access is never taken away
  kDropPayload,        // bytes do not reach the frame
  kPlaceEverything,    // bytes are received into frames whose core did not want them
  kLatePayload,        // bytes are read when the message arrives, not when it was sent
  kMapBeforeBytes,     // pages become accessible before the payload is in the frame
  kReorder,            // two messages between the same nodes change places
  kRepeat,             // a message is delivered twice
  kDropMessage,        // a message never arrives
  kDropWake,           // a waiting thread is not woken
  kDropAck,            // the home goes on before a reader has dropped its copy (the ack is forged)
  kGrantMore,          // a read grant arrives as a write grant
  kForgetTick,         // deferred messages are never looked at again
  kDiscardMore,        // a frame in use goes back to the kernel
  kLeaveUnannounced,   // a node leaves without having said before that it will
};

// What a scheduler wants to hear of.
class CoherenceObserver {
 public:
  virtual ~CoherenceObserver() = default;
  virtual void sent(NodeId, NodeId) {}
  virtual bool linked(NodeId, NodeId) { return true; }  // else what one sends the other is lost
  virtual void woken(NodeId, BlockId, coherence::PageSet) {}
  virtual void lost(NodeId, BlockId, coherence::PageSet) {}
  virtual void home_moved(NodeId, BlockId) {}
  virtual void trace(std::string_view) {}
};

class CoherenceCluster {
 public:
  struct Options {
    std::vector<coherence::Options> nodes;
    std::vector<coherence::RegionSpec> regions;
    std::uint64_t seed = 1;
    Mutant mutant = Mutant::kNone;
    bool trace = false;
    bool check_every_page = true;  // after each step; else a sample of the steps
    bool homes_given = false;      // nodes are told at random to give homes away
    bool locks = false;            // pages seem to have locks that are held, and are frozen for a while, at random
    // Of clusters that grow: how many nodes and pages there may be. The others come by start() and add_region().
    std::uint16_t most_nodes = 0;
    std::uint64_t most_pages = 0;
  };
  CoherenceCluster(const Options& options, CoherenceObserver& observer);

  // Makes this a copy of another cluster that was made with the same options.
  void copy_from(const CoherenceCluster& other);

  std::uint64_t now() const { return now_; }
  void advance_to(std::uint64_t now) { now_ = now; }

  // A thread's access: allowed by the program view, or a fault.
  bool may(NodeId node, PageId page, Access want) const { return view(node, page) >= want; }
  std::uint64_t read(NodeId node, PageId page, unsigned word);
  void write(NodeId node, PageId page, unsigned word, std::uint64_t value);
  coherence::FaultOutcome fault(NodeId node, PageId page, Access want, std::uint64_t hold_us = 0);
  void about_to_access(NodeId node, PageId page, std::uint64_t hold_us);
  void pin(NodeId node, PageId page, Access access);
  void unpin(NodeId node, PageId page);
  // What the core finds when it looks for a lock in the page; unlock() also tells it.
  void lock(NodeId node, PageId page) { nodes_[node.value]->memory.locks.insert(page); }
  void unlock(NodeId node, PageId page);
  void freeze(NodeId node, PageId page);
  void thaw(NodeId node, PageId page);
  void give_home(NodeId node, BlockId block, NodeId to);

  // The bytes of the oldest message from one node to another begin to be received: they are placed, and the core hears
  // of the message itself only with deliver(), as in a transport that reads a frame piece by piece. False: it has no
  // bytes, or they are placed already.
  bool begin_receiving(NodeId from, NodeId to);
  // The oldest message from one node to another, or the news that `from` died.
  void deliver(NodeId from, NodeId to);
  void tick(NodeId node);
  void home_hint(NodeId node, BlockId block, NodeId home);
  void announce_room(NodeId node, bool has_any = true);  // to all others, at once
  // The node stops now; `surviving(to, in_flight)` of its messages still arrive.
  template <typename Surviving>
  void crash(NodeId node, Surviving surviving) {
    stop(node, surviving);
    network_.tell_of_end(node);
  }

  // In a cluster whose members are in a log each node learns of what becomes of others when its own log says so.
  void start(NodeId node, const coherence::Options& options);
  void add_region(NodeId node, const coherence::RegionSpec& region);
  void node_joined(NodeId node, NodeId other) { nodes_[node.value]->core->node_joined(other); }
  void node_died(NodeId node, NodeId dead);
  // The log has it dead, whether it knows that or not. Some go on without it: what it has read may be old from now on,
  // and what only it has is lost.
  void supersede(NodeId node);
  bool superseded(NodeId node) const { return superseded_[node.value]; }
  // It stops now, and nobody learns of it here.
  template <typename Surviving>
  void stop(NodeId node, Surviving surviving) {
    note_crash(node);
    network_.silence(node, [&](NodeId to, std::size_t in_flight) {
      const std::size_t kept = surviving(to, in_flight);
      note_cut(node, to, kept);
      return kept;
    });
    note_what_is_gone(node);
  }
  // The oldest message from one node to another does not arrive: their connection is lost.
  void drop(NodeId from, NodeId to);

  // Leaving in order: the steps of coherence::Core. The last: the others learn that it has gone, when all it sent them
  // has arrived. Nothing may be lost by it.
  std::vector<BlockId> blocks_kept(NodeId node) { return nodes_[node.value]->core->blocks_kept(); }
  void give_up(NodeId node, BlockId block, NodeId heir);
  void keep_untouched(NodeId node) { nodes_[node.value]->core->keep_untouched(); }
  std::vector<std::pair<BlockId, NodeId>> given_homes(NodeId node) { return nodes_[node.value]->core->given_homes(); }
  void home_given(NodeId node, BlockId block, NodeId from, NodeId to);
  void anchors_are(NodeId node, PageId first_page, const std::vector<NodeId>& anchors);
  void node_leaves(NodeId node, NodeId leaver, bool leaves = true) {
    nodes_[node.value]->core->node_leaves(leaver, leaves);
  }
  void give_untouched(NodeId node);  // it stays
  void leave(NodeId node);
  void retire(NodeId node);  // the same, but nobody learns of it here

  // After everything has come to rest: directory and nodes agree, nothing is left over.
  void check_rest();

  std::uint16_t count() const { return static_cast<std::uint16_t>(nodes_.size()); }
  bool alive(NodeId node) const { return nodes_[node.value] != nullptr && network_.alive(node); }
  const coherence::Core& core(NodeId node) const { return *nodes_[node.value]->core; }
  const Network<CoherenceMessage>& network() const { return network_; }
  std::uint64_t digest() const;  // of everything that decides what happens next
  std::uint64_t latest(PageId page, unsigned word) const { return latest_[page.value][word]; }
  std::uint64_t pages() const { return latest_.size(); }
  const Options& options() const { return options_; }

 private:
  class Memory final : public coherence::Frames {
   public:
    explicit Memory(std::size_t pages) : frames(pages), view(pages, Access::kNone) {}
    std::uint64_t checksum(PageId page) override;
    bool locked(PageId page) override;
    std::vector<PageWords> frames;
    std::vector<Access> view;  // the protection of the program view
    std::unordered_set<PageId> locks;
    std::optional<Prng> random_locks;
  };
  struct Pinned {
    unsigned count = 0;
    Access access = Access::kNone;
  };
  struct Node {
    explicit Node(std::size_t pages) : memory(pages) {}
    Memory memory;
    std::unique_ptr<coherence::Core> core;
    std::unordered_map<PageId, Pinned> pinned;
    std::unordered_multiset<PageId> frozen;
    std::vector<coherence::Effect> late;                      // kSendBeforeProtect: protections not carried out yet
    std::vector<std::pair<NodeId, CoherenceMessage>> parked;  // about regions that it does not know yet
  };

  bool counts(NodeId node) const { return alive(node) && !superseded(node); }
  bool may_be_old(NodeId node, Access access) const { return superseded(node) && access == Access::kRead; }
  Access view(NodeId node, PageId page) const { return nodes_[node.value]->memory.view[page.value]; }
  PageWords& frame(NodeId node, PageId page) { return nodes_[node.value]->memory.frames[page.value]; }
  // Runs one event of a core and carries out what it asks for.
  template <typename Event>
  void step(NodeId node, Event event);
  void carry_out(NodeId node, coherence::Effects& effects);
  void protect(NodeId node, const coherence::Effect& effect);
  void send(NodeId node, const coherence::Effect& effect, const coherence::Effects& effects);
  void discard(NodeId node, const coherence::Effect& effect);
  void receive(NodeId from, NodeId to, CoherenceMessage message);
  coherence::PageSet wanted_of(NodeId from, NodeId to, const CoherenceMessage& message);
  void place(NodeId to, const CoherenceMessage& message, coherence::PageSet wanted);
  static bool holds(const coherence::Core& core, PageId page);
  void check_lost(NodeId node, BlockId block, coherence::PageSet pages);
  void check_block(BlockId block);
  void check_page_at_rest(PageId page, NodeId home);
  void note_end(NodeId node);
  void note_crash(NodeId node);
  void note_cut(NodeId from, NodeId to, std::size_t kept);
  void note_what_is_gone(NodeId node);
  void note_sent_to_the_dead(const wire::MessageType type, const wire::PageMessage& m);
  bool chance(std::uint64_t one_in) { return prng_.one_in(one_in); }  // of a mutant
  template <typename Line>
  void trace(Line line) {
    if (options_.trace) observer_.trace(line());
  }

  Options options_;
  CoherenceObserver& observer_;
  Prng prng_;
  std::uint64_t now_ = 0;
  Network<CoherenceMessage> network_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<PageWords> latest_;            // what was written last
  std::vector<bool> receiving_;              // by pair: begin_receiving() was called for the oldest message
  std::vector<bool> superseded_;             // by node
  std::vector<bool> in_region_;              // by block
  std::vector<std::set<NodeId>> ever_home_;  // by block
  std::vector<bool> may_be_lost_;            // by page: its only copy was, or may have been, with a node that died
  std::uint64_t steps_ = 0;
};

}  // namespace gallocy::sim
