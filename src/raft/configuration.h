// Configuration: who belongs to a company, and the history of configurations in a log.
//
// A server is one life of a node. A node that keeps its log in memory only has lost its votes and entries when it
// starts again; under its old name it could vote twice in a term, and the entries it once acknowledged would be missing
// from a majority that counts on them (§3.8). So each start of such a node is another server: it is added as a learner,
// and the former one, which never comes back, is removed. A node with durable storage keeps its identity.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/ids.h"
#include "wire/bytes.h"

namespace gallocy::raft {

using ServerId = Id<struct ServerTag, std::uint64_t>;
inline constexpr ServerId kNoServer{0};

// incarnation: 1 … 2^48 - 1, another one for each start of a node without durable storage.
constexpr ServerId server_id(NodeId node, std::uint64_t incarnation) {
  return ServerId{incarnation << 16 | node.value};
}
constexpr std::uint64_t incarnation_of(ServerId server) { return server.value >> 16; }
constexpr NodeId node_of(ServerId server) { return NodeId(static_cast<std::uint16_t>(server.value)); }

// More voters make commits slower and survive failures that nobody plans for.
inline constexpr std::size_t kMaxVoters = 9;

struct Configuration {
  std::set<ServerId> voters;
  std::set<ServerId> learners;  // get the log, do not vote (§4.2.1)

  bool has(ServerId server) const { return voters.contains(server) || learners.contains(server); }
  bool operator==(const Configuration&) const = default;

  // How many of the voters are needed to decide.
  std::size_t quorum() const { return voters.size() / 2 + 1; }

  wire::Bytes encode() const;
  static std::optional<Configuration> decode(wire::ByteReader& reader);
  static std::optional<Configuration> decode(std::span<const std::byte> bytes);
};

// One step of membership (§4.1): quorums of the configurations before and after have a server in common.
struct Change {
  enum class Kind : std::uint8_t {
    kAddLearner,
    kPromote,  // learner to voter
    kDemote,   // voter to learner
    kRemove,   // voter or learner
  };
  Kind kind = Kind::kAddLearner;
  ServerId server{};
};

// Nothing, if the change makes no sense or leaves no voter or too many.
std::optional<Configuration> changed(const Configuration& configuration, const Change& change);

// The configurations of a log: the latest entry is in force, committed or not; when it is truncated, the one before is
// in force again.
class ConfigurationHistory {
 public:
  void reset(LogIndex index, Configuration configuration);
  void append(LogIndex index, Configuration configuration);
  void truncate_from(LogIndex index);
  void forget_before(LogIndex index);  // configurations in force only before it

  const Configuration& latest() const { return steps_.back().configuration; }
  LogIndex latest_index() const { return steps_.back().index; }
  const Configuration& at(LogIndex index) const;

 private:
  struct Step {
    LogIndex index{};
    Configuration configuration;
  };
  std::vector<Step> steps_{Step{}};  // ascending, never empty
};

}  // namespace gallocy::raft
