// Steward: a node's part in an open cluster beside its daily work: how it gets in, whom it lets in, what it tells
// visitors, how it leaves in order. docs/protocol.md, "Joining" and "Leaving", tells the whole.
//
// Files: steward.cc; steward_leave.cc (how it leaves).
//
// Threads: enter(), settle_in() and leave() by the thread that made the Runtime; receive() by those of visits; the rest
// by any.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/open_cluster.h"
#include "net/visit.h"
#include "os/mutex.h"
#include "runtime/waiting.h"
#include "vmm/admission.h"

namespace gallocy::runtime {

class Runtime;

class Steward {
 public:
  Steward(Runtime& runtime, net::OpenCluster cluster) : runtime_(runtime), cluster_(std::move(cluster)) {}

  // Listens. With a contact: is admitted by the log, through it, and gets links to all members.
  Result<std::unique_ptr<net::Mesh>> enter(net::MeshOptions options);
  // After enter().
  NodeId self() const { return place_.node; }
  bool founds() const { return !cluster_.contact; }
  std::uint64_t life() const { return place_.life; }
  std::vector<NodeId> others() const;
  const std::vector<vmm::Peer>& peers() const { return place_.peers; }
  const std::string& address() const { return address_; }

  // The loop runs. Returns when all members have taken this node in: from then on it may speak of itself.
  Result<> await_welcome();
  // It failed because a member died or left meanwhile, or could not be reached, which may be the same: another attempt
  // may well succeed, as another newcomer.
  bool came_at_a_bad_moment() const { return bad_moment_; }
  // The node is a member: lets others in.
  void open_door();

  // What the poller hears.
  void welcomed_by(NodeId node);
  void farewell_of(NodeId node, LogIndex at);
  void gone(NodeId node);  // dead, or has left

  // Everything that others may need moves to them. On failure this node is a member as before.
  Result<> leave();

  // Whether visitors may ask this node to leave: somebody waits for `asked`. Their answer is what has_left() says.
  void may_be_asked_to_leave(std::function<void()> asked);
  void has_left(const Result<>& outcome);  // returns when they have it

 private:
  // An answer that is waited for from each of some nodes: that it knows the log up to some entry. It may come before it
  // is expected.
  class RollCall {
   public:
    void expect(std::vector<NodeId> nodes, LogIndex at);
    void answered(NodeId node, LogIndex at);  // or gone
    WaitFlag& all_here() { return all_here_; }
    std::vector<NodeId> missing();

   private:
    void look() REQUIRES(mu_);

    os::Mutex mu_;
    std::map<NodeId, LogIndex> answers_ GUARDED_BY(mu_);  // the latest
    std::vector<NodeId> missing_ GUARDED_BY(mu_);
    std::optional<LogIndex> at_ GUARDED_BY(mu_);  // expected
    WaitFlag all_here_;
  };

  Result<vmm::Admitted> ask_to_be_admitted(const net::PeerAddress& mine);
  void receive(net::Visit& visit);
  void admit(net::Visit& visit, std::span<const std::byte> wish);
  void see_off(net::Visit& visit, std::span<const std::byte> request);
  Result<> ask_to_leave(NodeId node);
  std::string status();
  std::vector<NodeId> heirs();
  Result<> give_locks_back();
  Result<> await_release();
  Result<> give_everything_up();
  Result<> drain(LogIndex announced);
  Result<> await_farewells(LogIndex at);
  Result<> see_off_all();

  Runtime& runtime_;
  net::OpenCluster cluster_;
  vmm::Admitted place_;
  std::string address_;
  std::unique_ptr<net::Visit> admission_;  // until this node has arrived
  net::Mesh* mesh_ = nullptr;
  RollCall welcomes_, farewells_;
  std::atomic<bool> somebody_is_gone_{false};
  bool bad_moment_ = false;

  os::Mutex mu_;
  std::function<void()> asked_to_leave_ GUARDED_BY(mu_);
  std::vector<std::pair<WaitFlag*, Result<>*>> wait_for_leave_ GUARDED_BY(mu_);
  std::atomic<unsigned> to_be_answered_{0};
};

}  // namespace gallocy::runtime
