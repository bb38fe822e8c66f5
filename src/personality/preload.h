// The library that the program's dynamic linker loads before all others (ld.so(8), LD_PRELOAD) on several nodes. What
// is in it is in preload/: functions of the C library with something of ours around them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gallocy::personality {

std::span<const std::byte> preload_image();
// By which name the program's dynamic linker opens it.
std::string_view preload_path();
// The environment with that name in LD_PRELOAD, in front of what is there. The library itself takes it away again.
std::vector<std::string> with_preload(std::vector<std::string> environment);

}  // namespace gallocy::personality
