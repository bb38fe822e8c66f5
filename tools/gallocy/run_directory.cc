#include "run_directory.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <set>

#include "unique_fd.h"

namespace gallocy::command {
namespace {

ErrorCode code_of(int error) {
  return error == ENOSPC || error == EDQUOT                    ? ErrorCode::kNoSpace
         : error == ENOENT                                     ? ErrorCode::kNotFound
         : error == EACCES || error == EPERM || error == EROFS ? ErrorCode::kNotPermitted
                                                               : ErrorCode::kOsError;
}

}  // namespace

Outcome<std::string> run_directory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const auto path = runtime != nullptr && *runtime == '/' ? fmt::format("{}/gallocy", runtime)
                                                          : fmt::format("/tmp/gallocy-{}", ::geteuid());
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail_with(code_of(errno), fmt::format("cannot make {}: {}", path, std::strerror(errno)));
  }
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() ||
      (status.st_mode & 077) != 0) {
    return fail_with(ErrorCode::kNotPermitted, fmt::format("{} is not a folder that only this user can enter", path));
  }
  return path;
}

std::vector<std::string> known_runs(const std::string& directory) {
  std::set<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const auto& path = entry->path();
    if (path.extension() == ".json" || path.extension() == ".sock") names.insert(path.stem());
  }
  return {names.begin(), names.end()};
}

std::string new_run_name() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return fmt::format("{:%Y%m%d-%H%M%S}.{:03}-{}", fmt::gmtime(now.tv_sec), now.tv_nsec / 1'000'000, ::getpid());
}

void forget_old_runs(const std::string& directory) {
  const auto runs = known_runs(directory);
  for (std::size_t i = 0; i + kRunsKept < runs.size(); ++i) {
    for (const char* ending : {".json", ".sock"}) ::unlink((directory + '/' + runs[i] + ending).c_str());
  }
}

Outcome<> write_file(const std::string& path, std::string_view text) {
  const auto beside = path + ".new";
  UniqueFd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  bool written = static_cast<bool>(file);
  while (written && !text.empty()) {
    const auto count = ::write(file.get(), text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    written = count > 0;
    if (written) text.remove_prefix(static_cast<std::size_t>(count));
  }
  if (written && ::rename(beside.c_str(), path.c_str()) == 0) return {};
  const int error = errno;
  if (file) ::unlink(beside.c_str());
  return fail_with(code_of(error), fmt::format("cannot write {}: {}", path, std::strerror(error)));
}

Outcome<std::string> read_file(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[64 << 10];
  ssize_t got = file ? 1 : -1;
  while (got > 0) {
    got = ::read(file.get(), buffer, sizeof buffer);
    if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
  }
  if (got < 0) return fail_with(code_of(errno), fmt::format("cannot read {}: {}", path, std::strerror(errno)));
  return text;
}

}  // namespace gallocy::command
