// Writes the files and links of MachineView. A part of that class on its own because of its length.
#pragma once

#include <filesystem>
#include <span>

#include "base/result.h"
#include "personality/machine_facts.h"

namespace gallocy::personality {

// Makes <directory>/proc and <directory>/sys, which must not exist; `directory` must. Files are read-only. Stops at the
// first call that fails; the error names the path, and what was made stays.
Result<> write_machine_tree(std::span<const MachineFacts> nodes, const std::filesystem::path& directory);

}  // namespace gallocy::personality
