// Error values of the library and exit codes of its programs.
//
// Every call that can fail for an expected reason returns a result that holds an Error; its message is one line: what
// failed, where, and what to do about it. The same codes are the exit statuses of the `gallocy` command
// (docs/protocol.md, "Exit codes").
#pragma once

#include <cstdint>
#include <string>

namespace gallocy {

enum class ErrorCode : std::uint8_t {
  kInvalidArgument = 64,  // a flag or an argument is wrong (EX_USAGE)
  kNotFound = 66,         // a name, a program or a region does not exist
  kUnreachable = 68,      // a host or port cannot be reached
  kUnsupported = 69,      // this machine lacks something; `gallocy doctor` says what
  kPeerLost = 70,         // a node of the cluster died or was cut off
  kOsError = 71,          // a system call failed
  kAddressInUse = 72,     // a port or address range is taken
  kNoSpace = 73,          // a disk is full, or a log cannot be written
  kOutOfMemory = 74,      // the window, a budget or the cluster's memory is exhausted
  kTimeout = 75,          // a bounded wait ran out
  kProtocol = 76,         // a peer sent something that is not gallocy's protocol
  kNotPermitted = 77,     // wrong secret, missing privilege
  kExists = 78,           // the name is taken
  kOwnerDied = 79,        // the lock's last holder died; its data may be half-written
  kConflict = 80,         // a transaction did not happen, as another was in its way: try again
  kLost = 81,             // durable memory: more nodes died at once than it has backups
};

struct Error {
  ErrorCode code = ErrorCode::kOsError;
  std::string message;
};

}  // namespace gallocy
