// What the nodes' processors have in common is what the program is shown of them (processor_features.h). Where a node's
// own processor has more, the instruction CPUID traps in the program's threads (arch_prctl(2), ARCH_SET_CPUID) and is
// answered here. Not every processor offers that; then only the C library is told, by its tunables.
#include <asm/prctl.h>
#include <fmt/format.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "personality/guest_memory.h"
#include "personality/machine_texts.h"
#include "personality/process.h"
#include "personality/processors.h"

namespace gallocy::personality {
namespace {

constexpr std::uint16_t kCpuidCode = 0xa20f;  // 0f a2
constexpr std::uint64_t kCpuidBytes = 2;

bool set_cpuid(bool answers) { return raw_system_call(SYS_arch_prctl, ARCH_SET_CPUID, answers ? 1 : 0) == 0; }

// For tests: GALLOCY_TEST_CPU_LACKS="0:cpuid_fault 1:avx2,bmi2" takes these from nodes; without cpuid_fault CPUID
// cannot be made to trap.
std::string_view lacks_for_test(NodeId self) {
  const char* const text = std::getenv("GALLOCY_TEST_CPU_LACKS");
  std::string_view list = text != nullptr ? text : "";
  const std::string own = fmt::format("{}:", self);
  while (!list.empty()) {
    const std::string_view node = list.substr(0, list.find(' '));
    if (node.starts_with(own)) return node.substr(own.size());
    list.remove_prefix(std::min(list.size(), node.size() + 1));
  }
  return {};
}

// Whether what asks the processor itself can be kept from seeing all that it has.
bool can_hide(NodeId self) {
  return set_cpuid(true) && lacks_for_test(self).find("cpuid_fault") == std::string_view::npos;
}

}  // namespace

Introduction Process::introduce() const {
  return {.processors = static_cast<std::uint32_t>(usable_processors().size()),
          .can_hide = can_hide(self_),
          .signal_stack_bytes = ::getauxval(AT_MINSIGSTKSZ),
          .state_layout = state_layout(),
          .features = features_here() & ~features_named(lacks_for_test(self_))};
}

// At the home, before the program begins. What the others have told of themselves is here since the last barrier.
void Process::agree() {
  std::vector<Introduction> nodes;
  {
    const os::MutexLock lock(introductions_mu_);
    nodes = introductions_;
  }
  Agreement agreement{.features = nodes[0].features, .threads_move = true};
  std::vector<std::uint32_t> counts;
  for (const Introduction& node : nodes) {
    agreement.features &= node.features;
    agreement.threads_move = agreement.threads_move && node.state_layout == nodes[0].state_layout;
    counts.push_back(node.processors);
    signal_stack_bytes_ = std::max(signal_stack_bytes_, node.signal_stack_bytes);
  }
  const FeatureSet hidden = nodes[0].features & ~agreement.features;
  std::vector<unsigned> lacking;
  bool complete = true;
  for (unsigned n = 0; n < nodes.size(); ++n) {
    if ((hidden & ~nodes[n].features).any()) lacking.push_back(n);
    complete = complete && (nodes[n].can_hide || nodes[n].features == agreement.features);
  }
  if (!complete) hidden_by_tunables_ = hidden;
  if (hidden.any()) {
    std::string where = list_text(lacking);
    where.pop_back();
    fmt::print(stderr, "gallocy: hidden from the program, as node{} {} lack{}: {}{}\n", lacking.size() > 1 ? "s" : "",
               where, lacking.size() > 1 ? "" : "s", fmt::join(names_of(hidden), ", "),
               complete ? "" : "; what asks the processor and not the C library sees it all the same");
  }
  std::vector<std::byte> message(sizeof agreement + counts.size() * sizeof counts[0]);
  std::memcpy(message.data(), &agreement, sizeof agreement);
  std::memcpy(message.data() + sizeof agreement, counts.data(), counts.size() * sizeof counts[0]);
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kAgreement};
  questions_.ask_all(request, message);
  CHECK(agree_to(message));
}

// On each node; on the poller, too.
bool Process::agree_to(std::span<const std::byte> message) {
  Agreement agreement;
  std::vector<std::uint32_t> counts(nodes_);
  if (message.size() != sizeof agreement + counts.size() * sizeof counts[0]) return false;
  std::memcpy(&agreement, message.data(), sizeof agreement);
  std::memcpy(counts.data(), message.data() + sizeof agreement, counts.size() * sizeof counts[0]);
  number_processors(counts);
  hidden_features_ = ~agreement.features;
  threads_move_ = agreement.threads_move;
  hides_features_ = can_hide(self_) && features_here() != agreement.features;
  return true;
}

// On a new thread of the program.
void Process::hide_features() const {
  if (hides_features_) CHECK(set_cpuid(false));
}

// A forked child is on this machine for good.
void Process::show_features() const {
  if (hides_features_) CHECK(set_cpuid(true));
}

// The signal of a thread whose CPUID traps; false: it is another one. The runtime's own threads may trap, too, if one
// of the program made them.
bool Process::answer_cpuid(const siginfo_t& info, ucontext_t& context) const {
  greg_t* const r = context.uc_mcontext.gregs;
  const auto at = static_cast<std::uint64_t>(r[REG_RIP]);
  std::uint16_t code = 0;
  if (!hides_features_ || info.si_signo != SIGSEGV || info.si_code != SI_KERNEL) return false;
  if (!copy_in(&code, at, sizeof code) || code != kCpuidCode) return false;
  const auto leaf = static_cast<std::uint32_t>(r[REG_RAX]), subleaf = static_cast<std::uint32_t>(r[REG_RCX]);
  CHECK(set_cpuid(true));
  CpuidAnswer answer = cpuid_here(leaf, subleaf);
  CHECK(set_cpuid(false));
  hide(hidden_features_, leaf, subleaf, answer);
  r[REG_RAX] = answer.eax;
  r[REG_RBX] = answer.ebx;
  r[REG_RCX] = answer.ecx;
  r[REG_RDX] = answer.edx;
  r[REG_RIP] += kCpuidBytes;
  return true;
}

// The environment that a program begins with.
std::vector<std::string> Process::environment_for(std::vector<std::string> environment) const {
  constexpr std::string_view kName = "GLIBC_TUNABLES=";
  if (hidden_by_tunables_.none()) return environment;
  const auto found = std::ranges::find_if(environment, [&](const auto& entry) { return entry.starts_with(kName); });
  const std::string present = found != environment.end() ? found->substr(kName.size()) : "";
  if (found != environment.end()) environment.erase(found);
  environment.push_back(std::string(kName) + hiding_tunables(hidden_by_tunables_, present));
  return environment;
}

// What may be behind SIGILL on a node; empty: nothing.
std::string Process::lacks_text(NodeId node) {
  const os::MutexLock lock(introductions_mu_);
  const FeatureSet lacks = introductions_[0].features & ~introductions_[node.value].features;
  return lacks.none() ? "" : fmt::format("; node {} lacks {}", node, fmt::join(names_of(lacks), ", "));
}

}  // namespace gallocy::personality
