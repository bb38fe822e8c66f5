// The folder in which launches leave what `gallocy stat` reads: $XDG_RUNTIME_DIR/gallocy, else /tmp/gallocy-<uid>; of
// mode 0700. A run has one name; <name>.json holds its counters when it has ended, <name>.sock answers while it runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "failure.h"

namespace gallocy::command {

inline constexpr std::size_t kRunsKept = 20;

// Made if it is not there. An error if it belongs to somebody else or others can enter it.
Outcome<std::string> run_directory();

// Oldest first. Names begin with the time of the start.
std::vector<std::string> known_runs(const std::string& directory);
std::string new_run_name();
void forget_old_runs(const std::string& directory);

// The whole file or nothing: written beside it, then renamed. kNoSpace when the disk is full.
Outcome<> write_file(const std::string& path, std::string_view text);
Outcome<std::string> read_file(const std::string& path);

}  // namespace gallocy::command
