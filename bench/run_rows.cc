#include "run_rows.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <memory>

#include "built_programs.h"
#include "child.h"
#include "references.h"
#include "run_inputs.h"

namespace gallocy::bench {

using gallocy::ErrorCode;
using gallocy::fail;
using gallocy::Result;
using std::filesystem::path;

namespace {

using Words = std::vector<std::string>;
using Measuring = std::function<Result<Measured>()>;

// Where a command runs: natively, or on nodes of this machine.
struct Where {
  unsigned nodes = 0;  // 0: natively
  std::string transport = "shm";
};

Words joined(Words first, const Words& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// Words before a command that give it two processors, as the rows of two nodes assume. Both sides get them.
Words on_two_processors() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) <= 2) return {};
  std::string list;
  for (std::size_t i = 0, found = 0; i < CPU_SETSIZE && found < 2; ++i) {
    if (CPU_ISSET(i, &allowed)) list += (found++ == 0 ? "" : ",") + std::to_string(i);
  }
  return {"taskset", "-c", list};
}

// One compute program: what it is given for each scale, and how its result is known.
struct Compute {
  std::string name;
  Words command;
  double work = 1;
  std::string unit = "runs/s";
  std::function<Result<std::string>(const ChildOutput&)> digest;
  std::string skip = "";
  Words before = {};  // of all words, also of `gallocy run`
};

class Maker {
 public:
  Maker(const Programs& programs, Scale scale)
      : programs_(programs), scale_(scale), inputs_(std::make_shared<RunInputs>(programs, scale)) {}

  void add_starts();
  void add_compute(const BuiltPrograms& built);
  void add_built(const BuiltPrograms& built);
  void add_compressors();
  void add_kernels();
  void add_java();
  void add_calls();
  void add_handovers();
  std::vector<Plan> plans() { return std::move(plans_); }

 private:
  std::string own(const char* program) const { return programs_.bench / "run_programs" / program; }
  std::string size(const char* small, const char* real) const { return scale_ == Scale::kSmall ? small : real; }

  Words at(const Where& where, const Words& command) const {
    if (where.nodes == 0) return command;
    return joined({programs_.gallocy, "run", "-n", std::to_string(where.nodes), "--transport", where.transport, "--"},
                  command);
  }
  Measuring whole_run(const Where& where, const Compute& program) const;
  // The number called `figure` that the program prints; an error if it did not print `expected` too.
  Measuring printed(const Where& where, const Words& command, const char* figure, const char* expected = "") const;
  // Above the time natively.
  Measuring start_ms(unsigned nodes) const;

  std::vector<Compute> kernels() const;
  std::vector<Compute> compressors() const;
  Compute compressor(const char* program, Words flags, const char* ending) const;
  void add_pair(const std::string& name, const Where& where, const Compute& program, Goal goal, double target,
                const std::string& bound) {
    plans_.push_back(
        {name, program.unit, goal, target, bound, whole_run(where, program), whole_run({}, program), program.skip});
  }

  const Programs& programs_;
  const Scale scale_;
  const std::shared_ptr<RunInputs> inputs_;
  std::vector<Plan> plans_;
};

Result<std::string> printed_digest(const ChildOutput& output) {
  const auto digest = output.value("digest");
  if (!digest) return fail(ErrorCode::kOsError, "the program printed no digest");
  return *digest;
}

// `{text}` and the like in a command stand for what the inputs have by that name.
Result<Words> filled(Words command, RunInputs& inputs) {
  for (std::string& word : command) {
    if (!word.starts_with('{') || !word.ends_with('}')) continue;
    const auto made = inputs.named(word.substr(1, word.size() - 2));
    if (!made) return tl::unexpected(made.error());
    word = *made;
  }
  return command;
}

Measuring Maker::whole_run(const Where& where, const Compute& program) const {
  return
      [command = joined(program.before, at(where, program.command)), program, inputs = inputs_]() -> Result<Measured> {
        const auto words = filled(joined(on_two_processors(), command), *inputs);
        if (!words) return tl::unexpected(words.error());
        const auto output = run_child(*words);
        if (!output) return tl::unexpected(output.error());
        const auto digest = program.digest(*output);
        if (!digest) return tl::unexpected(digest.error());
        return Measured{.value = program.work / output->seconds, .digest = *digest};
      };
}

Measuring Maker::printed(const Where& where, const Words& command, const char* figure, const char* expected) const {
  return [command = joined(on_two_processors(), at(where, command)), figure, expected]() -> Result<Measured> {
    const auto output = run_child(command);
    if (!output) return tl::unexpected(output.error());
    const auto value = output->number(figure);
    if (!value) return tl::unexpected(value.error());
    const auto digest = printed_digest(*output);
    if (!digest) return tl::unexpected(digest.error());
    if (output->text.find(expected) == std::string::npos) {
      return fail(ErrorCode::kOsError, fmt::format("no {} in: {}", expected, output->text));
    }
    return Measured{.value = *value, .digest = *digest};
  };
}

Measuring Maker::start_ms(unsigned nodes) const {
  return [command = at({.nodes = nodes}, {"true"}), runs = scale_ == Scale::kSmall ? 1 : 11]() -> Result<Measured> {
    Series ours, native;
    for (int i = 0; i < runs; ++i) {
      const auto plain = run_child({"true"});
      if (!plain) return tl::unexpected(plain.error());
      const auto run = run_child(command);
      if (!run) return tl::unexpected(run.error());
      native.values.push_back(plain->seconds * 1000);
      ours.values.push_back(run->seconds * 1000);
    }
    return Measured{.value = ours.median() - native.median()};
  };
}

std::vector<Compute> Maker::kernels() const {
  return {{"matmul", {own("matmul"), "2", size("100", "1600")}, 1, "runs/s", printed_digest},
          {"sort", {own("sort"), "2", size("20000", "16000000")}, 1, "runs/s", printed_digest},
          {"stencil", {own("stencil"), "2", size("100", "3000")}, 1, "runs/s", printed_digest}};
}

Compute Maker::compressor(const char* program, Words flags, const char* ending) const {
  const double megabytes = (scale_ == Scale::kSmall ? 1 : 36) * 1.048576;
  return {program,
          joined(joined({program}, flags), {"-k", "-f", "{text}"}),
          megabytes,
          "MB/s",
          [inputs = inputs_, ending](const ChildOutput&) -> Result<std::string> {
            auto file = inputs->text();
            if (!file) return tl::unexpected(file.error());
            *file += ending;
            const auto digest = digest_of_file(*file);
            std::filesystem::remove(*file);  // a later run must not pass by this file
            return digest;
          },
          find_program(program).empty() ? fmt::format("{} is not installed", program) : ""};
}

// At levels that take about a second, so that the start does not decide.
std::vector<Compute> Maker::compressors() const {
  return {compressor("pigz", {"-9", "-p2"}, ".gz"), compressor("xz", {"-2", "-T2"}, ".xz"),
          compressor("pbzip2", {"-p2"}, ".bz2")};
}

constexpr const char* kComputeBound =
    "One node, the whole run with its start; there is no message, so it is the start, the faults that take the place "
    "of "
    "the kernel's, and the detour of system calls.";

constexpr const char* kSharingBound =
    "Two nodes of this machine: faults on what the threads share, in units of pages, and the hand-overs of barriers. "
    "Threads that share too much move to one node, and then have half of the processors.";

void Maker::add_starts() {
  plans_.push_back({"run.true.1", "ms", Goal::kAtMost, 15,
                    "Start to exit of `true` above the same natively: the launcher, one node's start, the loading of "
                    "program and libraries by faults.",
                    start_ms(1), nullptr});
  plans_.push_back(
      {"run.true.4", "ms", Goal::kAtMost, 120,
       "The same on four nodes: four processes and six connections to set up on this machine's processors.",
       start_ms(4), nullptr});
}

Compute compute_of(const BuiltProgram& built) {
  return {built.name,
          built.command,
          1,
          "runs/s",
          [built](const ChildOutput& output) { return built.digest(output.text); },
          built.skip(),
          words_before(built)};
}

void Maker::add_compute(const BuiltPrograms& built) {
  auto programs = kernels();
  for (auto& program : compressors()) programs.push_back(program);
  programs.push_back(compressor("zstd", {"-q", "-12", "-T2"}, ".zst"));
  for (const auto& program : splash3_programs(built.splash3, scale_)) programs.push_back(compute_of(program));
  for (const auto& program : phoenix_programs(built.phoenix, scale_)) programs.push_back(compute_of(program));
  for (const Compute& program : programs) {
    add_pair("run.compute.1." + program.name, {.nodes = 1}, program, Goal::kReport, 0, kComputeBound);
  }
}

void Maker::add_built(const BuiltPrograms& built) {
  for (const auto& program : splash3_programs(built.splash3, scale_)) {
    add_pair("run.splash3.2." + program.name, {.nodes = 2}, compute_of(program), Goal::kReport, 0, kSharingBound);
  }
  for (const auto& program : phoenix_programs(built.phoenix, scale_)) {
    add_pair("run.phoenix.2." + program.name, {.nodes = 2}, compute_of(program), Goal::kReport, 0, kSharingBound);
  }
}

void Maker::add_compressors() {
  for (const char* transport : {"shm", "tcp"}) {
    for (const Compute& program : compressors()) {
      add_pair(
          fmt::format("run.compress.2.{}.{}", transport, program.name), {.nodes = 2, .transport = transport}, program,
          Goal::kReport, 0,
          "Half of the text goes to the other node by faults and comes back compressed; besides, hand-overs of the "
          "queues' mutexes.");
    }
  }
}

void Maker::add_kernels() {
  for (const Compute& program : kernels()) {
    add_pair(
        "run.kernel.2." + program.name, {.nodes = 2, .transport = "tcp"}, program, Goal::kReport, 0,
        "Two nodes over TCP: the data that the main thread filled in goes over by faults, and the result comes back.");
  }
}

void Maker::add_java() {
  const bool here = !find_program("java").empty() && !find_program("javac").empty();
  const auto program = [&](const std::string& rounds) {
    return Compute{"java",         {"java", "-cp", "{classes}", "Compute", "4", rounds}, 1, "runs/s",
                   printed_digest, here ? "" : "java and javac are not installed"};
  };
  const std::string none = "10", rounds = size("500", "600000");
  add_pair("run.java.2", {.nodes = 2}, program(rounds), Goal::kAtLeast, 0.7,
           "Four threads compute for some seconds without sharing; what is lost is the start of the virtual machine "
           "(run.java.start.2) and its own threads' sharing.");
  add_pair("run.java.2.tcp", {.nodes = 2, .transport = "tcp"}, program(rounds), Goal::kReport, 0, "The same over TCP.");
  add_pair("run.java.1", {.nodes = 1}, program(rounds), Goal::kReport, 0, "The same on one node: no message.");
  add_pair(
      "run.java.start.2", {.nodes = 2}, program(none), Goal::kReport, 0,
      "Next to no computing: the virtual machine starts some 20 threads, which map, protect and write the same pages "
      "from two nodes.");
  add_pair("run.java.start.1", {.nodes = 1}, program(none), Goal::kReport, 0,
           "The same start on one node: its mappings, its files and its faults.");
}

void Maker::add_calls() {
  const Words local = {own("calls"), "local", size("10000", "1000000")};
  const Words clock = {own("calls"), "clock", size("10000", "5000000")};
  const char* const kTrap =
      "The kernel's trap to our handler and its return (SIGSYS by Syscall User Dispatch, rt_sigreturn).";
  plans_.push_back({"syscall.local", "ns", Goal::kAtMost, 500, kTrap, printed({.nodes = 1}, local, "ns"), nullptr});
  plans_.push_back({"syscall.local.slowdown", "ns", Goal::kReport, 0, "The same beside the native call.",
                    printed({.nodes = 1}, local, "ns"), printed({}, local, "ns")});
  plans_.push_back(
      {"syscall.forwarded.tcp", "us", Goal::kAtMost, 15,
       "Above the raw round trip: the trap, the loop threads of both nodes and their wake-ups.",
       [call = printed({.nodes = 2, .transport = "tcp"}, {own("calls"), "home", size("100", "20000")}, "ns", "node=1"),
        scale = scale_]() -> Result<Measured> {
         const auto trip = raw_round_trip_us(Link::kTcp, Waiting::kSpin, scale);
         const auto forwarded = call();
         if (!trip || !forwarded) return trip ? forwarded : trip;
         return Measured{.value = forwarded->value / 1000 - trip->value};
       },
       nullptr});
  plans_.push_back({"run.clock", "ns", Goal::kReport, 0,
                    "clock_gettime: the program's own vDSO reads the processor's counter, as the kernel's does.",
                    printed({.nodes = 1}, clock, "ns"), printed({}, clock, "ns")});
}

void Maker::add_handovers() {
  const auto trip = [scale = scale_](Waiting waiting) -> Measuring {
    return [scale, waiting]() -> Result<Measured> { return raw_round_trip_us(Link::kTcp, waiting, scale); };
  };
  const auto handovers = [this](const char* how) -> Measuring {
    return [run = printed({.nodes = 2, .transport = "tcp"}, {own("handovers"), how, size("20", "2000")}, "us",
                          "nodes=0,1")] {
      auto measured = run();
      if (measured) measured->digest.clear();  // the program checked its work; the reference does another
      return measured;
    };
  };
  const auto add = [&](const std::string& row, const char* how, const char* bound) {
    plans_.push_back({row, "us", Goal::kAtMost, 3, bound, handovers(how), trip(Waiting::kSpin)});
    plans_.push_back({row + ".sleep", "us", Goal::kReport, 0,
                      "The same beside a round trip whose two ends sleep in the kernel, so with wake-ups.",
                      handovers(how), trip(Waiting::kSleep)});
  };
  add("mutex.contended.2", "mutex",
      "One transfer of the page per hand-over, at the unlocking; the page is taken from a thread that computes, so the "
      "loop thread of that node has to be woken.");
  add("cond.handover.2", "cond",
      "One transfer of the page with mutex, condition variable and data, and two futex calls, of which one node's are "
      "messages.");
}

}  // namespace

std::vector<Plan> run_plans(const Programs& programs, Scale scale, const BuiltPrograms& built) {
  Maker maker(programs, scale);
  maker.add_starts();
  maker.add_compute(built);
  maker.add_built(built);
  maker.add_compressors();
  maker.add_kernels();
  maker.add_java();
  maker.add_calls();
  maker.add_handovers();
  return maker.plans();
}

std::vector<Mean> run_means() {
  return {{"run.compute.1", "run.compute.1.", Goal::kAtLeast, 0.97, kComputeBound},
          {"run.compress.2", "run.compress.2.shm.", Goal::kAtLeast, 0.85,
           "Two nodes with a thread each against two native threads on the same processors: the node's own threads and "
           "the copies take processor time from the compressing ones."},
          {"run.compress.2.tcp", "run.compress.2.tcp.", Goal::kReport, 0, "The same over TCP."},
          {"run.splash3.2", "run.splash3.2.", Goal::kAtLeast, 0.5, kSharingBound},
          {"run.phoenix.2", "run.phoenix.2.", Goal::kAtLeast, 0.5, kSharingBound}};
}

}  // namespace gallocy::bench
