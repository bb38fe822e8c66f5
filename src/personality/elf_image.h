// Loading a program as execve does (Linux fs/binfmt_elf.c): its segments and its interpreter's into memory, and the
// stack it starts with (System V ABI, AMD64 supplement, 3.4.1).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace gallocy::personality {

// Where an image goes. Errors are negative errno, as from the system calls.
class ImageTarget {
 public:
  virtual ~ImageTarget() = default;
  virtual long map(std::uint64_t address, std::uint64_t bytes, int protection, int flags, int fd, std::uint64_t offset,
                   const std::string& name) = 0;
  // A fixed range of addresses outside the window, for a program that is not position independent.
  virtual bool allow_range(std::uint64_t begin, std::uint64_t end) = 0;
  virtual bool write(std::uint64_t to, const void* from, std::size_t bytes) = 0;
  virtual bool zero(std::uint64_t to, std::size_t bytes) = 0;
};

struct LoadedProgram {
  std::uint64_t start = 0;  // where the first instruction is: the interpreter's entry, or the program's
  std::uint64_t entry = 0, base = 0, headers = 0, header_count = 0, interpreter_base = 0;
  std::uint64_t vdso = 0, signal_stack_bytes = 0;
  std::string path;                    // of the file that was loaded
  std::string interpreter;             // the dynamic linker's; empty: the program has none
  std::vector<std::string> arguments;  // those of a script's interpreter are in front
};

// `path` as the user gave it, after the search in PATH. Scripts (#!) lead to their interpreter.
Result<LoadedProgram> load_program(const std::string& path, std::vector<std::string> arguments, ImageTarget& target);

// Whether load_program() would find something that it can run.
bool can_load(const std::string& path);
// Text without #!, which whoever calls execve has a shell run (execvp(3), sh(1)).
bool is_bare_script(const std::string& path);
// Whether to run it would change the ids of the process.
bool changes_ids(const std::string& path);

// Builds arguments, environment and the auxiliary vector below `top`; returns the stack pointer. 0: no room.
std::uint64_t build_stack(const LoadedProgram& program, const std::vector<std::string>& environment, std::uint64_t top,
                          ImageTarget& target);

}  // namespace gallocy::personality
