// The rows of group `core`.
#pragma once

#include <filesystem>
#include <map>
#include <vector>

#include "row.h"

namespace gallocy::bench {

// The programs of the build tree that the rows start.
struct Programs {
  std::filesystem::path gallocy, core_node, examples, bench;
  static Programs beside(const std::filesystem::path& self);
};

enum class Scale { kSmall, kReal };

std::vector<Plan> memory_plans(const Programs& programs, Scale scale);  // faults, streams, hand-overs, metadata
std::vector<Plan> sync_plans(const Programs& programs, Scale scale);    // locks and barriers
std::vector<Plan> heap_plans(const Programs& programs, Scale scale);
std::vector<Plan> program_plans(const Programs& programs, Scale scale);  // start-up and the examples

std::vector<Mean> core_means();

// The figure `name` that node 0 of core_node prints.
gallocy::Result<Measured> on_nodes(const Programs& programs, unsigned nodes, const std::string& transport,
                                   const std::string& measurement, const std::string& figure, Scale scale,
                                   const std::map<std::string, std::string>& settings = {});

}  // namespace gallocy::bench
