// A program for tests of launching: it does what its arguments say, in order. "2:ACTION" is for node 2 alone.
//
//   join              meets the others through the launcher        leave      says that its end is no failure
//   pid               prints "node N is PID"                       print=TEXT prints a line; %n is the node's number
//   error=TEXT        the same on standard error                   lines=N    prints N numbered lines
//   raw=N             prints N bytes without a newline             cat        copies its input to its output, by lines
//   wait              until it is killed                           exit=N     ends with that status
//   kill=N            kills itself with signal N                   handle=N   on signal N prints "signal N" and exits 7
//   ignore=N          ignores signal N
//   statistics=JSON   sends it, now and when asked                 lost=N     reports that node N does not answer
//   children=N        starts N processes that wait                 environment prints its GALLOCY_ variables
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "net/rendezvous.h"

namespace {

using gallocy::net::LauncherLink;

unsigned node_id = 0;
std::unique_ptr<LauncherLink> launcher_link;
std::string statistics = "{}";

int number(std::string_view text) { return std::atoi(std::string(text).c_str()); }

void say(const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
}

std::string with_node(std::string text) {
  for (auto at = text.find("%n"); at != std::string::npos; at = text.find("%n")) {
    text.replace(at, 2, std::to_string(node_id));
  }
  return text;
}

[[noreturn]] void give_up(const gallocy::Error& error) {
  fmt::print(stderr, "script_node {}: {}\n", node_id, error.message);
  std::exit(static_cast<int>(error.code));
}

void join() {
  auto launched = gallocy::net::launch_from_environment();
  if (!launched) give_up(launched.error());
  if (!*launched) return;
  auto link = LauncherLink::connect(**launched);
  if (!link) give_up(link.error());
  launcher_link = std::move(*link);
  const auto peers =
      launcher_link->exchange({launcher_link->listen_host(), static_cast<std::uint16_t>(1000 + node_id)});
  if (!peers) give_up(peers.error());
  launcher_link->watch({.statistics = [] { return statistics; }, .launcher_gone = [] { ::_exit(70); }});
  std::string text = fmt::format("node {} knows", node_id);
  for (const auto& peer : *peers) text += fmt::format(" {}:{}", peer.host, peer.port);
  say(text + '\n');
}

void start_children(int count) {
  for (int i = 0; i < count; ++i) {
    if (::fork() == 0) {
      for (;;) ::pause();
    }
  }
}

extern "C" void handle(int signal) {
  const auto line = fmt::format("signal {}\n", signal);
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) ::_exit(8);
  ::_exit(7);
}

void act(std::string_view action) {
  if (const auto colon = action.find(':');
      colon != std::string_view::npos && colon > 0 && colon < 4 &&
      action.substr(0, colon).find_first_not_of("0123456789") == std::string_view::npos) {
    if (number(action.substr(0, colon)) != static_cast<int>(node_id)) return;
    action.remove_prefix(colon + 1);
  }
  const auto equals = action.find('=');
  const auto name = action.substr(0, equals);
  const auto value = equals == std::string_view::npos ? std::string() : std::string(action.substr(equals + 1));
  if (name == "join")
    join();
  else if (name == "leave")
    (void)launcher_link->finished();
  else if (name == "pid")
    say(fmt::format("node {} is {}\n", node_id, ::getpid()));
  else if (name == "print")
    say(with_node(value) + '\n');
  else if (name == "error")
    std::cerr << with_node(value) + '\n';
  else if (name == "lines")
    for (int i = 0; i < number(value); ++i) fmt::print("node {} line {}\n", node_id, i);
  else if (name == "raw")
    say(std::string(static_cast<std::size_t>(number(value)), 'x'));
  else if (name == "cat")
    for (std::string line; std::getline(std::cin, line);) say(line + '\n');
  else if (name == "wait")
    for (;;) ::pause();
  else if (name == "exit")
    std::exit(number(value));
  else if (name == "kill")
    ::kill(::getpid(), number(value));
  else if (name == "handle")
    ::signal(number(value), handle);
  else if (name == "ignore")
    ::signal(number(value), SIG_IGN);
  else if (name == "statistics")
    (void)launcher_link->send_statistics(statistics = with_node(value));
  else if (name == "lost")
    launcher_link->report_lost(gallocy::NodeId{static_cast<std::uint16_t>(number(value))}, "no answer for 2 s");
  else if (name == "children")
    start_children(number(value));
  else if (name == "environment") {
    for (char** entry = ::environ; *entry; ++entry)
      if (std::string_view(*entry).starts_with("GALLOCY_")) say(std::string(*entry) + '\n');
  } else
    give_up({gallocy::ErrorCode::kInvalidArgument, fmt::format("unknown action '{}'", action)});
}

}  // namespace

int main(int count, char** arguments) {
  if (const char* node = std::getenv("GALLOCY_NODE")) node_id = static_cast<unsigned>(number(node));
  for (int i = 1; i < count; ++i) act(arguments[i]);
  std::fflush(stdout);
}
