#include "run_inputs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/prng.h"
#include "child.h"

namespace gallocy::bench {

using gallocy::ErrorCode;
using gallocy::fail;
using gallocy::Result;
using std::filesystem::path;

namespace {

constexpr std::size_t kMiB = 1 << 20;

// The lines of all sources, in the order of the files' names, so that they do not depend on the file system.
Result<std::vector<std::string>> source_lines() {
  std::vector<path> files;
  std::error_code error;
  for (const char* folder : {"bench", "examples", "include", "src", "tests", "tools"}) {
    std::filesystem::recursive_directory_iterator entry(path(GALLOCY_SOURCES) / folder, error), end;
    for (; !error && entry != end; entry.increment(error)) {
      const auto ending = entry->path().extension();
      if (ending == ".h" || ending == ".cc" || ending == ".c") files.push_back(entry->path());
    }
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> lines;
  for (const path& file : files) {
    std::ifstream input(file);
    for (std::string line; std::getline(input, line);) lines.push_back(line);
  }
  if (lines.empty()) return fail(ErrorCode::kNotFound, "there are no sources in " GALLOCY_SOURCES);
  return lines;
}

}  // namespace

RunInputs::~RunInputs() {
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

Result<path> RunInputs::folder() {
  if (!folder_.empty()) return folder_;
  std::string name = std::filesystem::temp_directory_path() / "gallocy-bench-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) {
    return fail(ErrorCode::kOsError, fmt::format("cannot make {}: {}", name, std::strerror(errno)));
  }
  return folder_ = name;
}

Result<path> RunInputs::text() {
  const auto in = folder();
  if (!in) return in;
  const path file = *in / "text";
  if (!has_text_) {
    if (const auto written = write_text(file); !written) return tl::unexpected(written.error());
    has_text_ = true;
  }
  return file;
}

Result<> RunInputs::write_text(const path& file) const {
  const auto lines = source_lines();
  if (!lines) return tl::unexpected(lines.error());
  const std::size_t bytes = scale_ == Scale::kSmall ? kMiB : 36 * kMiB;
  constexpr std::size_t kMostLines = 12;  // of a piece: a few repeats within a window, as in any text
  Prng random(4141);
  std::string text;
  while (text.size() < bytes) {
    std::size_t at = random.below(lines->size());
    for (std::size_t left = 1 + random.below(kMostLines); left > 0; --left) {
      text += (*lines)[at++ % lines->size()];
      text += '\n';
    }
  }
  text.resize(bytes);
  std::ofstream output(file, std::ios::binary);
  output << text;
  output.close();
  if (!output) return fail(ErrorCode::kNoSpace, fmt::format("cannot write {}", file.string()));
  return {};
}

Result<path> RunInputs::java_classes() {
  const auto in = folder();
  if (!in || has_classes_) return in;
  const path source = path(GALLOCY_SOURCES) / "bench/run_programs/Compute.java";
  if (const auto compiled = run_child({"javac", "-d", *in, source}); !compiled) return tl::unexpected(compiled.error());
  has_classes_ = true;
  return in;
}

// `bytes` of the text, which is repeated as often as needed, behind the heading.
Result<path> RunInputs::file_of_text(const std::string& name, const std::string& heading, std::size_t bytes) {
  const auto from = text();
  if (!from) return from;
  const path file = from->parent_path() / name;
  std::ifstream input(*from, std::ios::binary);
  std::string piece(std::filesystem::file_size(*from), ' ');
  input.read(piece.data(), static_cast<std::streamsize>(piece.size()));
  std::ofstream output(file, std::ios::binary);
  output << heading;
  for (std::size_t left = bytes; left > 0 && output;) {
    const std::size_t some = std::min(left, piece.size());
    output.write(piece.data(), static_cast<std::streamsize>(some));
    left -= some;
  }
  output.close();
  if (!input || !output) return fail(ErrorCode::kNoSpace, fmt::format("cannot write {}", file.string()));
  return file;
}

Result<path> RunInputs::named(const std::string& name) {
  const bool small = scale_ == Scale::kSmall;
  if (name == "text") return text();
  if (name == "classes") return java_classes();
  if (name == "lines") return file_of_text("lines", "", (small ? 1 : 36) * kMiB - 1);
  // Of the size of Phoenix's own large data sets: less is done in 10 ms. STRING_MATCH reads one byte beyond its file.
  if (name == "points") return file_of_text("points", "", (small ? 1 : 512) * kMiB - 1);
  if (name == "picture") {
    std::string heading(54, '\0');
    heading[0] = 'B', heading[1] = 'M', heading[10] = 54, heading[28] = 24;
    return file_of_text("picture", heading, (small ? 1 : 512) * kMiB);
  }
  if (name != "matrices") return fail(ErrorCode::kNotFound, fmt::format("there is no input {}", name));
  for (const char* file : {"matrix_file_A.txt", "matrix_file_B.txt"}) {
    if (const auto made = file_of_text(file, "", 4 << 20); !made) return made;  // of 1024 rows
  }
  return folder();
}

path find_program(const std::string& name) {
  const char* const variable = std::getenv("PATH");
  std::istringstream folders(variable != nullptr ? variable : "/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const path candidate = path(folder) / name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

Result<std::string> digest_of_file(const path& file) {
  std::ifstream input(file, std::ios::binary);
  if (!input) return fail(ErrorCode::kNotFound, fmt::format("there is no {}", file.string()));
  std::uint64_t digest = 0xcbf29ce484222325, bytes = 0;  // FNV-1a
  std::array<char, 64 << 10> block;
  while (input.read(block.data(), block.size()), input.gcount() > 0) {
    for (std::streamsize i = 0; i < input.gcount(); ++i) {
      digest = (digest ^ static_cast<unsigned char>(block[static_cast<std::size_t>(i)])) * 0x100000001b3;
    }
    bytes += static_cast<std::uint64_t>(input.gcount());
  }
  return fmt::format("{:016x}/{}", digest, bytes);
}

}  // namespace gallocy::bench
