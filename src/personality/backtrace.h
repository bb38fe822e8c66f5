// How the program got where it is: made by the command (tools/gallocy/backtrace.h), whose libraries know the formats of
// debugging information, from what the process knows.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "personality/guest_entry.h"
#include "personality/object_map.h"

namespace gallocy::personality {

struct BacktraceTask {
  std::span<const MappedObject> objects;
  const GuestRegisters& registers;
  std::function<bool(std::uint64_t address, std::uint64_t& word)> read;  // the program's memory
};

// One line per frame, innermost first.
using Backtrace = std::string (*)(const BacktraceTask& task);

}  // namespace gallocy::personality
