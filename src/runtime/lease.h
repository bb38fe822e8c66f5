// Lease: whether this node may be sure that no other has gone on without it. While it may not, it tells its callers
// nothing about durable memory (durable::Core::set_lease): a primary that was replaced would read what was overwritten.
//
// One member that misses another may be enough for its death (vmm::Machine::suspect). So each is asked again and again
// whether it hears this node, and the lease holds for kLeaseUs from the moment when the oldest of the questions that
// were answered last was *sent*. Why that is sound:
//   * a member that heard a question takes this node for dead because of silence at the earliest
//     Vigil::kLeastUnansweredUs after that, and kLeaseUs is less;
//   * a connection that breaks is seen at both ends. From then on the lease is over until the log has said which of the
//     two is no member any more.
// What it does not cover: one end that sees the break much later than the other without such a silence, as when
// something between the nodes resets one end only.
//
// Threads: none; pure. `now` in microseconds.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace gallocy::runtime {

class Lease {
 public:
  static constexpr std::uint64_t kLeaseUs = 600'000;

  explicit Lease(NodeId self) : self_(self) {}

  struct Peer {
    NodeId node{};
    Epoch since{};  // when this life of it became a member
  };
  // The log: these are the members now, this node among them. Who is new has been asked nothing yet.
  void members(std::span<const Peer> members);
  void connection_lost(NodeId peer);
  // To another life of it. That the one before is lost this node may have noticed after the log told of both.
  void connection_made(NodeId peer);
  // The member has answered the question that was sent at `asked_us`.
  void answered(NodeId from, std::uint64_t asked_us);

  bool held(std::uint64_t now) const;

 private:
  static constexpr std::uint64_t kNever = 0;
  struct Member {
    Peer peer{};
    std::uint64_t answered_us = kNever;
    bool lost = false;
  };

  Member* find(NodeId node);

  const NodeId self_;
  std::vector<Member> others_;
};

}  // namespace gallocy::runtime
