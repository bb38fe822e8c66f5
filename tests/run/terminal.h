// A program on a terminal of its own (pty(7)), with a person who types and reads. Every wait has a bound.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "process.h"

namespace gallocy::testing {

class Terminal {
 public:
  Terminal(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment);
  ~Terminal();  // hangs up and kills the program
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys);
  void resize(unsigned short rows, unsigned short columns);

  // Reads on until `text` has appeared behind what earlier calls have matched.
  bool await(const std::string& text, milliseconds bound = milliseconds(40'000));
  const std::string& screen() const { return screen_; }  // all that was ever printed

  pid_t foreground() const;  // the process group
  pid_t pid() const { return pid_; }
  int wait(milliseconds bound = milliseconds(40'000));  // as Process::wait

 private:
  void read();

  int master_ = -1;
  pid_t pid_ = -1;
  bool ended_ = false;
  int status_ = -1;
  std::string screen_;
  std::size_t seen_ = 0;
};

}  // namespace gallocy::testing
