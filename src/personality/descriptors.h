// Descriptors: the open files of the home, of which some are the runtime's and not the program's to see or use, and how
// many the program may have.
//
// Threads: any.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <set>
#include <vector>

#include "os/mutex.h"
#include "personality/call.h"

namespace gallocy::personality {

// The runtime's are out of the program's way, which counts from 0.
inline constexpr int kFirstRuntimeDescriptor = 900;

// Open descriptors of this process, ascending.
std::vector<int> open_descriptors();

class Descriptors {
 public:
  // Before the program begins: what is open from kFirstRuntimeDescriptor on is the runtime's. `limit`: RLIMIT_NOFILE
  // as this process was started with; the kernel's was raised for the runtime.
  void begin(const rlimit& limit);
  // What the runtime has just opened is kept as one of its own, out of the program's way; -1: there are too many, and
  // it is closed. fd may be -1.
  int raise(int fd);
  // It is the runtime's from now on, or was and is closed.
  void keep(int fd);
  void close(int fd);
  bool is_runtimes(long fd);

  // close_range(2), but for the runtime's. Negative: an error number.
  long close_range(const Call& call);

  // getrlimit, setrlimit and prlimit of RLIMIT_NOFILE, by the program about itself. -ENOSYS: of another limit.
  long limit_call(const Call& call);
  // The kernel's limit becomes the program's, in who executes another program or is its child. Takes no lock.
  void restore_limit() const;

  // fork(2). The child can use this object, whoever has its lock here.
  pid_t fork();
  // In the child: the runtime's, but one.
  void close_runtimes(int but);

 private:
  os::Mutex mu_;
  std::set<int> runtimes_ GUARDED_BY(mu_);
  rlimit limit_{};  // changed under mu_
};

}  // namespace gallocy::personality
