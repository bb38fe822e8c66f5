#include "agent.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "agent_protocol.h"
#include "children.h"
#include "event_loop.h"
#include "instances.h"
#include "signals.h"

namespace gallocy::command {
namespace {

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// Node 0's standard input when node 0 runs here: a pipe that is fed as far as it takes it.
class InputPipe {
 public:
  InputPipe(EventLoop& loop, std::function<void(std::uint32_t bytes)> taken) : loop_(loop), taken_(std::move(taken)) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return;
    theirs_.reset(ends[0]);
    ours_.reset(ends[1]);
    ::fcntl(ours_.get(), F_SETFL, O_NONBLOCK);
  }
  ~InputPipe() { close(); }

  int their_end() const { return theirs_.get(); }
  void instance_has_it() { theirs_.reset(); }

  void write(std::span<const std::byte> bytes) {
    if (!ours_) return taken_(static_cast<std::uint32_t>(bytes.size()));
    queue_.insert(queue_.end(), bytes.begin(), bytes.end());
    flush();
  }
  void end() {
    ended_ = true;
    flush();
  }

 private:
  void flush() {
    if (!ours_) return;
    std::size_t done = 0;
    while (done < queue_.size()) {
      const auto written = ::write(ours_.get(), queue_.data() + done, queue_.size() - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) break;
      done += static_cast<std::size_t>(written);
    }
    const bool waiting = done < queue_.size() && errno == EAGAIN;
    if (!waiting && done < queue_.size()) {  // nobody reads it any more
      done = queue_.size();
      ended_ = true;
    }
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(done));
    if (done > 0) taken_(static_cast<std::uint32_t>(done));
    if (waiting != waiting_) {
      waiting_ = waiting;
      if (waiting)
        loop_.watch(ours_.get(), EPOLLOUT, [this](std::uint32_t) { flush(); });
      else
        loop_.forget(ours_.get());
    }
    if (ended_ && queue_.empty()) close();
  }
  void close() {
    if (ours_) loop_.forget(ours_.get());
    ours_.reset();
  }

  EventLoop& loop_;
  const std::function<void(std::uint32_t)> taken_;
  UniqueFd ours_, theirs_;
  wire::Bytes queue_;
  bool waiting_ = false, ended_ = false;
};

class Agent : private InstanceEvents {
 public:
  Agent()
      : signals_(loop_, [this](const signalfd_siginfo& info) { received(info); }),
        instances_(loop_, children_, *this),
        input_(loop_, [this](std::uint32_t bytes) { send(AgentFrameType::kInputTaken, bytes_of(bytes)); }) {}

  int run() {
    ::fcntl(STDIN_FILENO, F_SETFL, ::fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    ::fcntl(STDOUT_FILENO, F_SETFL, ::fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
    const auto greeting = std::as_bytes(std::span(kAgentGreeting));
    out_.assign(greeting.begin(), greeting.end());
    loop_.watch(STDIN_FILENO, EPOLLIN, [this](std::uint32_t) { read_launcher(); });
    flush();
    loop_.run([this] {
      instances_.pause(out_.size() >= kMaxQueued);
      if (ending_ && instances_.running() == 0 && (launcher_gone_ || (instances_.done() && out_.empty()))) loop_.stop();
    });
    return launcher_gone_ ? static_cast<int>(ErrorCode::kPeerLost) : 0;
  }

 private:
  static constexpr std::size_t kMaxQueued = 1 << 20;  // output that the launcher has not taken

  void read_launcher() {
    std::byte buffer[kMaxAgentChunk];
    const auto got = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return lose_launcher();
    reader_.feed({buffer, static_cast<std::size_t>(got)});
    for (;;) {
      auto frame = reader_.next();
      if (!frame) return lose_launcher();
      if (!*frame) return;
      receive(**frame);
    }
  }

  void receive(const AgentFrame& frame) {
    switch (frame.type) {
      case AgentFrameType::kStart:
        return start(frame);
      case AgentFrameType::kSignal:
        if (const auto it = frame.as<AgentSignal>()) {
          const auto reach = it->group != 0 ? Instances::Reach::kGroup : Instances::Reach::kProcess;
          if (it->node == kNoNode.value)
            instances_.signal_all(it->signal, reach);
          else
            instances_.signal(NodeId{it->node}, it->signal);
        }
        return;
      case AgentFrameType::kInput:
        return input_.write(frame.body);
      case AgentFrameType::kInputEnd:
        return input_.end();
      default:
        return lose_launcher();
    }
  }

  void start(const AgentFrame& frame) {
    if (ending_) return lose_launcher();  // it starts once
    ending_ = true;
    auto plan = decode_plan(frame.body);
    const auto started = plan ? instances_.start(*plan, input_.their_end()) : tl::unexpected(plan.error());
    if (!started) return send(AgentFrameType::kFailed, encode_failure(started.error()));
    input_.instance_has_it();
    for (const auto node : plan->nodes) {
      send(AgentFrameType::kStarted, bytes_of(AgentStarted{.pid = instances_.pid(node), .node = node.value}));
    }
  }

  void lose_launcher() {
    launcher_gone_ = ending_ = true;
    loop_.forget(STDIN_FILENO);
    instances_.signal_all(SIGKILL, Instances::Reach::kGroup);
  }

  void received(const signalfd_siginfo& info) {
    switch (static_cast<int>(info.ssi_signo)) {
      case SIGCHLD:
        return children_.reap();
      case SIGTERM:
      case SIGHUP:
      case SIGQUIT:
        return lose_launcher();
      default:
        return;  // what the nodes are to get comes from the launcher
    }
  }

  void instance_output(NodeId node, Stream stream, std::string_view bytes) override {
    append_frame(out_, AgentFrameType::kOutput, bytes_of(AgentOutput{.node = node.value, .stream = stream}),
                 std::as_bytes(std::span(bytes)));
    flush();
  }
  void instance_output_ended(NodeId node, Stream stream) override {
    send(AgentFrameType::kOutputEnd, bytes_of(AgentOutput{.node = node.value, .stream = stream}));
  }
  void instance_exited(NodeId node, int wait_status) override {
    send(AgentFrameType::kExited, bytes_of(AgentExited{.wait_status = wait_status, .node = node.value}));
  }

  void send(AgentFrameType type, std::span<const std::byte> body) {
    append_frame(out_, type, body);
    flush();
  }

  void flush() {
    std::size_t done = 0;
    while (done < out_.size()) {
      const auto written = ::write(STDOUT_FILENO, out_.data() + done, out_.size() - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) break;
      done += static_cast<std::size_t>(written);
    }
    const bool waiting = done < out_.size() && errno == EAGAIN;
    if (!waiting && done < out_.size()) {
      out_.clear();
      if (!launcher_gone_) lose_launcher();
    } else {
      out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(done));
    }
    if (waiting == waiting_) return;
    waiting_ = waiting;
    if (waiting)
      loop_.watch(STDOUT_FILENO, EPOLLOUT, [this](std::uint32_t) { flush(); });
    else
      loop_.forget(STDOUT_FILENO);
  }

  EventLoop loop_;
  Children children_;
  Signals signals_;
  AgentFrameReader reader_;
  wire::Bytes out_;
  Instances instances_;
  InputPipe input_;
  bool waiting_ = false;
  bool ending_ = false;  // started: it ends when nothing runs any more
  bool launcher_gone_ = false;
};

}  // namespace

int run_agent() { return Agent().run(); }

}  // namespace gallocy::command
