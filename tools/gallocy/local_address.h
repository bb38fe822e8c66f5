// Which of this machine's addresses other machines can reach.
#pragma once

#include <string>

namespace gallocy::command {

// The address of the interface through which `host` is reached; if its name means nothing here, the first address that
// is not loopback; 127.0.0.1 when there is none.
std::string address_towards(const std::string& host);

std::string host_name();

}  // namespace gallocy::command
