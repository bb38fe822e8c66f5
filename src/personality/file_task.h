// What a node that is to read or view a part of a file mapping is told.
#pragma once

#include <array>
#include <cstdint>

#include "personality/file_pages.h"

namespace gallocy::personality {

// Where the home's processes are numbered: which machine, since which start of it, in which namespace. Empty: unknown.
using MachineName = std::array<char, 64>;

struct FileTask {
  FilePart part;
  int home_pid = 0, descriptor = -1;  // the file, as the home has it open
  std::uint64_t device = 0, inode = 0;
  MachineName machine{};
};

}  // namespace gallocy::personality
