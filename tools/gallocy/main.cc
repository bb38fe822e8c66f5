// The `gallocy` command: hands the parsed command line to the part that does it.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "agent.h"
#include "backtrace.h"
#include "doctor.h"
#include "launcher.h"
#include "member.h"
#include "options.h"
#include "personality/process.h"
#include "serve.h"
#include "stat.h"

namespace gallocy::command {
namespace {

int report(const Failure& failure) {
  fmt::print(stderr, "gallocy: {}\n", failure.message);
  return failure.status;
}

int status_of(const Outcome<int>& outcome) { return outcome ? *outcome : report(outcome.error()); }

// The command ends as the program did, so that a shell says and does the same.
void end_by(int signal) {
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::signal(signal, SIG_DFL);
  sigset_t only;
  ::sigemptyset(&only);
  ::sigaddset(&only, signal);
  ::sigprocmask(SIG_UNBLOCK, &only, nullptr);
  ::raise(signal);
}

struct Dispatch {
  int operator()(LaunchOptions& options) const {
    int status = 0, signal = 0;
    {
      Launcher launcher(std::move(options));
      status = status_of(launcher.run());
      signal = launcher.killed_by();
    }
    if (signal != 0) end_by(signal);
    return status;
  }
  int operator()(DoctorOptions& options) const { return doctor(options); }
  int operator()(StatOptions& options) const { return status_of(stat(options)); }
  int operator()(ServeOptions& options) const { return status_of(serve(options)); }
  int operator()(MemberOptions& options) const { return status_of(member(options)); }
  int operator()(AgentOptions&) const { return run_agent(); }
  int operator()(Information& information) const {
    fmt::print("{}", information.text);
    return 0;
  }
};

// A pipe that took the number of a closed standard stream would be mistaken for it.
void open_standard_streams() {
  int fd = ::open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO) fd = ::open("/dev/null", O_RDWR);
  if (fd >= 0) ::close(fd);
}

}  // namespace
}  // namespace gallocy::command

int main(int count, char** arguments) {
  using namespace gallocy::command;
  open_standard_streams();
  // A node of `gallocy run`: the launcher starts this program with that name.
  if (count > 2 && std::string_view(arguments[1]) == "guest") {
    return gallocy::personality::run_guest({arguments + 2, arguments + count}, &backtrace);
  }
  auto options = parse_command_line(count, arguments);
  if (!options) return report(options.error());
  return std::visit(Dispatch{}, *options);
}
