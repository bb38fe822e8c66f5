// execve: the new program takes the place of the old one in the same window, and the process goes on being one of the
// cluster. It begins at the home, whichever node's thread called.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

constexpr std::size_t kMostStrings = 1 << 17;

// argv or envp.
std::optional<std::vector<std::string>> copy_strings(std::uint64_t at) {
  std::vector<std::string> strings;
  for (; at != 0; at += 8) {
    const auto pointer = load<std::uint64_t>(at);
    if (!pointer || strings.size() > kMostStrings) return std::nullopt;
    if (*pointer == 0) break;
    auto text = copy_string(*pointer);
    if (!text) return std::nullopt;
    strings.push_back(std::move(*text));
  }
  return strings;
}

// The errors that leave the old program as it was.
long check_program(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return -errno;
  if (!S_ISREG(status.st_mode) || ::access(path.c_str(), X_OK) != 0) return -EACCES;
  if (changes_ids(path)) return -EPERM;
  return can_load(path) ? 0 : -ENOEXEC;
}

}  // namespace

std::optional<ProgramCall> program_of(const Call& call) {
  auto path = copy_string(argument(call, 0));
  auto arguments = copy_strings(argument(call, 1)), environment = copy_strings(argument(call, 2));
  if (!path || !arguments || !environment) return std::nullopt;
  return ProgramCall{std::move(*path), std::move(*arguments), std::move(*environment)};
}

// On a guest thread. 0: the context is the new program's.
long Process::execute(GuestThread& thread, const Call& call, ucontext_t& context) {
  if (!is_home()) {
    wire::GuestRequest request = request_for(wire::GuestRequestKind::kCall, thread, call);
    request.words[5] = thread.guest_mask;
    if (const long failed = questions_.ask(kHome, request); failed != 0) return failed;
    end_thread_quietly(thread);
  }
  auto program = program_of(call);
  if (!program) return -EFAULT;
  program->path = file_to_use(std::move(program->path));
  if (const long failed = check_program(program->path); failed != 0) return failed;
  if (!make_way(thread.guest_tid)) return -EAGAIN;
  {
    const os::MutexLock lock(threads_mu_);
    const int caller = thread.guest_tid;
    threads_.erase(caller);
    thread.guest_tid = home_pid_;  // whichever thread called
    threads_[home_pid_] = &thread;
    if (auto affinity = affinities_.extract(caller); !affinity.empty()) {
      affinity.key() = home_pid_;
      affinities_.insert(std::move(affinity));
    }
  }
  const GuestRegisters registers = replace_program(std::move(*program));
  thread.guest_fs = 0;
  thread.robust_list = thread.clear_tid = 0;
  let_held_pages_go(thread);
  thread.held_count = 0;
  thread.guest_stack = {.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
  const greg_t segments = context.uc_mcontext.gregs[REG_CSGSFS];
  std::memcpy(context.uc_mcontext.gregs, registers.general, sizeof registers.general);
  context.uc_mcontext.gregs[REG_CSGSFS] = segments;
  context.uc_mcontext.gregs[REG_EFL] = 0x202;
  return 0;
}

// For a thread of another node, which ends when this has returned 0: a new thread of the home begins the program.
long Process::execute_at_home(const GuestThread& proxy, const Call& call) {
  auto program = program_of(call);
  if (!program) return -EFAULT;
  program->path = file_to_use(std::move(program->path));
  if (const long failed = check_program(program->path); failed != 0) return failed;
  ProcessorMask affinity;
  if (affinity_of(proxy.guest_tid, false, affinity) < 0) affinity = {};
  if (!make_way(proxy.guest_tid)) return -EAGAIN;
  const ThreadStart start{.registers = replace_program(std::move(*program)),
                          .mask = argument(call, 3),
                          .guest_tid = home_pid_,
                          .affinity = affinity};
  CHECK(start_thread_here(start) == home_pid_);
  return 0;
}

// All other threads end. False: one does not.
bool Process::make_way(int guest_tid) {
  if (!end_other_threads(guest_tid)) return false;
  timers_.remove_all();
  return true;
}

GuestRegisters Process::replace_program(ProgramCall program) {
  {
    const std::lock_guard lock(space_mu_);
    Changes changes;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> areas;
    space_->visit(0, end_, [&](const Area& a) { areas.emplace_back(a.begin, a.end); });
    for (const auto& [begin, end] : areas) CHECK(space_->unmap(begin, end - begin, changes) == 0);
    space_->set_brk(begin_, changes);
    carry_out(changes);
  }
  forget_handlers();
  for (const int fd : open_descriptors()) {
    if (!descriptors_.is_runtimes(fd) && (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0) ::close(fd);
  }
  GuestRegisters registers;
  if (auto ready = load_image(program.path, std::move(program.arguments), program.environment, registers); !ready) {
    const std::string line = "gallocy: " + ready.error().message + "\n";
    (void)!::write(STDERR_FILENO, line.data(), line.size());
    exit_process(127);
  }
  return registers;
}

// What was caught is by default again; what was ignored stays so.
void Process::forget_handlers() {
  for (int number = 1; number <= 64; ++number) {
    if (!action(number).has_handler()) continue;
    publish_action(number, {});
    if (catches_end(number)) {
      catch_signal(number, 0);
      continue;
    }
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    if (!is_runtime_signal(number)) ::sigaction(number, &plain, nullptr);
  }
}

}  // namespace gallocy::personality
