// SPLASH-3 and Phoenix-2.0: programs that somebody built elsewhere (docs/testing.md says how), with two threads, and
// how their results are known.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core_rows.h"

namespace gallocy::bench {

struct BuiltProgram {
  std::string name;
  std::filesystem::path folder;      // where it runs
  std::vector<std::string> command;  // `{lines}`, `{picture}` and `{matrices}` are what RunInputs has by these names
  std::string input;                 // what it reads from standard input
  std::string result;                // the lines of its output that contain this are its result, in any order

  std::string skip() const;  // why it cannot be run; empty: it can
  // Of the result; an error if there is none.
  gallocy::Result<std::string> digest(const std::string& output) const;
};

// Of the folder `codes` of Splash-3; none if it is empty. So is Phoenix's.
std::vector<BuiltProgram> splash3_programs(const std::filesystem::path& codes, Scale scale);
std::vector<BuiltProgram> phoenix_programs(const std::filesystem::path& phoenix, Scale scale);

// The words that run a program in `folder`, with `input` as its standard input.
std::vector<std::string> words_before(const BuiltProgram& program);

}  // namespace gallocy::bench
