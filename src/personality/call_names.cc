#include <fmt/format.h>
#include <sys/syscall.h>

#include "personality/call_table.h"

namespace gallocy::personality {

std::string call_name(long number) {
  switch (number) {
#define GALLOCY_CALL(name) \
  case SYS_##name:         \
    return #name;
#include "call_names.inc"  // made by CMake
    default:
      return fmt::format("call {}", number);
  }
}

}  // namespace gallocy::personality
