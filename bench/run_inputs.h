// What the programs of group `run` work on, in a folder of its own that the destructor removes. Each thing is made when
// it is first asked for.
#pragma once

#include <filesystem>
#include <string>

#include "core_rows.h"

namespace gallocy::bench {

class RunInputs {
 public:
  RunInputs(const Programs& programs, Scale scale) : programs_(programs), scale_(scale) {}
  ~RunInputs();
  RunInputs(const RunInputs&) = delete;
  RunInputs& operator=(const RunInputs&) = delete;

  // A text of 36 MiB: pieces of this project's sources in an order that a fixed seed decides.
  gallocy::Result<std::filesystem::path> text();
  // The folder of the compiled Java program.
  gallocy::Result<std::filesystem::path> java_classes();
  // One of these: text, classes; lines (text that does not end at a page's end: programs of Phoenix map a file and read
  // one byte more), picture (a bitmap of 24 bits per pixel), matrices (the folder of two files of 1024 rows of 1024
  // numbers). The last three are made of the text.
  gallocy::Result<std::filesystem::path> named(const std::string& name);

 private:
  gallocy::Result<std::filesystem::path> folder();
  gallocy::Result<> write_text(const std::filesystem::path& path) const;
  gallocy::Result<std::filesystem::path> file_of_text(const std::string& name, const std::string& heading,
                                                      std::size_t bytes);

  const Programs& programs_;
  const Scale scale_;
  std::filesystem::path folder_;  // empty: not made yet
  bool has_text_ = false, has_classes_ = false;
};

// The program's path, by $PATH; empty if there is none.
std::filesystem::path find_program(const std::string& name);

// Of all bytes of a file.
gallocy::Result<std::string> digest_of_file(const std::filesystem::path& path);

}  // namespace gallocy::bench
