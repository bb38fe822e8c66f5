// Launcher: runs a program as a cluster, from the first process to the last line of output.
//
// It wires the parts: Rendezvous (nodes find each other and report), Instances (those of this machine), AgentChannel
// (those of another machine), Console (their output), Supervisor (what failures mean), RunRecord (what `gallocy stat`
// shows). Everything happens on one thread, by events; nothing waits.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent_channel.h"
#include "children.h"
#include "console.h"
#include "event_loop.h"
#include "failure.h"
#include "hosts.h"
#include "instances.h"
#include "launch_settings.h"
#include "net/rendezvous_server.h"
#include "options.h"
#include "run_record.h"
#include "signals.h"
#include "stat_server.h"
#include "supervisor.h"

namespace gallocy::command {

class Launcher : private InstanceEvents, private net::RendezvousEvents, private AgentEvents {
 public:
  // After being told to end, instances have this long before they are killed; after as long again, hosts that have not
  // answered are given up.
  static constexpr std::chrono::milliseconds kEndGrace{800};
  // A node's connection ends a little before its exit status is known, which says more.
  static constexpr std::chrono::milliseconds kCauseGrace{300};
  // How long agents have to say that what they killed has ended.
  static constexpr std::chrono::milliseconds kAgentGrace{300};

  explicit Launcher(LaunchOptions options);
  ~Launcher() override;

  // The exit status; a failure when the launch did not come about.
  Outcome<int> run();
  // The signal that ended the program of `gallocy run`; 0: none did.
  int killed_by() const { return supervisor_ != nullptr ? supervisor_->killed_by() : 0; }

 private:
  Outcome<> open_rendezvous();
  void open_run_record();
  Outcome<> start();

  void each_round();
  void arm_rendezvous_timer();
  bool done() const;
  int finish();

  void pass_on(const signalfd_siginfo& signal);
  void home_stopped() override;
  void apply(const Verdict& verdict);
  void end_all();
  void end_process();
  void signal_all(int signal, Instances::Reach reach);
  void note_started(NodeId node, const std::string& host, std::int64_t pid);
  void lost_unless_explained(NodeId node, std::string reason);
  void pump_input();
  void read_input();
  void output_failed(int fd, int error);

  // InstanceEvents
  void instance_output(NodeId node, Stream stream, std::string_view bytes) override;
  void instance_output_ended(NodeId node, Stream stream) override;
  void instance_exited(NodeId node, int wait_status) override;
  // net::RendezvousEvents
  void node_joined(NodeId node) override;
  void all_joined() override;
  void node_statistics(NodeId node, std::string_view json) override;
  void node_lost_peer(NodeId reporter, NodeId peer, std::string_view reason) override;
  void node_finished(NodeId node) override;
  void node_gone(NodeId node) override;
  void join_timed_out(const std::vector<NodeId>& missing) override;
  void stranger_refused(std::string_view line) override;
  // AgentEvents
  void agent_started(AgentChannel& agent, NodeId node, std::int64_t pid) override;
  void agent_failed(AgentChannel& agent, const Failure& failure) override;
  void agent_gone(AgentChannel& agent, std::string_view reason) override;
  void agent_says(AgentChannel& agent, std::string_view line) override;

  const LaunchOptions options_;

  LaunchSettings settings_;  // constant once run() has begun
  std::string host_name_;    // of this machine

  EventLoop loop_;
  Children children_;
  std::unique_ptr<Signals> signals_;
  std::unique_ptr<Console> console_;
  std::unique_ptr<Supervisor> supervisor_;
  std::unique_ptr<net::Rendezvous> rendezvous_;
  std::unique_ptr<Instances> instances_;
  std::vector<std::unique_ptr<AgentChannel>> agents_;
  std::unique_ptr<RunRecord> record_;
  std::unique_ptr<StatServer> stat_server_;

  std::string directory_;  // where the record goes; empty: nowhere
  // This command's standard input, relayed to node 0 on another machine. A plain file cannot be watched, and is read
  // whenever there is room.
  enum class Input : std::uint8_t { kNone, kIdle, kWatched, kPlainFile } input_ = Input::kNone;
  EventLoop::Timer rendezvous_timer_ = 0;
  std::optional<net::Rendezvous::TimePoint> rendezvous_deadline_;
};

}  // namespace gallocy::command
