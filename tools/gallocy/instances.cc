#include "instances.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "spawn.h"

namespace gallocy::command {
namespace {

constexpr std::size_t kReadBytes = 64 << 10;

// A sealed memory file: instances that share it can neither change nor truncate it.
Outcome<UniqueFd> secret_file(const std::string& secret) {
  UniqueFd file(::memfd_create("gallocy-secret", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const bool written = file && ::write(file.get(), secret.data(), secret.size()) == static_cast<ssize_t>(secret.size());
  if (!written || ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
    return fail_with(ErrorCode::kOsError, fmt::format("cannot hand over the cluster secret: {}", std::strerror(errno)));
  }
  return file;
}

std::ptrdiff_t place_of(NodeId node, const InstancePlan& plan) {
  return std::ranges::find(plan.nodes, node) - plan.nodes.begin();
}

}  // namespace

Instances::Instances(EventLoop& loop, Children& children, InstanceEvents& events)
    : loop_(loop), children_(children), events_(events) {}

Instances::~Instances() {
  signal_all(SIGKILL, Reach::kGroup);
  for (auto& [node, instance] : instances_) {
    for (auto& pipe : instance.pipes) {
      if (pipe.fd) loop_.forget(pipe.fd.get());
    }
  }
}

Outcome<> Instances::start(const InstancePlan& plan, int input) {
  GALLOCY_ASSIGN(const auto path, find_program(plan.arguments.front(), plan.directory));
  GALLOCY_ASSIGN(const auto secret, secret_file(plan.secret));
  const UniqueFd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (const auto node : plan.nodes) {
    auto started = start_one(node, plan, path, secret.get(), node == NodeId{0} ? input : nothing.get());
    if (!started) {
      signal_all(SIGKILL, Reach::kGroup);
      return started;
    }
  }
  return {};
}

Outcome<> Instances::start_one(NodeId node, const InstancePlan& plan, const std::string& path, int secret, int input) {
  if (plan.one_process && node == NodeId{0}) return start_home(node, plan, path, secret);
  int output[2], error[2];
  if (::pipe2(output, O_CLOEXEC) != 0) {
    return fail_with(ErrorCode::kOsError,
                     fmt::format("cannot open a pipe for node {}: {}", node, std::strerror(errno)));
  }
  Instance instance;
  instance.pipes[0].fd.reset(output[0]);
  const UniqueFd output_end(output[1]);
  if (::pipe2(error, O_CLOEXEC) != 0) {
    return fail_with(ErrorCode::kOsError,
                     fmt::format("cannot open a pipe for node {}: {}", node, std::strerror(errno)));
  }
  instance.pipes[1].fd.reset(error[0]);
  const UniqueFd error_end(error[1]);

  auto additions = plan.environment;
  additions.push_back(fmt::format("GALLOCY_NODE={}", node));
  additions.push_back(fmt::format("GALLOCY_LOCAL_INDEX={}", place_of(node, plan)));
  additions.push_back(fmt::format("GALLOCY_SECRET_FD={}", secret));
  // Only the foreground process group may read the terminal.
  instance.group = ::isatty(input) == 1 ? ProcessGroup::kOfParent : ProcessGroup::kOwn;
  const int inherited[] = {secret};
  GALLOCY_ASSIGN(instance.pid, spawn({.path = path,
                                      .arguments = plan.arguments,
                                      .environment = environment_with(additions),
                                      .directory = plan.directory,
                                      .input = input,
                                      .output = output_end.get(),
                                      .error = error_end.get(),
                                      .inherited = inherited,
                                      .group = instance.group}));
  instance.running = true;
  ++running_;
  const auto ending = instance.group == ProcessGroup::kOwn ? Children::Ending::kWithGroup : Children::Ending::kAlone;
  children_.add(instance.pid, ending, [this, node](int wait_status) { exited(node, wait_status); });
  instances_[node] = std::move(instance);
  for (const auto stream : {Stream::kOutput, Stream::kError}) open_pipe(node, stream);
  return {};
}

// The program itself: it is to behave as if this command's caller had started it.
Outcome<> Instances::start_home(NodeId node, const InstancePlan& plan, const std::string& path, int secret) {
  auto additions = plan.environment;
  additions.push_back(fmt::format("GALLOCY_NODE={}", node));
  additions.push_back(fmt::format("GALLOCY_LOCAL_INDEX={}", place_of(node, plan)));
  additions.push_back(fmt::format("GALLOCY_SECRET_FD={}", secret));
  Instance instance;
  instance.group = ProcessGroup::kOfParent;
  const int inherited[] = {secret};
  GALLOCY_ASSIGN(instance.pid, spawn({.path = path,
                                      .arguments = plan.arguments,
                                      .environment = environment_with(additions),
                                      .directory = plan.directory,
                                      .input = STDIN_FILENO,
                                      .output = STDOUT_FILENO,
                                      .error = STDERR_FILENO,
                                      .inherited = inherited,
                                      .group = instance.group}));
  instance.running = true;
  ++running_;
  children_.add(
      instance.pid, Children::Ending::kAlone, [this, node](int wait_status) { exited(node, wait_status); },
      [this] { events_.home_stopped(); });
  instances_[node] = std::move(instance);
  return {};
}

void Instances::open_pipe(NodeId node, Stream stream) {
  auto& pipe = instances_[node].pipes[static_cast<std::size_t>(stream)];
  pipe.ended = false;
  ++open_pipes_;
  ::fcntl(pipe.fd.get(), F_SETFL, O_NONBLOCK);
  if (!paused_) watch(node, stream);
}

void Instances::watch(NodeId node, Stream stream) {
  const int fd = instances_[node].pipes[static_cast<std::size_t>(stream)].fd.get();
  loop_.watch(fd, EPOLLIN, [this, node, stream](std::uint32_t) { read(node, stream); });
}

void Instances::read(NodeId node, Stream stream) {
  auto& instance = instances_[node];
  auto& pipe = instance.pipes[static_cast<std::size_t>(stream)];
  while (!pipe.ended && !paused_) {
    char buffer[kReadBytes];
    const auto got = ::read(pipe.fd.get(), buffer, sizeof buffer);
    if (got > 0) {
      events_.instance_output(node, stream, {buffer, static_cast<std::size_t>(got)});
      if (instance.running) return;  // the others' turn
    } else if (got == 0 || (errno == EAGAIN && !instance.running)) {
      // Its end; or an exited instance has no more: what still holds the pipe is not a node.
      end(node, stream);
    } else if (errno != EINTR) {
      return;
    }
  }
}

void Instances::end(NodeId node, Stream stream) {
  auto& pipe = instances_[node].pipes[static_cast<std::size_t>(stream)];
  loop_.forget(pipe.fd.get());
  pipe.fd.reset();
  pipe.ended = true;
  --open_pipes_;
  events_.instance_output_ended(node, stream);
}

void Instances::exited(NodeId node, int wait_status) {
  auto& instance = instances_[node];
  instance.running = false;
  --running_;
  for (const auto stream : {Stream::kOutput, Stream::kError}) {
    if (instance.pipes[static_cast<std::size_t>(stream)].fd) read(node, stream);
  }
  events_.instance_exited(node, wait_status);
}

pid_t Instances::pid(NodeId node) const {
  const auto found = instances_.find(node);
  return found == instances_.end() ? -1 : found->second.pid;
}

void Instances::signal(NodeId node, int signal) {
  const auto found = instances_.find(node);
  if (found != instances_.end() && found->second.running) ::kill(found->second.pid, signal);
}

void Instances::signal_all(int signal, Reach reach) {
  for (const auto& [node, instance] : instances_) {
    if (!instance.running) continue;
    const bool own_group = instance.group == ProcessGroup::kOwn;
    if (reach == Reach::kOutsideTerminal && !own_group) continue;
    ::kill(reach == Reach::kGroup && own_group ? -instance.pid : instance.pid, signal);
  }
}

void Instances::pause(bool paused) {
  if (paused == paused_) return;
  paused_ = paused;
  for (auto& [node, instance] : instances_) {
    for (const auto stream : {Stream::kOutput, Stream::kError}) {
      auto& pipe = instance.pipes[static_cast<std::size_t>(stream)];
      if (pipe.ended) continue;
      // A watch would report the writer's end even with no event asked for.
      if (paused)
        loop_.forget(pipe.fd.get());
      else
        watch(node, stream);
      if (!paused && !instance.running) read(node, stream);
    }
  }
}

}  // namespace gallocy::command
