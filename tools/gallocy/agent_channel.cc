#include "agent_channel.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "spawn.h"

namespace gallocy::command {
namespace {

// How long the launch command has to end after its output did, before its status is no longer waited for.
constexpr std::chrono::milliseconds kCommandGrace{500};

// How long what the launch command says is kept back, in case it is about its end.
constexpr std::chrono::milliseconds kComplaintGrace{600};

struct Ends {
  UniqueFd ours, theirs;
};

enum class WeDo : bool { kRead, kWrite };

Ends open_pipe(WeDo direction) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  const bool reading = direction == WeDo::kRead;
  Ends result{UniqueFd(ends[reading ? 0 : 1]), UniqueFd(ends[reading ? 1 : 0])};
  ::fcntl(result.ours.get(), F_SETFL, O_NONBLOCK);
  return result;
}

}  // namespace

AgentChannel::AgentChannel(EventLoop& loop, Children& children, InstanceEvents& instances, AgentEvents& events,
                           HostPlan host)
    : loop_(loop), children_(children), instances_(instances), events_(events), host_(std::move(host)) {}

AgentChannel::~AgentChannel() { leave(); }

Outcome<> AgentChannel::start(const std::string& command, InstancePlan plan, std::chrono::milliseconds timeout) {
  command_ = command;
  plan_ = std::move(plan);
  auto input = open_pipe(WeDo::kWrite), output = open_pipe(WeDo::kRead), error = open_pipe(WeDo::kRead);
  if (!input.ours || !output.ours || !error.ours) {
    return fail_with(ErrorCode::kOsError,
                     fmt::format("cannot open pipes to host {}: {}", host_.name, std::strerror(errno)));
  }
  GALLOCY_ASSIGN(pid_, spawn({.path = "/bin/sh",
                              .arguments = {"sh", "-c", command},
                              .environment = environment_with({}),
                              .input = input.theirs.get(),
                              .output = output.theirs.get(),
                              .error = error.theirs.get()}));
  input_ = std::move(input.ours);
  output_ = std::move(output.ours);
  error_ = std::move(error.ours);
  command_running_ = true;
  children_.add(pid_, Children::Ending::kWithGroup, [this](int status) { command_ended(status); });
  watch_output();
  loop_.watch(error_.get(), EPOLLIN, [this](std::uint32_t) { read_error(); });
  timer_ = loop_.after(timeout, [this, timeout] {
    fail(Failure(static_cast<int>(ErrorCode::kUnreachable),
                 fmt::format("cannot reach host {}: no answer within {} s{} (`{}`)", host_.name, timeout.count() / 1000,
                             complaint(), command_)));
  });
  return {};
}

void AgentChannel::watch_output() {
  loop_.watch(output_.get(), EPOLLIN, [this](std::uint32_t) { read_output(); });
}

void AgentChannel::read_output() {
  while (state_ != State::kGone && !paused_ && !output_ended_) {
    std::byte buffer[kMaxAgentChunk];
    const auto got = ::read(output_.get(), buffer, sizeof buffer);
    if (got > 0) {
      reader_.feed({buffer, static_cast<std::size_t>(got)});
      frames();
    } else if (got == 0 || (errno == EAGAIN && !command_running_)) {
      output_ended();
    } else if (errno != EINTR) {
      return;
    }
  }
}

void AgentChannel::frames() {
  if (state_ == State::kStarting) {
    const auto greeted = reader_.skip_greeting();
    if (!greeted) return fail(greeted.error());
    if (!*greeted) return;
    state_ = State::kUp;
    loop_.cancel(timer_);
    error_text_.clear();  // warnings and banners of a launch that worked
    send(AgentFrameType::kStart, encode_plan(plan_));
  }
  while (state_ == State::kUp) {
    auto frame = reader_.next();
    if (!frame) return fail(frame.error());
    if (!*frame) return;
    receive(**frame);
  }
}

void AgentChannel::receive(const AgentFrame& frame) {
  const auto known = [&](std::uint16_t node) {
    return std::find(host_.nodes.begin(), host_.nodes.end(), NodeId{node}) != host_.nodes.end();
  };
  switch (frame.type) {
    case AgentFrameType::kStarted:
      if (const auto it = frame.as<AgentStarted>(); it && known(it->node)) {
        return events_.agent_started(*this, NodeId{it->node}, it->pid);
      }
      break;
    case AgentFrameType::kOutput:
      if (const auto it = frame.as<AgentOutput>(); it && known(it->node) && it->stream <= Stream::kError) {
        const auto* text = reinterpret_cast<const char*>(frame.body.data()) + sizeof *it;
        return instances_.instance_output(NodeId{it->node}, it->stream, {text, frame.body.size() - sizeof *it});
      }
      break;
    case AgentFrameType::kOutputEnd:
      if (const auto it = frame.as<AgentOutput>(); it && known(it->node) && it->stream <= Stream::kError) {
        return instances_.instance_output_ended(NodeId{it->node}, it->stream);
      }
      break;
    case AgentFrameType::kExited:
      if (const auto it = frame.as<AgentExited>(); it && known(it->node)) {
        return instances_.instance_exited(NodeId{it->node}, it->wait_status);
      }
      break;
    case AgentFrameType::kFailed: {
      auto failure = decode_failure(frame.body);
      if (!failure) break;
      return fail(Failure(failure->status, fmt::format("{} (on host {})", failure->message, host_.name)));
    }
    case AgentFrameType::kInputTaken:
      if (const auto bytes = frame.as<std::uint32_t>(); bytes && *bytes <= input_in_flight_) {
        input_in_flight_ -= *bytes;
        return;
      }
      break;
    default:
      break;
  }
  fail(Failure(static_cast<int>(ErrorCode::kProtocol),
               fmt::format("the agent on host {} broke the protocol", host_.name)));
}

void AgentChannel::read_error() {
  char buffer[4096];
  ssize_t got = 0;
  while ((got = ::read(error_.get(), buffer, sizeof buffer)) > 0) {
    error_text_.append(buffer, static_cast<std::size_t>(got));
    if (error_text_.size() > kMaxComplaint) error_text_.erase(0, error_text_.size() - kMaxComplaint);
  }
  if (got == 0) {
    loop_.forget(error_.get());
    error_.reset();
  }
  // Before the agent is up, and at its end, this belongs to the message about that.
  if (state_ == State::kUp && !error_text_.empty() && saying_ == 0) {
    saying_ = loop_.after(kComplaintGrace, [this] { say_errors(); });
  }
}

void AgentChannel::say_errors() {
  saying_ = 0;
  for (auto end = error_text_.find('\n'); end != std::string::npos; end = error_text_.find('\n')) {
    events_.agent_says(*this, std::string_view(error_text_).substr(0, end));
    error_text_.erase(0, end + 1);
  }
}

void AgentChannel::send(AgentFrameType type, std::span<const std::byte> body) {
  if (state_ != State::kUp || !input_) return;
  append_frame(out_, type, body);
  flush();
}

void AgentChannel::flush() {
  std::size_t done = 0;
  while (done < out_.size()) {
    const auto written = ::write(input_.get(), out_.data() + done, out_.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) break;
    done += static_cast<std::size_t>(written);
  }
  const bool waiting = done < out_.size() && errno == EAGAIN;
  if (waiting)
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(done));
  else
    out_.clear();  // all of it, or the agent is gone, which its output tells
  if (waiting == writing_) return;
  writing_ = waiting;
  if (waiting)
    loop_.watch(input_.get(), EPOLLOUT, [this](std::uint32_t) { flush(); });
  else
    loop_.forget(input_.get());
}

void AgentChannel::signal_all(int signal, Instances::Reach reach) {
  const AgentSignal body{.signal = signal, .group = reach == Instances::Reach::kGroup};
  send(AgentFrameType::kSignal, std::as_bytes(std::span(&body, 1)));
}

void AgentChannel::signal(NodeId node, int signal) {
  const AgentSignal body{.signal = signal, .node = node.value};
  send(AgentFrameType::kSignal, std::as_bytes(std::span(&body, 1)));
}

void AgentChannel::send_input(std::string_view bytes) {
  input_in_flight_ += bytes.size();
  send(AgentFrameType::kInput, std::as_bytes(std::span(bytes)));
}

void AgentChannel::end_input() { send(AgentFrameType::kInputEnd, {}); }

void AgentChannel::pause(bool paused) {
  if (paused == paused_ || !output_ || output_ended_) return;
  paused_ = paused;
  if (paused) {
    loop_.forget(output_.get());
  } else {
    watch_output();
    read_output();
  }
}

void AgentChannel::output_ended() {
  output_ended_ = true;
  loop_.forget(output_.get());
  if (!command_running_) return settle_end();
  loop_.cancel(timer_);
  timer_ = loop_.after(kCommandGrace, [this] { settle_end(); });
}

void AgentChannel::command_ended(int wait_status) {
  command_running_ = false;
  wait_status_ = wait_status;
  if (state_ == State::kGone) return;
  if (output_ended_)
    settle_end();
  else
    read_output();
}

void AgentChannel::settle_end() {
  if (state_ == State::kGone) return;
  if (error_) read_error();
  const auto ending = command_running_ ? "stopped answering" : describe_end(wait_status_);
  if (state_ == State::kStarting) {
    return fail(Failure(static_cast<int>(ErrorCode::kUnreachable),
                        fmt::format("cannot reach host {}{} (`{}` {})", host_.name, complaint(), command_, ending)));
  }
  const auto reason = fmt::format("the connection ended{} (the launch command {})", complaint(), ending);
  leave();
  events_.agent_gone(*this, reason);
}

void AgentChannel::fail(Failure failure) {
  if (state_ == State::kGone) return;
  leave();
  events_.agent_failed(*this, failure);
}

void AgentChannel::give_up() {
  if (state_ == State::kGone) return;
  leave();
  events_.agent_gone(*this, "it did not answer");
}

void AgentChannel::leave() {
  if (state_ == State::kGone) return;
  state_ = State::kGone;
  loop_.cancel(timer_);
  loop_.cancel(saying_);
  for (auto* fd : {&input_, &output_, &error_}) {
    if (*fd) loop_.forget(fd->get());
    fd->reset();
  }
  if (command_running_) ::kill(-pid_, SIGKILL);
}

std::string AgentChannel::complaint() const {
  auto text = error_text_;
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  text.erase(std::remove(text.begin(), text.end(), '\r'), text.end());
  return text.empty() ? "" : ": " + text;
}

}  // namespace gallocy::command
