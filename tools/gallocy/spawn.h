// Starting a process: the few steps between vfork and exec, and finding the program.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "failure.h"

namespace gallocy::command {

enum class ProcessGroup : bool { kOwn, kOfParent };

struct SpawnRequest {
  std::string path;                    // as find_program gave it
  std::vector<std::string> arguments;  // with the program's name as first
  std::vector<std::string> environment;
  std::string directory;  // empty: that of the caller
  int input = -1, output = -1, error = -1;
  std::span<const int> inherited;  // descriptors that stay open, under their numbers
  ProcessGroup group = ProcessGroup::kOwn;
};

// The child dies with this process (PR_SET_PDEATHSIG) and starts with no signal blocked or ignored by us.
Outcome<pid_t> spawn(const SpawnRequest& request);

// The file that the shell would run for `name`. 127: there is none; 126: it is not executable.
Outcome<std::string> find_program(const std::string& name, const std::string& directory = {});

// This process's environment with `additions` ("NAME=value") set over it. Variables of a launch around this one are
// dropped.
std::vector<std::string> environment_with(std::span<const std::string> additions);

}  // namespace gallocy::command
