// Runs a program to its end and gives back what it printed.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gallocy/result.h"

namespace gallocy::bench {

struct ChildOutput {
  std::string text;    // standard output
  double seconds = 0;  // from the start of the process to its end

  // The value of the last `name=value` in the output, up to the next white space.
  std::optional<std::string> value(const std::string& name) const;
  gallocy::Result<double> number(const std::string& name) const;
};

// `settings` are added to the environment. An error if the program cannot be started, does not end with status 0, or
// has not ended after `timeout` (it is then killed, with its process group); the message holds the last line of its
// standard error.
gallocy::Result<ChildOutput> run_child(const std::vector<std::string>& command,
                                       const std::map<std::string, std::string>& settings = {},
                                       std::chrono::seconds timeout = std::chrono::seconds(120));

}  // namespace gallocy::bench
