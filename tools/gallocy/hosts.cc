#include "hosts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <set>

#include "spawn.h"

namespace gallocy::command {
namespace {

struct Slots {
  std::string name;
  unsigned nodes = 1;
  bool counted = false;  // the count was given
};

tl::unexpected<Failure> wrong(std::string message) {
  return fail_with(ErrorCode::kInvalidArgument, std::move(message));
}

bool is_number(std::string_view text, unsigned& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

// Names reach a shell and a program's arguments: nothing that either could take for more than a name.
bool is_host_name(std::string_view name) {
  const auto allowed = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || std::strchr("._-:@%", c); };
  return !name.empty() && name.size() <= 255 && name.front() != '-' && std::all_of(name.begin(), name.end(), allowed);
}

Outcome<Slots> parse_host(const std::string& text) {
  Slots slots{.name = text};
  // A name with several colons is an IPv6 address.
  if (std::count(text.begin(), text.end(), ':') == 1) {
    const auto colon = text.find(':');
    slots.name = text.substr(0, colon);
    slots.counted = true;
    if (!is_number(std::string_view(text).substr(colon + 1), slots.nodes) || slots.nodes == 0 ||
        slots.nodes > kMaxNodes) {
      return wrong(fmt::format("--hosts: '{}' is not name or name:count", text));
    }
  }
  if (!is_host_name(slots.name)) return wrong(fmt::format("--hosts: '{}' is not a host name", text));
  return slots;
}

Outcome<std::vector<Slots>> wanted_hosts(const LaunchOptions& options) {
  std::vector<std::string> names = options.hosts;
  if (const char* job = std::getenv("SLURM_JOB_NODELIST"); names.empty() && job != nullptr) {
    GALLOCY_ASSIGN(names, expand_slurm_nodes(job));
  }
  std::vector<Slots> hosts;
  std::set<std::string> seen;
  for (const auto& name : names) {
    GALLOCY_ASSIGN(auto slots, parse_host(name));
    if (!seen.insert(slots.name).second) return wrong(fmt::format("--hosts names '{}' twice", slots.name));
    hosts.push_back(std::move(slots));
  }
  return hosts;
}

// Fills hosts with counts in order; spreads nodes evenly over hosts without.
Outcome<> distribute(std::vector<Slots>& hosts, unsigned nodes) {
  const bool counted = std::any_of(hosts.begin(), hosts.end(), [](const Slots& host) { return host.counted; });
  unsigned left = nodes;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    const auto remaining = static_cast<unsigned>(hosts.size() - i);
    const unsigned share = counted ? hosts[i].nodes : (left + remaining - 1) / remaining;
    hosts[i].nodes = std::min(share, left);
    left -= hosts[i].nodes;
  }
  if (left > 0)
    return wrong(fmt::format("-n {} is more than the {} nodes that --hosts has room for", nodes, nodes - left));
  return {};
}

std::string quoted(const std::string& word) {
  const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || std::strchr("._-/:@%+=,", c); };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

}  // namespace

Outcome<std::vector<HostPlan>> plan_hosts(const LaunchOptions& options) {
  GALLOCY_ASSIGN(auto hosts, wanted_hosts(options));
  if (options.nodes && !hosts.empty()) GALLOCY_TRY(distribute(hosts, *options.nodes));
  std::vector<HostPlan> plans;
  unsigned next = 0;
  for (const auto& host : hosts) {
    if (host.nodes == 0) continue;
    HostPlan plan{.name = host.name};
    for (unsigned i = 0; i < host.nodes; ++i) plan.nodes.push_back(NodeId{static_cast<std::uint16_t>(next++)});
    if (next > kMaxNodes) return wrong(fmt::format("more than {} nodes", kMaxNodes));
    plans.push_back(std::move(plan));
  }
  return plans;
}

unsigned node_count(const LaunchOptions& options, const std::vector<HostPlan>& hosts) {
  if (hosts.empty()) return options.nodes.value_or(1);
  unsigned total = 0;
  for (const auto& host : hosts) total += static_cast<unsigned>(host.nodes.size());
  return total;
}

Outcome<std::vector<std::string>> expand_slurm_nodes(std::string_view list) {
  const auto bad = [&] { return wrong(fmt::format("cannot read the Slurm node list '{}'; use --hosts", list)); };
  std::vector<std::string> names;
  for (std::size_t at = 0; at < list.size();) {
    const auto end = list.find_first_of(",[", at);
    const auto prefix = list.substr(at, end == std::string_view::npos ? end : end - at);
    if (end == std::string_view::npos || list[end] == ',') {
      if (prefix.empty()) return bad();
      names.emplace_back(prefix);
      at = end == std::string_view::npos ? list.size() : end + 1;
      continue;
    }
    const auto close = list.find(']', end);
    if (close == std::string_view::npos) return bad();
    auto ranges = list.substr(end + 1, close - end - 1);
    while (!ranges.empty()) {
      const auto range = ranges.substr(0, ranges.find(','));
      ranges.remove_prefix(std::min(ranges.size(), range.size() + 1));
      const auto first = range.substr(0, range.find('-'));
      const auto last = range.size() == first.size() ? first : range.substr(first.size() + 1);
      unsigned low = 0, high = 0;
      if (!is_number(first, low) || !is_number(last, high) || high < low || high - low >= kMaxNodes) return bad();
      for (unsigned i = low; i <= high; ++i) names.push_back(fmt::format("{}{:0{}}", prefix, i, first.size()));
    }
    at = close + 1;
    if (at < list.size() && list[at++] != ',') return bad();
  }
  return names;
}

std::string fill_template(std::string_view text, const std::string& host, const std::vector<std::string>& command) {
  std::string words;
  for (const auto& word : command) words += (words.empty() ? "" : " ") + quoted(word);
  std::string filled(text);
  // {command} first: its text could contain "{host}".
  const auto command_at = filled.find("{command}");
  std::string before = filled.substr(0, command_at);
  std::string after = command_at == std::string::npos ? "" : filled.substr(command_at + std::strlen("{command}"));
  replace_all(before, "{host}", host);
  replace_all(after, "{host}", host);
  if (command_at == std::string::npos) return before;
  // The shell in between would have something to say about the end of the command.
  const bool simple = text.find_first_of(";|&<>()`$#\n") == std::string_view::npos &&
                      text.substr(0, text.find(' ')).find('=') == std::string_view::npos;
  return (simple ? "exec " : "") + before + words + after;
}

std::string default_template(unsigned connect_timeout_s) {
  if (std::getenv("SLURM_JOB_ID") != nullptr && find_program("srun")) {
    return "srun --overlap --nodes=1 --ntasks=1 --nodelist={host} {command}";
  }
  return fmt::format(
      "ssh -o BatchMode=yes -o ConnectTimeout={} -o ServerAliveInterval=2 -o ServerAliveCountMax=3 "
      "{{host}} {{command}}",
      connect_timeout_s);
}

}  // namespace gallocy::command
