// What a member of an open cluster says of the cluster and of itself: the JSON that `gallocy status` asks for.
#pragma once

#include <string>

namespace gallocy::runtime {

class Runtime;

std::string status_json(Runtime& runtime, const std::string& address);

}  // namespace gallocy::runtime
