#include "common/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string_view>

namespace example {

namespace {
constexpr int kExitUsage = 64;
constexpr std::size_t kMostThreads = 256;

// All instances of a launch get the same flags; the first one complains for all.
bool speaks() {
  const char* node = std::getenv("GALLOCY_NODE");  // set by `gallocy launch`
  return node == nullptr || std::string_view(node) == "0";
}

// CLI11 numbers are parsed with strtoull, which takes "-1" for 2^64 - 1.
CLI::Validator decimal() {
  return CLI::Validator(
      [](const std::string& text) {
        const bool digits =
            !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
        return digits ? std::string() : "'" + text + "' is not a whole number";
      },
      "");
}
}  // namespace

CommandLine::CommandLine(const std::string& description) : app_(std::make_unique<CLI::App>(description)) {
  app_->add_option("--plain", plain_threads_, "run on ordinary memory with this many threads, without a cluster")
      ->check(decimal())
      ->check(CLI::Range(std::size_t{1}, kMostThreads));
}

CommandLine::~CommandLine() = default;

void CommandLine::add(const std::string& flag, std::size_t& value, std::size_t least, std::size_t most,
                      const std::string& help) {
  app_->add_option(flag, value, help)->capture_default_str()->check(decimal())->check(CLI::Range(least, most));
}

void CommandLine::add_paths(std::vector<std::string>& paths, const std::string& help) {
  app_->add_option("paths", paths, help)->check(CLI::ExistingPath);
}

std::optional<int> CommandLine::parse(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return speaks() ? app_->exit(error) : 0;  // --help
    if (!speaks()) return kExitUsage;
    std::string reason = error.what();
    std::replace(reason.begin(), reason.end(), '\n', ' ');
    std::cerr << std::filesystem::path(argv[0]).filename().string() << ": " << reason << " (--help lists the flags)\n";
    return kExitUsage;
  }
}

}  // namespace example
