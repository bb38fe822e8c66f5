// AgentChannel: the launcher's side of one agent: the command that started it, and the frames to and from it.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "agent_protocol.h"
#include "children.h"
#include "event_loop.h"
#include "hosts.h"
#include "instances.h"
#include "unique_fd.h"

namespace gallocy::command {

class AgentChannel;

class AgentEvents {
 public:
  virtual ~AgentEvents() = default;
  virtual void agent_started(AgentChannel& agent, NodeId node, std::int64_t pid) = 0;
  // Its part did not come about: the host cannot be reached, or the program cannot be run there. Gone afterwards.
  virtual void agent_failed(AgentChannel& agent, const Failure& failure) = 0;
  // The connection ended, as it does when all its instances have; never after agent_failed.
  virtual void agent_gone(AgentChannel& agent, std::string_view reason) = 0;
  // A line that the launch command printed on its standard error after the agent had come up.
  virtual void agent_says(AgentChannel& agent, std::string_view line) = 0;
};

class AgentChannel {
 public:
  AgentChannel(EventLoop& loop, Children& children, InstanceEvents& instances, AgentEvents& events, HostPlan host);
  ~AgentChannel();

  // Runs `command` in a shell; when the agent greets, it gets `plan`.
  Outcome<> start(const std::string& command, InstancePlan plan, std::chrono::milliseconds timeout);

  const HostPlan& host() const { return host_; }
  bool starting() const { return state_ == State::kStarting; }
  bool gone() const { return state_ == State::kGone; }

  void signal_all(int signal, Instances::Reach reach);
  void signal(NodeId node, int signal);
  void send_input(std::string_view bytes);  // at most kMaxAgentChunk
  void end_input();
  bool input_full() const { return input_in_flight_ + kMaxAgentChunk > kInputWindow; }

  void pause(bool paused);  // stops and goes on reading the agent's output
  void give_up();           // kills the launch command; the channel is gone

 private:
  enum class State : std::uint8_t { kStarting, kUp, kGone };
  static constexpr std::size_t kMaxComplaint = 4 << 10;  // of the launch command's standard error, its end

  void watch_output();
  void read_output();
  void read_error();
  void say_errors();
  void frames();
  void receive(const AgentFrame& frame);
  void send(AgentFrameType type, std::span<const std::byte> body);
  void flush();
  void output_ended();
  void command_ended(int wait_status);
  void fail(Failure failure);
  void leave();
  void settle_end();
  std::string complaint() const;

  EventLoop& loop_;
  Children& children_;
  InstanceEvents& instances_;
  AgentEvents& events_;
  const HostPlan host_;
  std::string command_;
  InstancePlan plan_;

  State state_ = State::kStarting;
  pid_t pid_ = -1;
  UniqueFd input_, output_, error_;
  AgentFrameReader reader_;
  wire::Bytes out_;
  std::size_t input_in_flight_ = 0;
  bool writing_ = false;  // the loop watches input_
  bool paused_ = false;
  bool output_ended_ = false;
  std::string error_text_;
  int wait_status_ = 0;
  bool command_running_ = false;
  EventLoop::Timer timer_ = 0;
  EventLoop::Timer saying_ = 0;  // while error_text_ waits to be said
};

}  // namespace gallocy::command
