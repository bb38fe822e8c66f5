// What the programs that test durable memory share.
#pragma once

#include <map>

#include "program.h"

namespace program {

struct Arguments {
  std::vector<std::string> all;
  std::uint64_t number(std::size_t i) const { return std::stoull(all.at(i)); }
};

// Zeroed objects of T in durable memory that all nodes reach under this name.
template <typename T>
T* durable(const std::string& name, std::size_t count, unsigned backups) {
  const auto region =
      need(gallocy::Node::current()->map({.name = name, .bytes = count * sizeof(T), .durable_backups = backups}));
  return static_cast<T*>(region.data());
}

// Workloads while nodes die; durable_crash_test.cc kills them, with a Board in the file that the first argument names.
void bank(gallocy::Node& node, const Arguments& arguments);       // FILE BACKUPS
void registers(gallocy::Node& node, const Arguments& arguments);  // FILE BACKUPS

}  // namespace program
