// Steward: a node's part in an open cluster beside its daily work: how it gets in, whom it lets in, what it tells
// visitors, how it leaves in order. docs/protocol.md, "Joining" and "Leaving", tells the whole.
//
// Files: steward.cc; steward_leave.cc (how it leaves); steward_return.cc (how nodes with their log on disk come back).
//
// Threads: enter(), settle_in() and leave() by the thread that made the Runtime; receive() by those of visits; the rest
// by any.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "net/open_cluster.h"
#include "net/visit.h"
#include "os/mutex.h"
#include "runtime/log_disk.h"
#include "runtime/reunion.h"
#include "runtime/waiting.h"
#include "vmm/admission.h"

namespace gallocy::runtime {

class Runtime;

class Steward {
 public:
  // `disk`: null if the log is in memory; borrowed until enter() has returned. `without`: members that are lost for
  // good. `shards`: of the address space, if this node founds the cluster.
  Steward(Runtime& runtime, net::OpenCluster cluster, LogDisk* disk, std::vector<NodeId> without, std::uint32_t shards)
      : runtime_(runtime), cluster_(std::move(cluster)), disk_(disk), without_(std::move(without)), shards_(shards) {}

  // Listens. With a contact: is admitted by the log, through it, and gets links to all members. With a log on disk from
  // an earlier life: finds the others that start again, or is admitted by those that have gone on.
  Result<std::unique_ptr<net::Mesh>> enter(net::MeshOptions options);
  // After enter().
  NodeId self() const { return place_.node; }
  enum class Way : std::uint8_t { kFounds, kJoins, kReturns };
  Way way() const { return way_; }
  // All members with this one, ascending.
  std::vector<NodeId> present() const;
  // Who founds the cluster, or begins again; nobody if it goes on and this node joins it.
  std::vector<NodeId> begins_with() const;
  // Members that were there when all ended, and are not among those who begin again.
  const std::vector<NodeId>& absent() const { return absent_; }
  std::uint64_t cluster() const { return place_.cluster; }
  std::uint64_t life() const { return place_.life; }
  std::uint32_t shards() const { return place_.shards; }
  std::vector<NodeId> others() const;
  // Members in the lives that the log has. Those who begin again say themselves in which they are.
  std::vector<vmm::Peer> peers() const { return way_ == Way::kReturns ? std::vector<vmm::Peer>() : place_.peers; }
  const std::string& address() const { return address_; }

  // The loop runs. Returns when all members have taken this node in: from then on it may speak of itself.
  Result<> await_welcome();
  // It failed because a member died or left meanwhile, or could not be reached, which may be the same: another attempt
  // may well succeed, as another newcomer.
  bool came_at_a_bad_moment() const { return bad_moment_; }
  // It could not begin again, as another has ended that was there a moment ago.
  tl::unexpected<Error> not_settled(const Error& why) {
    bad_moment_ = why.code == ErrorCode::kPeerLost;
    return tl::unexpected(why);
  }
  // The node is a member: lets others in.
  void open_door();

  // What the poller hears.
  void welcomed_by(NodeId node);
  void farewell_of(NodeId node, Epoch epoch);
  void gone(NodeId node);  // dead, or has left

  // Everything that others may need moves to them. On failure this node is a member as before.
  Result<> leave();

  // Whether visitors may ask this node to leave: somebody waits for `asked`. Their answer is what has_left() says.
  void may_be_asked_to_leave(std::function<void()> asked);
  void has_left(const Result<>& outcome);  // returns when they have it

 private:
  // An answer that is waited for from each of some nodes: that it knows the log up to some epoch. It may come before it
  // is expected.
  class RollCall {
   public:
    void expect(std::vector<NodeId> nodes, Epoch epoch);
    void answered(NodeId node, Epoch epoch);  // or gone
    WaitFlag& all_here() { return all_here_; }
    std::vector<NodeId> missing();

   private:
    void look() REQUIRES(mu_);

    os::Mutex mu_;
    std::map<NodeId, Epoch> answers_ GUARDED_BY(mu_);  // the latest
    std::vector<NodeId> missing_ GUARDED_BY(mu_);
    std::optional<Epoch> epoch_ GUARDED_BY(mu_);  // expected
    WaitFlag all_here_;
  };

  Result<std::unique_ptr<net::Mesh>> found_or_join(net::MeshOptions options);
  Result<vmm::Admitted> ask_to_be_admitted(const net::PeerAddress& mine);

  Result<std::unique_ptr<net::Mesh>> come_back(net::MeshOptions options);
  Result<Reunion> remember();
  Result<std::set<std::string>> whom_to_ask();
  Result<std::optional<net::PeerAddress>> find_others();
  Result<> begin_again(net::Mesh& mesh);
  enum class News : std::uint8_t { kNone, kGoesOn };
  Result<News> ask(const net::PeerAddress& member);
  Result<> hear(std::span<const std::byte> body);
  std::string whom_it_waits_for();
  void receive_early(net::Visit& visit, const net::Visit::Message& request);
  void receive_returning(net::Visit& visit, std::span<const std::byte> body);

  void receive(net::Visit& visit);
  void admit(net::Visit& visit, std::span<const std::byte> wish);
  void see_off(net::Visit& visit, std::span<const std::byte> request);
  Result<> ask_to_leave(NodeId node);
  std::string status();
  std::vector<NodeId> heirs();
  bool anybody_keeps_the_log(std::span<const NodeId> nodes);
  Result<> give_locks_back();
  Result<> await_release();
  Result<> give_everything_up();
  Result<> drain(Epoch announced);
  Result<> await_farewells(Epoch epoch);
  Result<> see_off_all();

  Runtime& runtime_;
  net::OpenCluster cluster_;
  LogDisk* const disk_;
  const std::vector<NodeId> without_;
  const std::uint32_t shards_;
  Way way_ = Way::kFounds;
  vmm::Admitted place_;
  std::vector<NodeId> absent_;
  std::string address_;
  std::unique_ptr<net::Visit> admission_;  // until this node has arrived
  net::Mesh* mesh_ = nullptr;
  RollCall welcomes_, farewells_;
  std::atomic<bool> somebody_is_gone_{false};
  std::atomic<bool> is_settled_{false};  // a member, that can speak for the cluster
  bool bad_moment_ = false;

  os::Mutex mu_;
  std::optional<Reunion> reunion_ GUARDED_BY(mu_);
  std::function<void()> asked_to_leave_ GUARDED_BY(mu_);
  std::vector<std::pair<WaitFlag*, Result<>*>> wait_for_leave_ GUARDED_BY(mu_);
  std::atomic<unsigned> to_be_answered_{0};
};

// What a visitor is told who does not get what it wants.
net::Visit::Message refusal(const Error& error);

}  // namespace gallocy::runtime
