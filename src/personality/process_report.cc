// `gallocy run --stat`: what the program did where, on standard error at its end.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "personality/process.h"

namespace gallocy::personality {

ProcessCounters Process::counters() {
  const Statistics s = runtime_.statistics();
  return {.threads = threads_started_.load(),
          .read_faults = s.read_faults,
          .write_faults = s.write_faults,
          .fault_wait_ns = s.fault_wait_ns,
          .pages_received = s.pages_received,
          .bytes_sent = s.bytes_sent};
}

// At the home, when the program has ended.
void Process::report() {
  std::string text = fmt::format("gallocy: {:>4} {:>8} {:>12} {:>12} {:>12} {:>12} {:>12}\n", "node", "threads",
                                 "read faults", "write faults", "waited ms", "pages in", "KiB out");
  for (std::uint16_t n = 0; n < nodes_; ++n) {
    ProcessCounters c;
    if (NodeId{n} == self_) {
      c = counters();
    } else {
      wire::GuestRequest request{.kind = wire::GuestRequestKind::kCounters};
      std::vector<std::byte> answer;
      (void)ask(NodeId{n}, request, {}, &answer);
      if (answer.size() == sizeof c) std::memcpy(&c, answer.data(), sizeof c);
    }
    text += fmt::format("gallocy: {:>4} {:>8} {:>12} {:>12} {:>12} {:>12} {:>12}\n", n, c.threads, c.read_faults,
                        c.write_faults, c.fault_wait_ns / 1'000'000, c.pages_received, c.bytes_sent >> 10);
  }
  std::vector<std::pair<std::uint64_t, long>> calls;
  for (std::size_t number = 0; number < forwarded_.size(); ++number) {
    if (const std::uint64_t count = forwarded_[number].load(); count != 0) calls.emplace_back(count, number);
  }
  std::ranges::sort(calls, std::greater{});
  text += "gallocy: system calls made for other nodes:";
  for (std::size_t i = 0; i < calls.size() && i < 10; ++i) {
    const std::string name = call_name(calls[i].second);
    text += fmt::format("{} {} {}", i == 0 ? "" : ",", name == "?" ? fmt::format("call {}", calls[i].second) : name,
                        calls[i].first);
  }
  text += calls.empty() ? " none\n" : "\n";
  text += "gallocy: pages that the nodes took from each other most often:\n";
  const std::string sharing = runtime_.memory().sharing_report(5);
  for (std::size_t at = 0; at < sharing.size();) {
    const std::size_t end = std::min(sharing.find('\n', at), sharing.size());
    text += fmt::format("gallocy:   {}{}\n", sharing.substr(at, std::min<std::size_t>(end - at, 100)),
                        whose(sharing.substr(at, end - at)));
    at = end + 1;
  }
  (void)!::write(STDERR_FILENO, text.data(), text.size());
}

// The mapping that the address at the beginning of the line lies in.
std::string Process::whose(const std::string& line) {
  const std::uint64_t address = std::strtoull(line.c_str(), nullptr, 16);
  const std::lock_guard lock(space_mu_);
  const Area* const area = space_->find(address);
  return area == nullptr || area->name.empty() ? "" : fmt::format(" ({})", area->name);
}

}  // namespace gallocy::personality
