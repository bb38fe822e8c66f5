// Supervisor: what the end of an instance means for the others, and what the command says and returns.
//
// Pure: it is told what happened and answers what to do. The first failure decides; what follows from ending the rest
// is not reported again, so there is one message.
//
// An instance that never joined (not a program of the library, or it stopped at a wrong flag) fails alone, unless
// others joined and would wait for it. One that joined must leave before it exits. A signal of the user's that was
// passed on is no failure to report.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "gallocy/node.h"

namespace gallocy::command {

struct Verdict {
  std::string message;       // empty: nothing to say
  bool end_all = false;      // the rest must end
  bool told = false;         // it has been told so by a node that ended in order, and may end by itself
  std::vector<NodeId> kill;  // these alone must end now
};

class Supervisor {
 public:
  // kOneProcess: node 0 is the program, and its end, however it comes, is that of all.
  enum class Kind : bool { kManyPrograms, kOneProcess };
  Supervisor(std::uint16_t nodes, OnPeerLost policy, Kind kind = Kind::kManyPrograms);

  void started(NodeId node, std::string host, std::int64_t pid);
  Verdict joined(NodeId node);
  void all_joined() { formed_ = true; }
  void finished(NodeId node);
  Verdict exited(NodeId node, int wait_status);
  // Lost though its process, as far as is known, still runs: its connection ended, or its peers do not hear it.
  Verdict lost(NodeId node, std::string_view reason);
  Verdict join_timed_out(const std::vector<NodeId>& missing, unsigned seconds);
  // The connection to the machine of these nodes ended.
  Verdict host_lost(const std::vector<NodeId>& nodes, std::string_view reason);
  // A signal that was sent to this command to end it, and was passed on.
  void interrupted(int signal) { interrupted_ = signal; }
  // A machine's part did not come about, for a reason that is said already.
  Verdict host_failed(const std::vector<NodeId>& nodes, int status, std::string message);
  // The command itself must stop (it cannot write output, say).
  Verdict stop(int status, std::string message);

  bool ending() const { return ending_; }
  bool running(NodeId node) const { return nodes_[node.value].running; }
  bool leaving(NodeId node) const { return nodes_[node.value].finished || !nodes_[node.value].running; }
  std::size_t running_count() const { return running_; }
  int exit_status() const { return status_.value_or(0); }
  int killed_by() const { return killed_by_; }  // kOneProcess: the signal that ended the program; 0: none did
  std::string describe(NodeId node) const;      // "node 2 (host, pid 123)"

 private:
  struct Instance {
    std::string host;
    std::int64_t pid = 0;
    bool running = true, joined = false, finished = false;
    std::string end = "was lost";  // how it ended, once it does not run
  };
  void note_status(int status);
  Verdict broken(NodeId node, std::string_view what, int status);
  bool may_go_on(std::size_t others) const;
  static std::string others_go_on(std::size_t others);
  std::string ended_others() const;
  std::vector<NodeId> strike(const std::vector<NodeId>& nodes);

  const OnPeerLost policy_;
  const Kind kind_;
  std::vector<Instance> nodes_;
  std::size_t running_;
  bool any_joined_ = false, formed_ = false, ending_ = false;
  int interrupted_ = 0;  // the signal, 0: none
  int killed_by_ = 0;
  std::optional<int> status_;  // of the first failure
};

}  // namespace gallocy::command
