// MappedFiles: the files behind the mappings of a program, at the home. Each mapping's has an id, and a descriptor of
// the runtime, as the program may close its own; of some only the path is kept, as programs map more files than they
// may have descriptors.
//
// Threads: any.
#pragma once

#include <map>
#include <string>

#include "os/mutex.h"
#include "personality/descriptors.h"

namespace gallocy::personality {

// Of an open file, as the kernel shows it; empty: there is none.
std::string path_of(int fd);

class MappedFiles {
 public:
  explicit MappedFiles(Descriptors& descriptors) : descriptors_(descriptors) {}

  // The id of the file that the program has open as fd; kNoFile: no more can be open.
  int keep(int fd);
  // -1: there is none.
  int descriptor(int file);
  // Whether descriptors are getting scarce, of which the file has one.
  bool is_scarce(int file);
  // From now on the file is opened by its path.
  void keep_path(int file);
  // While a file of which only the path is kept is used. False: it cannot be opened any more.
  bool open(int file);
  void close(int file);
  // No mapping of it is left.
  void forget(int file);

 private:
  bool keep(int file, int fd) REQUIRES(mu_);

  Descriptors& descriptors_;
  os::Mutex mu_;
  std::map<int, int> open_ GUARDED_BY(mu_);           // our descriptor by id
  std::map<int, std::string> paths_ GUARDED_BY(mu_);  // of files that are opened by them
  int next_ GUARDED_BY(mu_) = 0;
};

}  // namespace gallocy::personality
