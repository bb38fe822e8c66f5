// CommandLine: the flags of an example. Every example has --plain and --help; a bad flag ends it with one line and
// exit status 64.
//
//   std::size_t size = 256;
//   example::CommandLine line("Multiplies two matrices.");
//   line.add("--size", size, 1, 16384, "rows and columns");
//   if (auto status = line.parse(argc, argv)) return *status;
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace example {

class CommandLine {
 public:
  explicit CommandLine(const std::string& description);
  ~CommandLine();

  // A number between `least` and `most`; the value it has now is the default.
  void add(const std::string& flag, std::size_t& value, std::size_t least, std::size_t most, const std::string& help);
  // The arguments without a flag: existing files or directories.
  void add_paths(std::vector<std::string>& paths, const std::string& help);

  // The exit status if the program is to end here: 0 after --help, 64 after a bad flag.
  std::optional<int> parse(int argc, char** argv);

  // 0: run on the cluster; else the number of threads of a run on ordinary memory.
  std::size_t plain_threads() const { return plain_threads_; }

 private:
  std::unique_ptr<CLI::App> app_;
  std::size_t plain_threads_ = 0;
};

}  // namespace example
