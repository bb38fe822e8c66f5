#include "personality/machine_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "os/os_error.h"
#include "personality/machine_tree.h"

namespace gallocy::personality {
namespace {

constexpr std::array<std::string_view, 7> kMirrored = {
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu", "/sys/devices/system/node",
    "/sys/bus/cpu",  "/sys/bus/node"};

// Without empty and "." components; a slash at the end stays, because it asks for a directory. Nothing if the path is
// not absolute or has a "..": what that means depends on symlinks.
std::optional<std::string> normalised(std::string_view path) {
  if (!path.starts_with('/')) return std::nullopt;
  std::string result;
  std::string_view name;
  while (!path.empty()) {
    path.remove_prefix(1);
    name = path.substr(0, path.find('/'));
    path.remove_prefix(name.size());
    if (name == "..") return std::nullopt;
    if (!name.empty() && name != ".") result.append("/").append(name);
  }
  if (name.empty() || name == ".") result += '/';
  return result;
}

}  // namespace

MachineView::MachineView(std::vector<MachineFacts> nodes, std::filesystem::path directory)
    : nodes_(std::move(nodes)), directory_(std::move(directory)), first_{0} {
  CHECK(!nodes_.empty() && nodes_.size() <= kMaxNodes, nodes_.size());
  CHECK(directory_.is_absolute(), directory_.native());
  for (const auto& node : nodes_) {
    CHECK(node.processors >= 1 && (node.cores.empty() || node.cores.size() == node.processors), node.processors,
          node.cores.size());
    first_.push_back(first_.back() + node.processors);
  }
}

MachineView::~MachineView() {
  std::error_code ignored;  // a leftover in a temporary directory; nobody could act on it
  if (made_tree_) {
    std::filesystem::remove_all(directory_ / "proc", ignored);
    std::filesystem::remove_all(directory_ / "sys", ignored);
  }
  if (made_directory_) std::filesystem::remove(directory_, ignored);
}

Result<> MachineView::write() {
  CHECK(!made_tree_, directory_.native());
  std::error_code error;
  made_directory_ = std::filesystem::create_directories(directory_, error);
  if (error) return os::os_failure(error.value(), fmt::format("make {}", directory_.native()));
  for (const auto* name : {"proc", "sys"}) {
    if (std::filesystem::exists(std::filesystem::symlink_status(directory_ / name, error))) {
      return fail(ErrorCode::kExists, fmt::format("{}/{} is already there", directory_.native(), name));
    }
  }
  made_tree_ = true;
  return write_machine_tree(nodes_, directory_);
}

std::optional<std::string> MachineView::redirect(std::string_view absolute_path) const {
  const auto path = normalised(absolute_path);
  const auto covers = [&](std::string_view top) {
    return path->starts_with(top) && (path->size() == top.size() || (*path)[top.size()] == '/');
  };
  if (!path || std::ranges::none_of(kMirrored, covers)) return std::nullopt;
  return directory_.native() + *path;
}

NodeId MachineView::node_of_processor(unsigned processor) const {
  CHECK(processor < processors(), processor, processors());
  const auto after = std::ranges::upper_bound(first_, processor);
  return NodeId{static_cast<std::uint16_t>(after - first_.begin() - 1)};
}

unsigned MachineView::first_processor(NodeId node) const {
  CHECK(node.value < nodes(), node, nodes());
  return first_[node.value];
}

unsigned MachineView::processors_of(NodeId node) const { return facts(node).processors; }

const MachineFacts& MachineView::facts(NodeId node) const {
  CHECK(node.value < nodes(), node, nodes());
  return nodes_[node.value];
}

}  // namespace gallocy::personality
