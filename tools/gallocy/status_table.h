// The report of `gallocy status` as a table.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace gallocy::command {

// `report`: {"cluster": …, "nodes": […]} as member.cc makes it. Throws json::exception if it is something else.
std::string status_table(const nlohmann::json& report);

}  // namespace gallocy::command
