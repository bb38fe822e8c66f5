// The processes this one started, each with what to do at its end. Call reap() after SIGCHLD.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace gallocy::command {

class Children {
 public:
  using Ended = std::function<void(int wait_status)>;
  // kWithGroup: the process leads a group, and whatever else is in it is killed when the process ends.
  enum class Ending : bool { kAlone, kWithGroup };
  // `stopped` is called when a signal has stopped it.
  void add(pid_t pid, Ending ending, Ended ended, std::function<void()> stopped = {}) {
    children_[pid] = {ending, std::move(ended), std::move(stopped)};
  }
  void reap();
  std::size_t alive() const { return children_.size(); }

 private:
  struct Child {
    Ending ending;
    Ended ended;
    std::function<void()> stopped;
  };
  void note_stop(pid_t pid);

  std::unordered_map<pid_t, Child> children_;
};

// Its children, their children and so on, as they are now.
std::vector<pid_t> descendants_of(pid_t pid);

// "exited with status 3", "was killed by signal 9 (SIGKILL)".
std::string describe_end(int wait_status);
// As a shell reports it: the status, or 128 + signal.
int shell_status(int wait_status);

}  // namespace gallocy::command
