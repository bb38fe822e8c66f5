#include "heap/host.h"

#include <fmt/format.h>

namespace gallocy::heap {
namespace {

const char* what(FreeError error) {
  switch (error) {
    case FreeError::kNone:
      return "good free";
    case FreeError::kDoubleFree:
      return "double free";
    case FreeError::kInsideObject:
      return "free of a pointer that is not the start of an object";
    case FreeError::kNotAllocated:
      return "free of memory that is not allocated";
    case FreeError::kForeign:
      return "free of a pointer that is not of the global heap";
  }
  return "bad free";
}

}  // namespace

std::string to_string(const BadFree& bad) {
  auto line = fmt::format("{}: {:#x}", what(bad.error), bad.address);
  if (bad.object_bytes != 0) line += fmt::format(", object of {} bytes", bad.object_bytes);
  if (bad.owner != kNoNode) line += fmt::format(", memory of node {}", bad.owner);
  if (bad.freed_by != kNoNode) line += fmt::format(", freed by node {}", bad.freed_by);
  return line;
}

}  // namespace gallocy::heap
