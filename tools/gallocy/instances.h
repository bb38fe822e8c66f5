// The instances that this machine runs of the program: starting them, reading their output, ending them. Used by the
// launcher for its own machine and by the agent on others.
//
// Threads: one. Output is read only while the sink accepts it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "children.h"
#include "console.h"
#include "event_loop.h"
#include "failure.h"
#include "spawn.h"
#include "unique_fd.h"

namespace gallocy::command {

// What one machine is to run.
struct InstancePlan {
  std::vector<NodeId> nodes;
  std::vector<std::string> environment;  // the same for all of them; node and secret are added for each
  std::vector<std::string> arguments;    // program first
  std::string directory;                 // empty: where the caller is
  std::string secret;
  bool one_process = false;  // of gallocy run: node 0 has this command's standard streams and process group
};

class InstanceEvents {
 public:
  virtual ~InstanceEvents() = default;
  virtual void instance_output(NodeId node, Stream stream, std::string_view bytes) = 0;
  virtual void instance_output_ended(NodeId node, Stream stream) = 0;
  virtual void instance_exited(NodeId node, int wait_status) = 0;
  // Of gallocy run: a signal has stopped the program.
  virtual void home_stopped() {}
};

class Instances {
 public:
  Instances(EventLoop& loop, Children& children, InstanceEvents& events);
  ~Instances();  // kills those that still run

  // Starts them all; on failure those that were started are killed. `input` is node 0's standard input.
  Outcome<> start(const InstancePlan& plan, int input);

  pid_t pid(NodeId node) const;
  void signal(NodeId node, int signal);
  // kGroup: what the instances started too. kOutsideTerminal: not those that have the terminal and its signals already.
  enum class Reach : std::uint8_t { kProcess, kGroup, kOutsideTerminal };
  void signal_all(int signal, Reach reach);

  // Stops and goes on reading output.
  void pause(bool paused);

  std::size_t running() const { return running_; }
  // Nothing runs and all output was delivered.
  bool done() const { return running_ == 0 && open_pipes_ == 0; }

 private:
  struct Pipe {
    UniqueFd fd;
    bool ended = true;
  };
  struct Instance {
    pid_t pid = -1;
    bool running = false;
    ProcessGroup group = ProcessGroup::kOwn;
    Pipe pipes[2];
  };

  Outcome<> start_one(NodeId node, const InstancePlan& plan, const std::string& path, int secret, int input);
  Outcome<> start_home(NodeId node, const InstancePlan& plan, const std::string& path, int secret);
  void open_pipe(NodeId node, Stream stream);
  void watch(NodeId node, Stream stream);
  void read(NodeId node, Stream stream);
  void end(NodeId node, Stream stream);
  void exited(NodeId node, int wait_status);

  EventLoop& loop_;
  Children& children_;
  InstanceEvents& events_;
  std::map<NodeId, Instance> instances_;
  std::size_t running_ = 0;
  std::size_t open_pipes_ = 0;
  bool paused_ = false;
};

}  // namespace gallocy::command
