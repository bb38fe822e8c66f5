// What the runtime has to know about a system call that it passes on to the kernel: on which node it is made, and which
// of its arguments point to the program's memory. Sources: syscalls(2) and the pages of the single calls.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace gallocy::personality {

enum class CallPlace : std::uint8_t {
  kHere,  // on the calling thread's node: sleeping, clocks, scheduling
  kHome,  // on node 0, where the files and all other kernel objects of the process are
};

enum class Direction : std::uint8_t { kNone, kIn, kOut, kInOut, kString };

// One pointer argument. Bytes: `bytes` times the value of argument `count_argument`, if there is one.
struct PointerArgument {
  Direction direction = Direction::kNone;
  std::uint8_t argument = 0;
  std::uint32_t bytes = 0;
  std::int8_t count_argument = -1;
  bool result_counts = false;  // of the bytes, only `bytes` times the result come back
};

struct CallSpec {
  CallPlace place = CallPlace::kHome;
  bool blocks = false;    // may wait long, so a signal must end it
  bool restarts = false;  // is made again after a handler with SA_RESTART
  std::array<PointerArgument, 4> pointers{};
};

// Null: the call has no entry, and is refused with ENOSYS.
const CallSpec* call_spec(long number);
std::string call_name(long number);  // for messages

}  // namespace gallocy::personality
