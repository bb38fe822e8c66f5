#include "stat.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "run_directory.h"
#include "stat_table.h"
#include "unique_fd.h"

namespace gallocy::command {
namespace {

using nlohmann::json;

// A launcher answers within StatServer::kPatience, unless it is stopped.
constexpr timeval kAnswerTimeout{.tv_sec = 3, .tv_usec = 0};

enum class Source : std::uint8_t { kRunning, kFinished };

Outcome<std::string> ask(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return fail_with(ErrorCode::kNotFound, "it is not running");
  }
  std::string text;
  char buffer[64 << 10];
  for (;;) {
    const auto got = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (got > 0) {
      text.append(buffer, static_cast<std::size_t>(got));
    } else if (got == 0) {
      return text;
    } else if (errno != EINTR) {
      return fail_with(ErrorCode::kTimeout, "the launcher does not answer; is it stopped?");
    }
  }
}

struct Answer {
  Source source;
  std::string text;
};

Outcome<Answer> look_up(const std::string& directory, const std::string& run) {
  const auto path = directory + '/' + run;
  if (::access((path + ".sock").c_str(), F_OK) == 0) {
    auto text = ask(path + ".sock");
    if (text && !text->empty()) return Answer{Source::kRunning, std::move(*text)};
    if (!text && text.error().status == static_cast<int>(ErrorCode::kTimeout)) {
      return fail_with(ErrorCode::kTimeout, fmt::format("run {}: {}", run, text.error().message));
    }
  }
  auto text = read_file(path + ".json");
  if (!text) return fail_with(ErrorCode::kNotFound, fmt::format("no run {} is known (see gallocy stat --list)", run));
  return Answer{Source::kFinished, std::move(*text)};
}

// The run to show: the one asked for, else one that runs, else the last that ended in order.
Outcome<Answer> choose(const std::string& directory, const StatOptions& options) {
  if (!options.run.empty()) {
    if (options.run.find('/') != std::string::npos) {
      return fail_with(ErrorCode::kInvalidArgument, fmt::format("'{}' is not the name of a run", options.run));
    }
    return look_up(directory, options.run);
  }
  const auto runs = known_runs(directory);
  std::optional<Answer> last;
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    auto answer = look_up(directory, *run);
    if (!answer && answer.error().status == static_cast<int>(ErrorCode::kTimeout)) return answer;
    if (!answer) continue;  // its launcher was killed
    if (answer->source == Source::kRunning && !options.last) return answer;
    if (answer->source == Source::kFinished && !last) last = std::move(*answer);
  }
  if (!last) return fail_with(ErrorCode::kNotFound, fmt::format("no run is known in {}", directory));
  return std::move(*last);
}

// The files are ours, but a person may have changed them.
Outcome<> show(const Answer& answer, const StatOptions& options) {
  if (options.json) {
    fmt::print("{}", answer.text);
  } else {
    try {
      fmt::print("{}", stat_table(json::parse(answer.text)));
    } catch (const json::exception& error) {
      return fail_with(ErrorCode::kProtocol, fmt::format("the record of the run is damaged: {}", error.what()));
    }
  }
  std::fflush(stdout);
  return {};
}

std::string summary(const json& record) try {
  std::string program;
  for (const auto& word : record.at("program")) program += ' ' + word.get<std::string>();
  return fmt::format("{:>4} nodes {}", record.at("nodes").size(), program);
} catch (const json::exception&) {
  return "damaged";
}

int list(const std::string& directory) {
  for (const auto& run : known_runs(directory)) {
    const auto answer = look_up(directory, run);
    if (!answer) continue;
    fmt::print("{}  {:<8}  {}\n", run, answer->source == Source::kRunning ? "running" : "finished",
               summary(json::parse(answer->text, nullptr, false)));
  }
  return 0;
}

}  // namespace

Outcome<int> stat(const StatOptions& options) {
  GALLOCY_ASSIGN(const auto directory, run_directory());
  if (options.list) return list(directory);
  for (;;) {
    GALLOCY_ASSIGN(const auto answer, choose(directory, options));
    if (options.watch && ::isatty(STDOUT_FILENO) == 1) fmt::print("\033[H\033[2J");
    GALLOCY_TRY(show(answer, options));
    if (!options.watch || answer.source == Source::kFinished) return 0;
    ::sleep(1);
  }
}

}  // namespace gallocy::command
