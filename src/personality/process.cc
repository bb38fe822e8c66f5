#include "personality/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <semaphore>
#include <thread>

#include "base/check.h"
#include "net/rendezvous.h"
#include "os/clock.h"
#include "os/os_error.h"
#include "os/processor_share.h"
#include "personality/debugger.h"
#include "personality/guest_memory.h"
#include "personality/patched_entry.h"
#include "personality/preload.h"

namespace gallocy::personality {
namespace {

constexpr std::uint64_t kGuestBytes = std::uint64_t{4} << 40;
constexpr std::uint64_t kBrkBytes = std::uint64_t{256} << 30;
constexpr std::uint64_t kStackBytes = 8 << 20;
constexpr std::string_view kPreloadingLinker = "/ld-linux-x86-64.so.2";  // glibc's
// The shortest says most. Where the clocks are one, few are enough.
constexpr int kClockTries = 64, kOneClockTries = 4;

}  // namespace

Process::Process(runtime::Runtime& runtime, const ProcessOptions& options)
    : runtime_(runtime),
      options_(options),
      self_(runtime.self()),
      nodes_(runtime.nodes()),
      limits_(runtime.memory()),
      timers_(descriptors_, [this](int guest_tid, siginfo_t& info) { send_of_timer(guest_tid, info); }),
      proxies_(
          runtime.waiting(), program_name_,
          [this](GuestThread& proxy, const CallFor& call, std::vector<std::byte>& answer) {
            return call.with_data ? serve_with_data(proxy, call.call, call.data, answer)
                                  : serve_at_home(&proxy, call.call);
          },
          [this](const CallFor& call, long result, const std::vector<std::byte>& answer) {
            questions_.reply(call.node, call.ticket, result, answer);
          }),
      questions_(runtime),
      introductions_(nodes_),
      places_(nodes_to_use(options_.place, nodes_).value_or(std::vector{kHome}), self_, nodes_) {
  for (std::uint16_t n = 0; n < nodes_; ++n) runs_on_[n] = n;
}

Result<> Process::prepare() {
  runtime_.set_extension([this](NodeId from, wire::MessageType type, std::span<const std::byte> body,
                                std::span<const std::byte> payload) { return message(from, type, body, payload); });
  GALLOCY_ASSIGN(const Region region, runtime_.regions().map({.name = "process", .bytes = kGuestBytes}));
  begin_ = reinterpret_cast<std::uint64_t>(region.data());
  end_ = begin_ + kGuestBytes;
  runtime_.memory().limit_here(begin_, kGuestBytes, os::Protection::kReadWrite);
  leave_huge_pages_to_program();
  CHECK(::sigaction(SIGBUS, nullptr, &bus_action_) == 0 && ::sigaction(SIGSEGV, nullptr, &segv_action_) == 0);
  GALLOCY_TRY(install_guest_entry(*this));
  for (const int number : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, kKickSignal}) catch_signal(number, 0);
  patching_ = map_patched_slots();
  runtime_.memory().set_lock_test([this](std::uint64_t page) { return held_locks_.keeps(page); });
  GALLOCY_TRY(runtime_.sync().meet());  // before that the others may not take requests
  if (!is_home()) {
    // Machines that started at different times count from different starts.
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kClock};
    std::int64_t shortest = os::kNoDeadline;
    bool one_clock = true;
    for (int tries = 0; tries < (one_clock ? kOneClockTries : kClockTries); ++tries) {
      std::vector<std::byte> pid;
      const std::int64_t before = os::monotonic_ns();
      const long home = questions_.ask(kHome, request, {}, &pid);
      const std::int64_t after = os::monotonic_ns();
      if (pid.size() == sizeof home_pid_) std::memcpy(&home_pid_, pid.data(), sizeof home_pid_);
      one_clock = one_clock && before <= home && home <= after;
      if (after - before >= shortest) continue;
      shortest = after - before;
      set_clock_offset(one_clock ? 0 : home - (before + after) / 2);
    }
  }
  const Introduction introduction = introduce();
  if (is_home()) {
    const os::MutexLock lock(introductions_mu_);
    introductions_[0] = introduction;
  } else {
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kIntroduce};
    (void)questions_.ask(kHome, request, std::as_bytes(std::span(&introduction, 1)));
  }
  return runtime_.sync().meet();  // no node gets a thread or a change before it is ready
}

Result<> Process::run(const std::string& path, std::vector<std::string> arguments) {
  home_pid_ = ::getpid();
  descriptors_.begin(options_.descriptors);
  if (std::getenv("GALLOCY_DEBUG") != nullptr) {
    const auto maps = [this] {
      const std::lock_guard lock(space_mu_);
      return space_->maps_text();
    };
    GALLOCY_ASSIGN(const int socket, serve_debugger(kFirstRuntimeDescriptor, maps));
    descriptors_.keep(socket);
  }
  GALLOCY_TRY(open_trace());
  catch_ends();
  agree();
  space_ = std::make_unique<AddressSpace>(
      SpaceBounds{.begin = begin_, .end = end_ - kOutsideBytes, .brk_begin = begin_, .brk_end = begin_ + kBrkBytes});
  std::vector<std::string> environment;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, "GALLOCY_", 8) != 0) environment.emplace_back(*entry);
  }
  GuestRegisters registers;
  std::string program = path;
  if (is_bare_script(path)) {  // as env(1) and its kin
    program = "/bin/sh";
    arguments[0] = path;
    arguments.insert(arguments.begin(), program);
  }
  GALLOCY_TRY(load_image(program, std::move(arguments), environment, registers));

  static GuestThread thread;  // it lives as long as the process
  GALLOCY_TRY(prepare_guest_thread(thread));
  hide_features();
  thread.traps_only = 0;
  thread.guest_tid = home_pid_;
  enlist(thread, static_cast<std::uint64_t>(registers.general[REG_RSP]));
  if (::_setjmp(thread.end) == 0) enter_guest(thread, registers);
  forget_guest_thread();
  for (;;) ::pause();  // the first thread has ended; others go on
}

// The program and its stack into memory; `registers` begin it.
Result<> Process::load_image(const std::string& path, std::vector<std::string> arguments,
                             const std::vector<std::string>& environment, GuestRegisters& registers) {
  std::error_code ignored;
  GALLOCY_ASSIGN(LoadedProgram program, load_program(path, std::move(arguments), *this));
  program_path_ = std::filesystem::weakly_canonical(program.path, ignored).string();
  program_arguments_ = program.arguments;
  name_program(path);
  rlimit limit{};
  ::getrlimit(RLIMIT_STACK, &limit);
  const std::uint64_t stack_bytes = limit.rlim_cur == RLIM_INFINITY
                                        ? kStackBytes * 8
                                        : std::max<std::uint64_t>(limit.rlim_cur & ~(kPageBytes - 1), kStackBytes);
  const long stack = map(0, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, "[stack]");
  if (stack < 0) return fail(ErrorCode::kOutOfMemory, "no addresses for the program's stack");
  const long vdso =
      map(0, kPageBytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, "[vdso]");
  if (vdso < 0 || !write(static_cast<std::uint64_t>(vdso), vdso_image().data(), vdso_image().size())) {
    return fail(ErrorCode::kOutOfMemory, "no addresses for the vDSO");
  }
  program.vdso = static_cast<std::uint64_t>(vdso);
  program.signal_stack_bytes = signal_stack_bytes_;
  const bool preloads = nodes_ > 1 && program.interpreter.ends_with(kPreloadingLinker);
  const std::vector<std::string> shown = environment_for(environment);
  const std::uint64_t sp = build_stack(program, preloads ? with_preload(shown) : shown,
                                       static_cast<std::uint64_t>(stack) + stack_bytes, *this);
  if (sp == 0) return fail(ErrorCode::kOutOfMemory, "the arguments and the environment are too long for the stack");
  registers.general[REG_RSP] = static_cast<greg_t>(sp);
  registers.general[REG_RIP] = static_cast<greg_t>(program.start);
  return {};
}

void Process::serve() {
  set_signal_mask(0);  // the launcher may end this node
  for (;;) ::pause();
}

namespace {

// While it exists a signal that ends a process ends this one, though the thread that made it blocks all: a start may
// take long, or hang.
class Interruptible {
 public:
  Interruptible() : thread_([this] { over_.acquire(); }) {}
  ~Interruptible() {
    over_.release();
    thread_.join();
  }

 private:
  std::binary_semaphore over_{0};
  std::thread thread_;
};

// Ascending; in runs, as there are some hundred.
void close_all(const std::vector<int>& descriptors) {
  for (std::size_t begin = 0, i = 1; i <= descriptors.size(); ++i) {
    if (i < descriptors.size() && descriptors[i] == descriptors[i - 1] + 1) continue;
    CHECK(::close_range(static_cast<unsigned>(descriptors[begin]), static_cast<unsigned>(descriptors[i - 1]), 0) == 0);
    begin = i;
  }
}

}  // namespace

int run_guest(const std::vector<std::string>& arguments, Backtrace backtrace) {
  const auto failed = [](const Error& error) {
    fmt::print(stderr, "gallocy: {}\n", error.message);
    return static_cast<int>(error.code);
  };
  // Each file mapping keeps a descriptor, beside the program's own.
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  const rlimit raised{.rlim_cur = std::min<rlim_t>(descriptors.rlim_max, 65536), .rlim_max = descriptors.rlim_max};
  if (raised.rlim_cur > descriptors.rlim_cur) ::setrlimit(RLIMIT_NOFILE, &raised);
  // The runtime's descriptors get high numbers.
  std::vector<int> low;
  for (int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC); fd >= 0; fd = ::dup(fd)) {
    low.push_back(fd);
    if (fd >= kFirstRuntimeDescriptor - 1) break;
  }
  const auto launch = net::launch_from_environment();
  if (!launch) return failed(launch.error());
  if (*launch) os::take_processor_share((*launch)->local_index, (*launch)->local_nodes);
  auto starting = std::make_unique<Interruptible>();
  block_signals();  // threads of the runtime leave the program's signals to the program
  auto runtime = runtime::Runtime::join({});
  if (!runtime) return failed(runtime.error());
  ProcessOptions options;
  options.report = std::getenv("GALLOCY_REPORT") != nullptr;
  if (std::getenv("GALLOCY_BACKTRACE") != nullptr) options.backtrace = backtrace;
  if (const char* file = std::getenv("GALLOCY_TRACE"); file != nullptr) options.trace_file = file;
  options.trace_calls = std::getenv("GALLOCY_TRACE_CALLS") != nullptr;
  if (const char* place = std::getenv("GALLOCY_PLACE"); place != nullptr) options.place = place;
  options.descriptors = descriptors;
  static std::unique_ptr<Process> process;  // never destroyed: threads of the program use it to the end
  process = std::make_unique<Process>(**runtime, options);
  if (auto ready = process->prepare(); !ready) return failed(ready.error());
  close_all(low);
  if (const char* secret = std::getenv("GALLOCY_SECRET_FD")) ::close(std::atoi(secret));  // not the program's to see
  starting.reset();
  auto* const kept = runtime->release();
  if (kept->self() != kHome) process->serve();
  auto ran = process->run(arguments.front(), {arguments.begin() + 1, arguments.end()});
  (void)failed(ran.error());
  // As a shell does.
  return ran.error().code == ErrorCode::kNotFound      ? 127
         : ran.error().code == ErrorCode::kUnsupported ? 126
                                                       : static_cast<int>(ran.error().code);
}

}  // namespace gallocy::personality
