// MachineView: the cluster as one NUMA machine, as files. To a program in process mode node i is NUMA node i and socket
// i with the processors that node contributes, numbered through in the order of the nodes. write() makes a directory
// tree with what Linux 6.1 shows of such a machine under /proc and /sys; redirect() says which of the program's paths
// are to be opened there. So open, openat, stat, readdir, readlink and symlinks need no emulation.
//
// Everything but write() is const and may be called from any thread; redirect() allocates, so not in a signal handler
// that runs on the program's thread-local storage.
//
// Invariants.
// 1. Processor k of node i is processor first_processor(i) + k; first_processor(0) is 0; there are no holes.
// 2. All symlinks of the tree are relative and stay in it, and nothing outside `directory` is made or removed.
// 3. The tree is a snapshot: it does not change after write(), whatever the nodes' memory does.
//
//   personality::MachineView view({facts_of_node_0, facts_of_node_1}, "/dev/shm/gallocy-4711");
//   GALLOCY_TRY(view.write());
//   if (auto path = view.redirect("/proc/cpuinfo")) fd = ::open(path->c_str(), O_RDONLY);
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "personality/machine_facts.h"

namespace gallocy::personality {

class MachineView {
 public:
  // `nodes`: one entry for each node, at its id; at least one. `directory`: an absolute path for the tree, which need
  // not exist. About 70 files for each processor; a memory file system is best.
  MachineView(std::vector<MachineFacts> nodes, std::filesystem::path directory);
  // Removes what write() made: <directory>/proc, <directory>/sys, and the directory if write() made it and it is empty.
  ~MachineView();
  MachineView(const MachineView&) = delete;
  MachineView& operator=(const MachineView&) = delete;

  // Makes the tree; once. kExists: the directory has a proc or sys already (which stays). Else the error of the failed
  // call (kNoSpace, kNotPermitted, kOsError, …) with the path; what was made until then goes with the destructor.
  Result<> write();

  // Where the mirrored file or directory lies, for paths at or below /proc/cpuinfo, /proc/meminfo, /proc/stat,
  // /sys/devices/system/cpu, /sys/devices/system/node, /sys/bus/cpu and /sys/bus/node, else nothing. "//", "/./" and a
  // slash at the end are understood; a path with ".." or one that is not absolute is left alone. The mirrored file need
  // not exist: then the machine does not have it either.
  std::optional<std::string> redirect(std::string_view absolute_path) const;

  unsigned nodes() const { return static_cast<unsigned>(nodes_.size()); }
  unsigned processors() const { return first_.back(); }  // of all nodes
  NodeId node_of_processor(unsigned processor) const;    // processor < processors()
  unsigned first_processor(NodeId node) const;           // node < nodes(), also below
  unsigned processors_of(NodeId node) const;
  const MachineFacts& facts(NodeId node) const;

 private:
  const std::vector<MachineFacts> nodes_;
  const std::filesystem::path directory_;
  std::vector<unsigned> first_;  // of each node, then the total; constant after construction
  bool made_directory_ = false;
  bool made_tree_ = false;
};

}  // namespace gallocy::personality
