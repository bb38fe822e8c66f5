#include "launcher.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "local_address.h"
#include "run_directory.h"

namespace gallocy::command {
namespace {

// Two pipes per local instance, and its connection.
void raise_descriptor_limit(std::size_t nodes) {
  rlimit limit{};
  const rlim_t wanted = 100 + 4 * nodes;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// The files that show the nodes as one machine: a home that was killed has left them (personality/process_view.cc).
void forget_view(pid_t home) {
  std::error_code ignored;
  std::filesystem::remove_all(fmt::format("/dev/shm/gallocy-machine-{}", home), ignored);
}

}  // namespace

Launcher::Launcher(LaunchOptions options) : options_(std::move(options)) {}
Launcher::~Launcher() = default;

Outcome<int> Launcher::run() {
  GALLOCY_ASSIGN(settings_, settle(options_));
  host_name_ = host_name();
  raise_descriptor_limit(settings_.nodes);
  GALLOCY_TRY(open_rendezvous());
  signals_ = std::make_unique<Signals>(loop_, [this](const signalfd_siginfo& info) { pass_on(info); });
  console_ = std::make_unique<Console>(loop_, ConsoleOptions{.nodes = settings_.nodes, .prefix = options_.prefix},
                                       [this](int fd, int error) { output_failed(fd, error); });
  supervisor_ =
      std::make_unique<Supervisor>(settings_.nodes, options_.on_peer_lost,
                                   options_.process ? Supervisor::Kind::kOneProcess : Supervisor::Kind::kManyPrograms);
  instances_ = std::make_unique<Instances>(loop_, children_, static_cast<InstanceEvents&>(*this));
  GALLOCY_TRY(start());
  open_run_record();
  loop_.run([this] { each_round(); });
  return finish();
}

Outcome<> Launcher::open_rendezvous() {
  GALLOCY_ASSIGN(rendezvous_, net::Rendezvous::open({.host = settings_.address,
                                                     .port = options_.port,
                                                     .nodes = settings_.nodes,
                                                     .secret = settings_.secret,
                                                     .join_timeout = std::chrono::seconds(options_.join_timeout_s)},
                                                    *this));
  loop_.watch(rendezvous_->fd(), EPOLLIN, [this](std::uint32_t) { rendezvous_->step(); });
  return {};
}

Outcome<> Launcher::start() {
  record_ = std::make_unique<RunRecord>(new_run_name(), options_.program, settings_.nodes,
                                        settings_.transport == net::LinkKind::kShm ? "shm" : "tcp");
  if (settings_.hosts.empty() || options_.process) {
    std::vector<NodeId> all;
    const std::uint16_t here = settings_.hosts.empty() ? settings_.nodes : 1;
    for (std::uint16_t node = 0; node < here; ++node) all.push_back(NodeId{node});
    GALLOCY_TRY(instances_->start(plan_for(all, options_, settings_, rendezvous_->port()), STDIN_FILENO));
    for (const auto node : all) note_started(node, host_name_, instances_->pid(node));
    if (settings_.hosts.empty()) return {};
  }
  std::error_code none;
  const auto own_path = std::filesystem::read_symlink("/proc/self/exe", none).string();
  const auto remote = options_.remote_command.empty() ? own_path : options_.remote_command;
  const auto how =
      options_.launch_template.empty() ? default_template(options_.connect_timeout_s) : options_.launch_template;
  for (const auto& host : settings_.hosts) {
    auto agent = std::make_unique<AgentChannel>(loop_, children_, static_cast<InstanceEvents&>(*this),
                                                static_cast<AgentEvents&>(*this), host);
    GALLOCY_TRY(agent->start(fill_template(how, host.name, {remote, "agent"}),
                             plan_for(host.nodes, options_, settings_, rendezvous_->port()),
                             std::chrono::seconds(options_.connect_timeout_s)));
    agents_.push_back(std::move(agent));
  }
  return {};
}

// That `gallocy stat` will not know this run is no reason not to run it.
void Launcher::open_run_record() {
  const auto directory = run_directory();
  if (!directory) return console_->say("warning: gallocy stat will not show this run: " + directory.error().message);
  directory_ = *directory;
  auto server = StatServer::open(
      loop_, fmt::format("{}/{}.sock", directory_, record_->run()),
      {.ask = [this] { return rendezvous_->request_statistics(); }, .record = [this] { return record_->text(); }});
  if (!server) {
    directory_.clear();
    return console_->say("warning: gallocy stat will not show this run: " + server.error().message);
  }
  stat_server_ = std::move(*server);
}

void Launcher::each_round() {
  const bool full = console_->full();
  instances_->pause(full);
  for (const auto& agent : agents_) agent->pause(full);
  pump_input();
  arm_rendezvous_timer();
  if (done()) loop_.stop();
}

void Launcher::arm_rendezvous_timer() {
  const auto deadline = rendezvous_->deadline();
  if (deadline == rendezvous_deadline_) return;
  loop_.cancel(rendezvous_timer_);
  rendezvous_deadline_ = deadline;
  if (deadline) rendezvous_timer_ = loop_.at(*deadline, [this] { rendezvous_->step(); });
}

bool Launcher::done() const {
  if (supervisor_->running_count() > 0 || !instances_->done() || !console_->empty()) return false;
  return std::all_of(agents_.begin(), agents_.end(), [](const auto& agent) { return agent->gone(); });
}

int Launcher::finish() {
  int status = supervisor_->exit_status();
  record_->ended(status);
  stat_server_.reset();
  if (options_.process) forget_view(instances_->pid(NodeId{0}));
  const auto text = record_->text();
  if (!directory_.empty()) {
    const auto written = write_file(fmt::format("{}/{}.json", directory_, record_->run()), text);
    if (!written) console_->say("warning: gallocy stat will not show this run: " + written.error().message);
    forget_old_runs(directory_);
  }
  if (!options_.stats_file.empty()) {
    const auto written = write_file(options_.stats_file, text);
    if (!written) {
      console_->say(written.error().message);
      if (status == 0) status = written.error().status;
    }
  }
  return status;
}

void Launcher::note_started(NodeId node, const std::string& host, std::int64_t pid) {
  supervisor_->started(node, host, pid);
  record_->started(node, host, pid);
}

void Launcher::pass_on(const signalfd_siginfo& info) {
  const int signal = static_cast<int>(info.ssi_signo);
  switch (signal) {
    case SIGCHLD:
      return children_.reap();
    case SIGINT:
    case SIGTERM:
    case SIGHUP:
    case SIGQUIT:
      supervisor_->interrupted(signal);
      break;
    default:
      break;
  }
  // What the terminal sends, it sends to all of its foreground group: instances that are in it have it already.
  const bool from_terminal = info.ssi_code == SI_KERNEL;
  if (options_.process) {  // the program decides what it does with it
    if (signal == SIGCONT)
      signal_all(SIGCONT, Instances::Reach::kProcess);
    else if (!from_terminal)
      instances_->signal(NodeId{0}, signal);
    return;
  }
  instances_->signal_all(signal, from_terminal ? Instances::Reach::kOutsideTerminal : Instances::Reach::kProcess);
  for (const auto& agent : agents_) agent->signal_all(signal, Instances::Reach::kProcess);
  if (signal == SIGTSTP) ::kill(::getpid(), SIGSTOP);
}

// The program was stopped, by a terminal or another process: so are its other parts, whose threads would go on and
// whose peers would miss it, and this command, for the shell to see.
void Launcher::home_stopped() {
  if (supervisor_->ending()) return;
  for (std::uint16_t node = 1; node < settings_.nodes; ++node) {
    instances_->signal(NodeId{node}, SIGSTOP);
    for (const auto& agent : agents_) agent->signal(NodeId{node}, SIGSTOP);
  }
  ::kill(::getpid(), SIGSTOP);
}

void Launcher::apply(const Verdict& verdict) {
  if (!verdict.message.empty()) console_->say(verdict.message);
  for (const auto node : verdict.kill) {
    instances_->signal(node, SIGKILL);
    for (const auto& agent : agents_) agent->signal(node, SIGKILL);
  }
  if (!verdict.end_all) return;
  if (verdict.told)  // what they still say of themselves is wanted
    loop_.after(kEndGrace, [this] { end_all(); });
  else
    end_all();
}

void Launcher::signal_all(int signal, Instances::Reach reach) {
  instances_->signal_all(signal, reach);
  for (const auto& agent : agents_) agent->signal_all(signal, reach);
}

void Launcher::end_all() {
  if (options_.process && supervisor_->running(NodeId{0})) return end_process();
  signal_all(SIGTERM, Instances::Reach::kProcess);
  signal_all(SIGCONT, Instances::Reach::kProcess);  // a stopped process would not notice
  loop_.after(kEndGrace, [this] {
    signal_all(SIGKILL, Instances::Reach::kGroup);
    loop_.after(kEndGrace, [this] {
      for (const auto& agent : agents_) agent->give_up();
    });
  });
  // Agents that are still on their way have started nothing.
  for (const auto& agent : agents_) {
    if (agent->starting()) agent->give_up();
  }
}

// One process that has lost a part cannot go on to its own end: its signal handlers, say, would wait for that part.
void Launcher::end_process() {
  const pid_t home = instances_->pid(NodeId{0});
  ::kill(home, SIGSTOP);  // it makes no more children
  const auto session = ::getsid(home);
  for (const pid_t child : descendants_of(home)) {
    if (::getsid(child) == session) ::kill(child, SIGKILL);
  }
  signal_all(SIGKILL, Instances::Reach::kGroup);
  // Hosts that cannot be reached do not answer; where an agent sees the end of its connection it ends what it started.
  loop_.after(kAgentGrace, [this] {
    for (const auto& agent : agents_) agent->give_up();
  });
}

void Launcher::lost_unless_explained(NodeId node, std::string reason) {
  loop_.after(kCauseGrace, [this, node, reason = std::move(reason)] { apply(supervisor_->lost(node, reason)); });
}

void Launcher::output_failed(int fd, int error) {
  if (error == EPIPE) {  // as a program ends whose reader has gone
    apply(supervisor_->stop(128 + SIGPIPE, ""));
    return;
  }
  const auto message =
      fmt::format("cannot write standard {}: {}", fd == STDOUT_FILENO ? "output" : "error", std::strerror(error));
  apply(supervisor_->stop(static_cast<int>(ErrorCode::kNoSpace), message));
}

}  // namespace gallocy::command
