#include "doctor.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "local_address.h"
#include "os/fault_engine.h"
#include "os/machine.h"
#include "unique_fd.h"

namespace gallocy::command {
namespace {

using nlohmann::json;
using os::Verdict;

constexpr std::size_t kLineWidth = 96;
constexpr std::size_t kNameWidth = 29;

struct Findings {
  std::vector<os::FaultEngineProbe> engines;
  std::vector<os::MachineFact> transports;
  std::vector<os::MachineFact> facts;
  std::vector<os::MachineFact> process_mode;

  const os::FaultEngineProbe* default_engine() const {
    const auto found = std::find_if(engines.begin(), engines.end(), [](const auto& one) { return one.available; });
    return found == engines.end() ? nullptr : &*found;
  }
  // What only other parts of gallocy need does not keep a node from running.
  static bool needed_by_a_node(const os::MachineFact& fact) { return fact.name != "FUSE"; }
  bool runs_programs() const {  // gallocy run
    return usable() && std::none_of(process_mode.begin(), process_mode.end(),
                                    [](const auto& fact) { return fact.verdict == Verdict::kMissing; });
  }
  // Without tcp nodes cannot find each other, whatever they use afterwards.
  bool usable() const {
    const auto missing = [](const auto& fact) { return fact.verdict == Verdict::kMissing && needed_by_a_node(fact); };
    return default_engine() != nullptr && !missing(transports.back()) &&
           std::none_of(facts.begin(), facts.end(), missing);
  }
};

// Each is tried: a seccomp profile or a missing loopback interface shows up here.
std::vector<os::MachineFact> try_transports() {
  const UniqueFd memory(::memfd_create("gallocy-doctor", MFD_CLOEXEC));
  const UniqueFd local(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const bool shm = memory && local;
  const UniqueFd tcp_socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in loopback{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  const bool tcp = tcp_socket &&
                   ::bind(tcp_socket.get(), reinterpret_cast<sockaddr*>(&loopback), sizeof loopback) == 0 &&
                   ::listen(tcp_socket.get(), 1) == 0;
  return {{.name = "shm",
           .value = "between nodes of this machine, through shared memory",
           .verdict = shm ? Verdict::kOk : Verdict::kMissing,
           .advice = shm ? "" : "Memory files or Unix sockets are forbidden here: use --transport tcp."},
          {.name = "tcp",
           .value = "between machines, with TLS 1.3 unless told otherwise",
           .verdict = tcp ? Verdict::kOk : Verdict::kMissing,
           .advice = tcp ? "" : "Cannot listen at 127.0.0.1, where nodes find each other: run `ip link set lo up`."}};
}

std::string_view word_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kDegraded:
      return "limited";
    case Verdict::kMissing:
      return "missing";
  }
  return "?";
}

json as_json(const Findings& findings) {
  auto engines = json::array(), facts = json::array(), transports = json::array(), process_mode = json::array();
  for (const auto& engine : findings.engines) {
    engines.push_back({{"name", os::name_of(engine.kind)},
                       {"available", engine.available},
                       {"system_calls_may_fault", engine.kernel_faults},
                       {"fault_us", engine.fault_us},
                       {"detail", engine.detail}});
  }
  const auto add = [](json& list, const os::MachineFact& fact) {
    list.push_back({{"name", fact.name},
                    {"value", fact.value},
                    {"verdict", word_of(fact.verdict)},
                    {"needed_by_a_node", Findings::needed_by_a_node(fact)},
                    {"advice", fact.advice}});
  };
  for (const auto& fact : findings.facts) add(facts, fact);
  for (const auto& fact : findings.transports) add(transports, fact);
  for (const auto& fact : findings.process_mode) add(process_mode, fact);
  const auto* engine = findings.default_engine();
  return {{"host", host_name()},
          {"usable", findings.usable()},
          {"runs_programs", findings.runs_programs()},
          {"default_fault_engine", engine == nullptr ? json(nullptr) : json(os::name_of(engine->kind))},
          {"transports", std::move(transports)},
          {"fault_engines", std::move(engines)},
          {"machine", std::move(facts)},
          {"process_mode", std::move(process_mode)}};
}

// Breaks the text at spaces; lines after the first are indented.
std::string wrapped(std::string_view text, std::size_t indent) {
  std::string result;
  std::size_t column = indent;
  while (!text.empty()) {
    const auto word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (column > indent && column + 1 + word.size() > kLineWidth) {
      result += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      result += ' ';
      ++column;
    }
    result += word;
    column += word.size();
  }
  return result;
}

class Printer {
 public:
  void heading(std::string_view text) { fmt::print("\n{}\n", text); }
  void line(Verdict verdict, std::string_view name, std::string_view value, std::string_view advice) {
    fmt::print("  {} {:<{}} {}\n", sign(verdict), name, kNameWidth, wrapped(value, kNameWidth + 5));
    if (!advice.empty()) fmt::print("{:{}}{}\n", "", kNameWidth + 5, wrapped(advice, kNameWidth + 5));
  }

 private:
  std::string sign(Verdict verdict) const {
    const char* mark = verdict == Verdict::kOk ? "+" : verdict == Verdict::kDegraded ? "~" : "-";
    const char* color = verdict == Verdict::kOk ? "32" : verdict == Verdict::kDegraded ? "33" : "31";
    return colored_ ? fmt::format("\033[{}m{}\033[0m", color, mark) : mark;
  }
  const bool colored_ = ::isatty(STDOUT_FILENO) == 1;
};

void print_engines(Printer& printer, const Findings& findings) {
  printer.heading("Fault engines: how touching a page that is elsewhere is noticed, best first");
  const auto* chosen = findings.default_engine();
  for (const auto& engine : findings.engines) {
    const auto value = engine.available ? fmt::format("{:.1f} us for a fault{}", engine.fault_us,
                                                      &engine == chosen ? "; nodes use this one" : "")
                                        : "not available";
    printer.line(engine.available ? Verdict::kOk : Verdict::kMissing, os::name_of(engine.kind), value, engine.detail);
  }
}

void print_conclusion(const Findings& findings) {
  std::size_t limited = 0;
  for (const auto* list : {&findings.facts, &findings.process_mode}) {
    for (const auto& fact : *list) limited += fact.verdict != Verdict::kOk ? 1 : 0;
  }
  fmt::print("\n");
  if (!findings.usable()) {
    fmt::print("No node can run on this machine: see the lines marked - above.\n");
  } else if (!findings.runs_programs()) {
    fmt::print("A node can run here, but not `gallocy run`: see the lines marked - above.\n");
  } else if (limited == 0) {
    fmt::print("All is well: a node can run here, and nothing is missing.\n");
  } else {
    fmt::print("{}\n",
               wrapped(fmt::format("A node can run here. {} above would make it faster or allow more.",
                                   limited == 1 ? "The advice" : fmt::format("The {} pieces of advice", limited)),
                       0));
  }
}

void print_report(const Findings& findings) {
  fmt::print("What {} offers to gallocy (+ good, ~ works with limits, - missing)\n", host_name());
  Printer printer;
  print_engines(printer, findings);
  printer.heading("Transports");
  for (const auto& fact : findings.transports) printer.line(fact.verdict, fact.name, fact.value, fact.advice);
  printer.heading("Machine");
  for (const auto& fact : findings.facts) printer.line(fact.verdict, fact.name, fact.value, fact.advice);
  printer.heading("Unmodified programs (gallocy run), which need no privilege");
  for (const auto& fact : findings.process_mode) printer.line(fact.verdict, fact.name, fact.value, fact.advice);
  print_conclusion(findings);
}

}  // namespace

int doctor(const DoctorOptions& options) {
  const Findings findings{.engines = os::probe_fault_engines(true),
                          .transports = try_transports(),
                          .facts = os::examine_machine(),
                          .process_mode = os::examine_for_process_mode()};
  if (options.json) {
    fmt::print("{}\n", as_json(findings).dump(1));
  } else {
    print_report(findings);
  }
  return findings.usable() ? 0 : static_cast<int>(ErrorCode::kUnsupported);
}

}  // namespace gallocy::command
