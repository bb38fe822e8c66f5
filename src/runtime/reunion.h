// Reunion: after the end of all nodes, those that have their log on disk start again, in any order and perhaps not all
// of them. Each asks those whom its log names, again and again, until all members with a disk are there. The members
// are those of the longest log that anybody has (Raft, §5.4.1: it has all that was committed), and each passes on what
// it has heard; so all come to wait for the same nodes, also those whose own log is too old to know them.
//
// Threads: none; pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "wire/visit.h"

namespace gallocy::runtime {

class Reunion {
 public:
  using Member = wire::Returning::Member;

  // What this node's own log says. `without`: members that are lost for good.
  Reunion(wire::Returning mine, std::vector<NodeId> without);

  // What this node says to those whom it asks, and who ask it.
  const wire::Returning& says() const { return says_; }
  // That one is here, too. kConflict: it is of another cluster.
  Result<> heard(const wire::Returning& other);
  void ask_anew() { here_.clear(); }

  // Who begins together, this node among them; empty if this node is no member any more.
  std::vector<Member> company() const;
  // The other members: their memory is lost.
  std::vector<NodeId> absent() const;
  std::vector<Member> missing() const;
  bool is_complete() const { return !company().empty() && missing().empty(); }

 private:
  bool comes(const Member& member) const;

  wire::Returning says_;
  std::set<NodeId> without_;
  std::set<NodeId> here_;
};

}  // namespace gallocy::runtime
