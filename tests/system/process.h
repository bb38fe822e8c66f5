// A process under test: started with its output in memory files, watched with bounds, ended by its id.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace gallocy::testing {

using std::chrono::milliseconds;

// Asks every 2 ms until it is true or the bound has passed; returns the last answer.
bool eventually(const std::function<bool()>& condition, milliseconds bound = milliseconds(10'000));

class Process {
 public:
  struct Options {
    std::map<std::string, std::string> environment;  // over this process's own
    std::string input;                               // standard input
    int output = -1;                                 // instead of a memory file
    unsigned user = 0;                               // to run as; 0: as now
  };

  explicit Process(const std::vector<std::string>& arguments);
  Process(const std::vector<std::string>& arguments, const Options& options);
  ~Process();  // kills it if it still runs
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number);
  // As a shell gives it: the exit status, or 128 + signal; -1 if it has not ended within the bound.
  int wait(milliseconds bound = milliseconds(20'000));
  milliseconds lifetime() const;  // from start to the end seen by wait()

  std::string output() const { return text_of(output_); }
  std::string error() const { return text_of(error_); }
  bool await_output(const std::string& text, milliseconds bound = milliseconds(10'000)) const;

 private:
  static std::string text_of(int fd);

  pid_t pid_ = -1;
  int output_ = -1, error_ = -1;
  std::optional<int> status_;
  std::chrono::steady_clock::time_point started_, ended_;
};

std::vector<std::string> lines_of(const std::string& text);

// Processes that carry NAME=value in their environment.
std::vector<pid_t> processes_with(const std::string& entry);

bool alive(pid_t pid);  // and not a zombie

}  // namespace gallocy::testing
