#include "runtime/status.h"

#include <fmt/format.h>
#include <unistd.h>

#include <map>

#include "runtime/runtime.h"

namespace gallocy::runtime {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + '"';
}

const char* name_of(Placement::Kind kind) {
  switch (kind) {
    case Placement::Kind::kFirstTouch:
      return "first touch";
    case Placement::Kind::kInterleave:
      return "interleave";
    case Placement::Kind::kNode:
      return "one node";
    case Placement::Kind::kBlocked:
      break;
  }
  return "blocked";
}

std::string members_json(const vmm::Machine& machine) {
  std::string json;
  for (const NodeId node : machine.members()) {
    json += fmt::format("{}{{\"node\": {}, \"address\": {}, \"since\": {}, \"on_disk\": {}}}", json.empty() ? "" : ", ",
                        node, quoted(machine.member(node)->address), machine.member(node)->since,
                        machine.member(node)->on_disk);
  }
  return json;
}

// With the homes that the log knows of, which are those that have moved or were given at first touch.
std::string regions_json(const vmm::Machine& machine) {
  std::string json;
  for (const auto& [id, region] : machine.regions()) {
    std::map<NodeId, std::uint64_t> homes;
    region.homes.for_each_run([&](BlockId, std::uint64_t count, NodeId home) { homes[home] += count; });
    std::string counts;
    for (const auto& [node, count] : homes)
      counts += fmt::format("{}\"{}\": {}", counts.empty() ? "" : ", ", node, count);
    json += fmt::format("{}{{\"id\": {}, \"name\": {}, \"bytes\": {}, \"placement\": \"{}\", \"homes\": {{{}}}}}",
                        json.empty() ? "" : ", ", id, quoted(region.name), region.bytes, name_of(region.placement.kind),
                        counts);
  }
  return json;
}

}  // namespace

std::string status_json(Runtime& runtime, const std::string& address) {
  std::string members, regions, logs;
  Epoch epoch{};
  runtime.regions().look_at_all([&](const vmm::Log& log) {
    const vmm::Machine& machine = log.machine();
    if (logs.empty()) epoch = machine.epoch(), members = members_json(machine);
    const std::string of_shard = regions_json(machine);
    if (!regions.empty() && !of_shard.empty()) regions += ", ";
    regions += of_shard;
    logs += fmt::format("{}{{\"role\": \"{}\", \"applied\": {}}}", logs.empty() ? "" : ", ",
                        log.orders()  ? "leader"
                        : log.votes() ? "voter"
                                      : "learner",
                        machine.applied());
  });
  const auto memory = runtime.memory().summary();
  return fmt::format(
      "{{\"cluster\": {{\"epoch\": {}, \"members\": [{}], \"regions\": [{}]}}, \"node\": {{\"node\": {}, "
      "\"address\": {}, \"pid\": {}, \"logs\": [{}], \"memory\": {{\"budget\": {}, \"used\": {}, \"durable\": {}, "
      "\"homes\": {}}}, \"durable\": {{\"blocks\": {}}}}}}}\n",
      epoch, members, regions, runtime.self(), quoted(address), ::getpid(), logs, memory.budget_pages * kPageBytes,
      memory.used_pages * kPageBytes, DurableService::pages_in_use() * kPageBytes, memory.home_blocks,
      runtime.durable().kept_blocks());
}

}  // namespace gallocy::runtime
