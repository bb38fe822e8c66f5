#include "personality/preload.h"

#include <fmt/format.h>

#include <algorithm>

asm(".section .rodata\n"
    ".globl gallocy_preload, gallocy_preload_end\n"
    ".balign 16\n"
    "gallocy_preload: .incbin \"" GALLOCY_PRELOAD_IMAGE
    "\"\n"
    "gallocy_preload_end:\n"
    ".text\n");
extern "C" const std::byte gallocy_preload[], gallocy_preload_end[];

namespace gallocy::personality {

std::span<const std::byte> preload_image() { return {gallocy_preload, gallocy_preload_end}; }

std::string_view preload_path() { return GALLOCY_PRELOAD_PATH; }

std::vector<std::string> with_preload(std::vector<std::string> environment) {
  constexpr std::string_view kName = "LD_PRELOAD=";
  const auto found =
      std::ranges::find_if(environment, [&](const std::string& variable) { return variable.starts_with(kName); });
  if (found == environment.end()) {
    environment.push_back(fmt::format("{}{}", kName, preload_path()));
  } else {
    const std::string others = found->substr(kName.size());
    *found = fmt::format("{}{}{}{}", kName, preload_path(), others.empty() ? "" : ":", others);
  }
  return environment;
}

}  // namespace gallocy::personality
