// fork, vfork and posix_spawn's clone. A child is an ordinary process of the home: it gets a private copy of
// the program's memory, at the same addresses, and its system calls are the kernel's from then on.
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "base/check.h"
#include "os/processor_share.h"
#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {

// Copies what the memory file has of [begin, end) to the same addresses of this process; holes stay zero.
static bool copy_from_file(int file, std::uint64_t file_begin, std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t at = begin; at < end;) {
    const off_t data = ::lseek(file, static_cast<off_t>(at - file_begin), SEEK_DATA);
    if (data < 0 || file_begin + static_cast<std::uint64_t>(data) >= end) return data >= 0 || errno == ENXIO;
    const off_t hole = ::lseek(file, data, SEEK_HOLE);
    at = file_begin + static_cast<std::uint64_t>(data);
    const std::uint64_t stop = std::min(end, file_begin + static_cast<std::uint64_t>(hole));
    while (at < stop) {
      const ssize_t got = ::pread(file, reinterpret_cast<void*>(at), stop - at, static_cast<off_t>(at - file_begin));
      if (got <= 0) return false;
      at += static_cast<std::uint64_t>(got);
    }
  }
  return true;
}

// Shared file mappings that are not the kernel's, and what is unread of the private ones. In the parent, as the child
// takes no lock.
std::vector<Process::ChildMapping> Process::mappings_of_child() {
  std::vector<ChildMapping> mappings;
  space_->visit(0, end_, [&](const Area& area) {
    if (area.file == kNoFile || in_kernel_.at(area.begin)) return;
    const ChildMapping all{.part = {.begin = area.begin, .end = area.end, .file = area.file, .offset = area.offset},
                           .descriptor = files_.descriptor(area.file),
                           .protection = area.protection,
                           .flags = area.shared ? MAP_SHARED : MAP_PRIVATE};
    if (area.shared) return mappings.push_back(all);
    for (const FilePart& part : unread_parts(area.begin, area.end)) {
      mappings.push_back(all);
      mappings.back().part = part;
    }
  });
  std::erase_if(mappings, [](const ChildMapping& m) { return m.descriptor < 0; });
  return mappings;
}

// In the child: the program's memory as it was. The parent waits meanwhile.
bool Process::copy_memory_to_child(int file, std::uint64_t file_begin, const std::vector<ChildMapping>& mappings) {
  bool ok = true;
  space_->visit(0, end_, [&](const Area& area) {
    auto* const start = reinterpret_cast<void*>(area.begin);
    const std::size_t bytes = area.end - area.begin;
    if (area.shared && area.file != kNoFile) return;  // one of `mappings`, or the kernel's: fork has done it
    if (file < 0) return;                             // a cluster of one: fork has copied it
    if (in_kernel_.at(area.begin)) return;
    const bool outside = area.begin < begin_;
    const std::uint64_t first = outside ? low_begin_ - (end_ - kOutsideBytes - file_begin) : file_begin;
    ok = ok && ::mmap(start, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
                      0) != MAP_FAILED;
    ok = ok && copy_from_file(file, first, area.begin, area.end);
    ok = ok && ::mprotect(start, bytes, area.protection) == 0;
  });
  for (const ChildMapping& m : mappings) {
    const void* const mapped = ::mmap(reinterpret_cast<void*>(m.part.begin), m.part.end - m.part.begin, m.protection,
                                      m.flags | MAP_FIXED, m.descriptor, static_cast<off_t>(m.part.offset));
    ok = ok && mapped != MAP_FAILED;
  }
  return ok;
}

namespace {

constexpr std::size_t kBorrowerStackBytes = 256 << 10;

// What the new process finds on its stack.
struct Borrower {
  GuestThread& thread;
  const ThreadStart& start;
  stack_t signal_stack;
};

void begin_borrower(void* raw) {
  Borrower& borrower = *static_cast<Borrower*>(raw);
  prepare_borrowed_thread(borrower.thread, borrower.signal_stack);
  os::leave_processor_share();
  borrower.thread.guest_mask = borrower.start.mask;
  enter_guest(borrower.thread, borrower.start.registers);
}

}  // namespace

// vfork, and posix_spawn's clone: until it executes another program the child runs on the parent's memory, so that the
// parent sees what it wrote there (an error of execve). It takes the calling thread's place: that one sleeps.
long Process::lend_memory(GuestThread& thread, const ThreadStart& start) {
  void* const memory = ::mmap(nullptr, 2 * kBorrowerStackBytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return -ENOMEM;
  auto* const stack = static_cast<std::byte*>(memory);
  Borrower borrower{
      thread, start, {.ss_sp = stack + kBorrowerStackBytes, .ss_flags = 0, .ss_size = kBorrowerStackBytes}};
  const std::uint64_t guest_fs = thread.guest_fs, guest_mask = thread.guest_mask, clear_tid = thread.clear_tid,
                      robust_list = thread.robust_list;
  const stack_t guest_stack = thread.guest_stack;
  const std::uint64_t mask = block_signals();
  thread.in_vfork_child = true;
  const char traps_only = std::exchange(thread.traps_only, 1);
  runtime::Waiting::may_poll(false);
  const long child = borrow_memory(stack + kBorrowerStackBytes - 64, begin_borrower, &borrower);
  runtime::Waiting::may_poll(true);
  thread.in_vfork_child = false;
  thread.traps_only = traps_only;
  thread.guest_fs = guest_fs;
  thread.guest_mask = guest_mask;
  thread.clear_tid = clear_tid;
  thread.robust_list = robust_list;
  thread.guest_stack = guest_stack;
  set_signal_mask(mask);
  ::munmap(memory, 2 * kBorrowerStackBytes);
  return child;
}

// The system calls of such a child: its descriptors, directory and signal dispositions are its own, its memory is not.
long Process::serve_borrower(GuestThread& thread, const Call& call, ucontext_t& context) {
  switch (call.number) {
    case SYS_exit:
    case SYS_exit_group:
      for (;;) raw_system_call(SYS_exit_group, call.arguments[0]);
    case SYS_execve: {
      auto program = program_of(call);
      if (!program) return -EFAULT;
      const auto pointers = [](std::vector<std::string>& strings) {
        std::vector<char*> result;
        for (std::string& s : strings) result.push_back(s.data());
        result.push_back(nullptr);
        return result;
      };
      auto argv = pointers(program->arguments), envp = pointers(program->environment);
      const std::string file = file_to_use(program->path);
      rlimit raised{};
      ::getrlimit(RLIMIT_NOFILE, &raised);
      descriptors_.restore_limit();
      set_signal_mask(kernel_mask(thread.guest_mask));
      const long failed = raw_system_call(SYS_execve, reinterpret_cast<long>(file.c_str()),
                                          reinterpret_cast<long>(argv.data()), reinterpret_cast<long>(envp.data()));
      block_signals();
      ::setrlimit(RLIMIT_NOFILE, &raised);
      return failed;
    }
    case SYS_rt_sigaction: {
      const int number = static_cast<int>(call.arguments[0]);
      if (number < 1 || number > 64) return -EINVAL;
      const auto given = static_cast<std::uint64_t>(call.arguments[1]),
                 before = static_cast<std::uint64_t>(call.arguments[2]);
      if (before != 0 && !store(before, action(number))) return -EFAULT;
      if (given == 0 || is_runtime_signal(number)) return 0;
      const auto wanted = load<GuestAction>(given);
      if (!wanted) return -EFAULT;
      if (wanted->has_handler()) return 0;  // it stays as the parent has it
      GuestAction plain = *wanted;
      plain.flags = 0;
      return raw_system_call(SYS_rt_sigaction, number, reinterpret_cast<long>(&plain), 0, 8);
    }
    case SYS_rt_sigprocmask:
    case SYS_sigaltstack:
    case SYS_rt_sigreturn:
    case SYS_rt_sigpending:
      return signal_call(thread, call, context);
    case SYS_getpid:
    case SYS_gettid:
      return raw_system_call(call.number);
    case SYS_set_tid_address:
    case SYS_set_robust_list:
      return 0;
    case SYS_futex:
      return futex(thread, call);
    case SYS_clone:
    case SYS_clone3:
    case SYS_fork:
    case SYS_vfork:
      return -EAGAIN;
    default:
      return serve_at_home(&thread, call);
  }
}

// Other nodes may have the only copies.
void Process::fetch_memory() {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  space_->visit(0, end_, [&](const Area& area) {
    if ((area.protection & (PROT_READ | PROT_WRITE)) == 0 || in_kernel_.at(area.begin)) return;
    std::ranges::copy(read_ranges(area.begin, area.end), std::back_inserter(ranges));
  });
  for (const auto& [begin, end] : ranges) (void)runtime_.memory().prefault(begin, end - begin, Access::kRead);
}

// At the home, on the calling guest thread or a proxy. `start`: what the child goes on with. waits: as vfork does,
// until the child has ended or executes another program.
long Process::fork_process(const ThreadStart& start, bool waits) {
  const std::lock_guard lock(space_mu_);
  if (nodes_ > 1 && !waits) share_with_child();
  if (nodes_ > 1 && threads_elsewhere_.load()) fetch_memory();
  // The child takes no lock of the runtime: who holds one at this moment is not in the child to release it.
  const auto [file, file_begin] = runtime_.memory().file_behind(begin_);
  const std::vector<ChildMapping> mappings = mappings_of_child();
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) return -errno;
  const std::uint64_t mask = block_signals();
  const pid_t child = descriptors_.fork();  // it may use these
  if (child == 0) {
    ::close(ready[0]);
    if (!copy_memory_to_child(file, file_begin, mappings)) ::_exit(127);
    descriptors_.close_runtimes(ready[1]);
    if (::write(ready[1], "", 1) != 1) ::_exit(127);
    if (!waits) ::close(ready[1]);
    become_child(start);
  }
  const long result = child > 0 ? child : -errno;
  ::close(ready[1]);
  if (child > 0) {
    char byte = 0;
    // The copy; then, for vfork, the end of the pipe: exec or exit closes it.
    while (::read(ready[0], &byte, 1) < 0 && errno == EINTR) {
    }
    while (waits && (::read(ready[0], &byte, 1) > 0 || errno == EINTR)) errno = 0;
  }
  ::close(ready[0]);
  set_signal_mask(mask);
  return result;
}

void Process::become_child(const ThreadStart& start) {
  new (&actions_mu_) os::Mutex;  // another thread may have held it
  static GuestThread thread;
  thread.~GuestThread();
  new (&thread) GuestThread;
  prepare_child_thread(thread);
  show_features();
  os::leave_processor_share();
  descriptors_.restore_limit();
  thread.is_forked_child = true;
  thread.guest_mask = start.mask;
  thread.guest_tid = thread.tid;
  if (start.child_tid != 0) (void)store(start.child_tid, thread.tid);
  if (start.clear_tid != 0) ::syscall(SYS_set_tid_address, start.clear_tid);
  enter_guest(thread, start.registers);
}

}  // namespace gallocy::personality
