#include "serve.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "runtime/runtime.h"
#include "runtime/steward.h"
#include "unique_fd.h"

namespace gallocy::command {
namespace {

// Each node that ever joins takes a descriptor.
void allow_many_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// Tells systemd, if it started this process and asked for it (sd_notify(3)).
void notify(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr) return;
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string_view name(path);
  if (name.size() >= sizeof address.sun_path) return;
  name.copy(address.sun_path, name.size());
  if (name.front() == '@') address.sun_path[0] = '\0';  // the abstract name space
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  (void)::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
                 length);
}

// Blocked in all threads, so that they come here.
UniqueFd take_signals() {
  sigset_t ends;
  ::sigemptyset(&ends);
  ::sigaddset(&ends, SIGTERM);
  ::sigaddset(&ends, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  return UniqueFd(::signalfd(-1, &ends, SFD_CLOEXEC));
}

bool was_sent(int signals) {
  pollfd polled{.fd = signals, .events = POLLIN, .revents = 0};
  return ::poll(&polled, 1, 0) == 1;
}

// Whether a visitor asked for it; else it was a signal.
bool wait_for(int signals, int asked) {
  pollfd polled[] = {{.fd = signals, .events = POLLIN, .revents = 0}, {.fd = asked, .events = POLLIN, .revents = 0}};
  while (::poll(polled, 2, -1) < 0) {
  }
  eventfd_t times;
  signalfd_siginfo which;
  if (polled[0].revents != 0) (void)!::read(signals, &which, sizeof which);
  if (polled[1].revents != 0) ::eventfd_read(asked, &times);
  return polled[1].revents != 0;
}

// While it leaves: who insists need not wait.
class SecondSignal {
 public:
  explicit SecondSignal(int signals)
      : thread_([this, signals] {
          while (!over_) {
            pollfd polled[] = {{.fd = signals, .events = POLLIN, .revents = 0},
                               {.fd = end_.get(), .events = POLLIN, .revents = 0}};
            (void)::poll(polled, 2, -1);
            if (!over_ && was_sent(signals)) ::_exit(128 + SIGTERM);
          }
        }) {}
  ~SecondSignal() {
    over_ = true;
    ::eventfd_write(end_.get(), 1);
    thread_.join();
  }

 private:
  std::atomic<bool> over_{false};
  const UniqueFd end_{::eventfd(0, EFD_CLOEXEC)};
  std::thread thread_;
};

runtime::NodeLog log_of(const ServeOptions& options) {
  runtime::NodeLog log{.directory = options.log_dir, .without = {}, .shards = options.shards};
  for (const unsigned node : options.without) log.without.push_back(NodeId{static_cast<std::uint16_t>(node)});
  return log;
}

const char* greeting(runtime::Steward::Way way) {
  switch (way) {
    case runtime::Steward::Way::kFounds:
      return "the cluster is founded";
    case runtime::Steward::Way::kJoins:
      return "member of the cluster";
    case runtime::Steward::Way::kReturns:
      return "the cluster has started again";
  }
  return "";
}

}  // namespace

Outcome<int> serve(const ServeOptions& options) {
  const UniqueFd signals = take_signals();
  const UniqueFd asked(::eventfd(0, EFD_CLOEXEC));
  allow_many_descriptors();
  auto runtime = runtime::Runtime::serve(options.node, log_of(options));
  if (!runtime) return tl::unexpected(Failure(runtime.error()));
  if ((*runtime)->steward() == nullptr) {
    return fail_with(ErrorCode::kInvalidArgument,
                     "a node needs an address: --listen host:port to found a cluster, --join host:port of a member to "
                     "join one");
  }
  runtime::Steward& steward = *(*runtime)->steward();
  steward.may_be_asked_to_leave([&] { ::eventfd_write(asked.get(), 1); });
  fmt::print("gallocy: node {} at {}: {}\n", steward.self(), steward.address(), greeting(steward.way()));
  std::fflush(stdout);
  notify("READY=1");
  for (;;) {
    const bool was_asked = wait_for(signals.get(), asked.get());
    notify("STOPPING=1");
    // Nothing that was acknowledged is in memory only, and its machine may just be starting anew, as may all others.
    if (const std::string& log = (*runtime)->settings().log_dir; !log.empty() && !was_asked) {
      fmt::print("gallocy: node {} ends; its log stays in {}\n", steward.self(), log);
      std::fflush(stdout);
      ::_exit(0);
    }
    const SecondSignal impatient(signals.get());
    const auto left = (*runtime)->leave();
    steward.has_left(left);
    if (left) break;
    fmt::print(stderr, "gallocy: node {} stays: {}\n", steward.self(), left.error().message);
    notify("READY=1");
  }
  fmt::print("gallocy: node {} has left\n", steward.self());
  std::fflush(stdout);
  return 0;
}

}  // namespace gallocy::command
