// The rows of group `run`: unmodified programs under `gallocy run`, beside themselves without it.
#pragma once

#include <filesystem>
#include <vector>

#include "core_rows.h"

namespace gallocy::bench {

// Folders of benchmark programs that somebody built; empty: their rows are left out.
struct BuiltPrograms {
  std::filesystem::path splash3;  // the folder `codes` of Splash-3
  std::filesystem::path phoenix;  // phoenix-2.0
};

std::vector<Plan> run_plans(const Programs& programs, Scale scale, const BuiltPrograms& built);
std::vector<Mean> run_means();

}  // namespace gallocy::bench
