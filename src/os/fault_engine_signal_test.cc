// Each engine beside the program's own signal handlers, forked children, and an ordinary user's rights.
#include <errno.h>
#include <gmock/gmock.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "os/clock.h"
#include "os/fault_engine_testing.h"
#include "os/signal_hook.h"

// The sanitizers' own handlers would report what these tests expect to be killed for.
extern "C" const char* __asan_default_options() { return "handle_segv=0:handle_sigbus=0:allow_user_segv_handler=1"; }
extern "C" const char* __tsan_default_options() { return "handle_segv=0:handle_sigbus=0"; }

namespace gallocy::os {
namespace {

using FaultEngineSignalTest = EngineTest;
using FaultEngineSignalDeathTest = EngineTest;
ON_EVERY_ENGINE(FaultEngineSignalTest);
ON_EVERY_ENGINE(FaultEngineSignalDeathTest);

// An address that is never mapped, hidden from the compiler.
volatile int* nowhere() {
  volatile std::uintptr_t address = 64;
  return reinterpret_cast<volatile int*>(address);
}

// The signal by which the engine hears of faults.
int signal_of(FaultEngineKind kind) { return kind == FaultEngineKind::kSigsegv ? SIGSEGV : SIGBUS; }

TEST_P(FaultEngineSignalDeathTest, null_dereference_kills_as_without_us) {
  TestRegion region(GetParam(), 1);
  region.word(0).store(1);
  EXPECT_EXIT(*nowhere() = 1, testing::KilledBySignal(SIGSEGV), "");
}

TEST_P(FaultEngineSignalDeathTest, refused_access_kills) {
  const int signal = GetParam() == FaultEngineKind::kUffdSigbus ? SIGBUS : SIGSEGV;
  EXPECT_EXIT(
      {
        TestRegion region(GetParam(), 2);
        region.refused_page = 1;
        region.word(1).load();
      },
      testing::KilledBySignal(signal), "");
}

// See "Blocked signals" in os/signal_hook.h.
TEST_P(FaultEngineSignalTest, thread_that_inherited_blocked_signals_can_be_made_to_fault) {
  TestRegion region(GetParam(), 1);
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([&] {
    unblock_fault_signals();
    region.word(0).store(1);
    sigset_t now;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
    EXPECT_EQ(::sigismember(&now, SIGTERM), 1);
  }).join();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(region.behind(0).load(), 1u);
}

TEST_P(FaultEngineSignalDeathTest, signals_sent_by_kill_keep_their_default) {
  TestRegion region(GetParam(), 1);
  for (const int signal : {SIGSEGV, SIGBUS}) {
    EXPECT_EXIT(::raise(signal), testing::KilledBySignal(signal), "");
    EXPECT_EXIT(::kill(::getpid(), signal), testing::KilledBySignal(signal), "");
  }
}

// MADV_DONTFORK: a child has no global memory, and the inherited hook does not wait for a runtime that is not there.
TEST_P(FaultEngineSignalDeathTest, forked_child_dies_of_an_access_instead_of_reading_stale_pages) {
  TestRegion region(GetParam(), 1);
  region.word(0).store(1);
  EXPECT_EXIT(region.word(0).load(), testing::KilledBySignal(SIGSEGV), "");
  EXPECT_EXIT(region.behind(0).load(), testing::KilledBySignal(SIGSEGV), "");
  EXPECT_EQ(region.faults(), 1u);
}

sigjmp_buf g_resume;
std::atomic<int> g_caught_code{0};
std::atomic<bool> g_blocked_inside{false}, g_other_blocked{false};

void resume(int signal, siginfo_t* info, void*) {
  g_caught_code = info->si_code;
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  g_blocked_inside = ::sigismember(&mask, signal) == 1 && ::sigismember(&mask, SIGUSR1) == 1;
  g_other_blocked = ::sigismember(&mask, SIGUSR2) == 1;
  siglongjmp(g_resume, 1);
}

// In a function of its own: variables of the frame that sigsetjmp marks are indeterminate afterwards.
[[gnu::noinline]] void store_nowhere_and_resume() {
  if (sigsetjmp(g_resume, 1) == 0) *nowhere() = 1;
}

struct Installed {
  Installed(int signal_number, struct sigaction action) : signal(signal_number) {
    EXPECT_EQ(::sigaction(signal, &action, &before), 0);
  }
  ~Installed() { ::sigaction(signal, &before, nullptr); }
  int signal;
  struct sigaction before {};
};

TEST_P(FaultEngineSignalTest, handler_installed_before_gets_foreign_faults_with_its_own_mask) {
  struct sigaction action {};
  action.sa_sigaction = resume;
  action.sa_flags = SA_SIGINFO;
  ::sigaddset(&action.sa_mask, SIGUSR1);
  const Installed handler(SIGSEGV, action);
  TestRegion region(GetParam(), 1);
  for (int round = 0; round < 3; ++round) {
    g_caught_code = 0;
    store_nowhere_and_resume();
    EXPECT_EQ(g_caught_code, SEGV_MAPERR);
    EXPECT_TRUE(g_blocked_inside);
#ifndef GALLOCY_SANITIZE_THREAD  // which runs every handler with all signals blocked
    EXPECT_FALSE(g_other_blocked);
#endif
    region.set(0, 1, Protection::kNone);
    region.word(0).fetch_add(1);  // ours go on working
  }
  EXPECT_EQ(region.behind(0).load(), 3u);
  EXPECT_EQ(region.write_faults(), 3u);
}

TEST_P(FaultEngineSignalTest, dispositions_are_as_before_when_the_engine_is_gone) {
  struct sigaction action {};
  action.sa_sigaction = resume;
  action.sa_flags = SA_SIGINFO;
  const Installed segv(SIGSEGV, action), bus(SIGBUS, action);
  { TestRegion region(GetParam(), 1); }
  for (const int signal : {SIGSEGV, SIGBUS}) {
    struct sigaction now {};
    ::sigaction(signal, nullptr, &now);
    EXPECT_EQ(now.sa_sigaction, resume);
  }
}

struct sigaction g_ours;
std::atomic<unsigned> g_passed_on{0};

TEST_P(FaultEngineSignalTest, handler_installed_after_may_pass_on_to_ours) {
  TestRegion region(GetParam(), 1);
  const int signal = signal_of(GetParam());
  struct sigaction action {};
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  action.sa_sigaction = [](int number, siginfo_t* info, void* context) {
    ++g_passed_on;
    g_ours.sa_sigaction(number, info, context);
  };
  const Installed handler(signal, action);
  g_ours = handler.before;
  g_passed_on = 0;
  region.word(0).store(1);
  EXPECT_EQ(region.behind(0).load(), 1u);
  EXPECT_EQ(g_passed_on, GetParam() == FaultEngineKind::kUffdThread ? 0u : 1u);
}

TEST_P(FaultEngineSignalTest, errno_survives_a_fault) {
  TestRegion region(GetParam(), 2);
  errno = ERANGE;
  region.word(0).store(1);
  region.word(1).load();
  EXPECT_EQ(errno, ERANGE);
}

TEST_P(FaultEngineSignalTest, fault_on_a_thread_with_a_small_alternate_stack) {
  TestRegion region(GetParam(), 64);
  std::thread([&] {
    std::vector<char> memory(std::max<std::size_t>(static_cast<std::size_t>(SIGSTKSZ), 8192) + 8192);
    const stack_t stack{.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()}, none{.ss_flags = SS_DISABLE};
    ASSERT_EQ(::sigaltstack(&stack, nullptr), 0);
    for (std::size_t i = 0; i < 64; ++i) region.word(i).fetch_add(i);
    ::sigaltstack(&none, nullptr);
  }).join();
  EXPECT_EQ(region.behind(63).load(), 63u);
}

TestRegion* g_region = nullptr;
std::atomic<unsigned> g_ticks{0};

// A program's timer handler touches global memory in the middle of everything, faults included.
TEST_P(FaultEngineSignalTest, signal_handlers_of_the_program_may_fault_too) {
#ifdef GALLOCY_SANITIZE_THREAD
  GTEST_SKIP() << "ThreadSanitizer runs every handler with all signals blocked, ours too";
#endif
  TestRegion region(GetParam(), 4);
  g_region = &region;
  g_ticks = 0;
  struct sigaction action {};
  action.sa_handler = [](int) {
    g_region->word(g_ticks % 4, 1).fetch_add(1);
    ++g_ticks;
  };
  action.sa_flags = SA_RESTART;
  const Installed handler(SIGALRM, action);
  const itimerval often{.it_interval = {0, 300}, .it_value = {0, 300}}, never{};
  // Only the thread below takes the timer: set() holds a lock that a fault in its own thread would wait for.
  sigset_t alarm, before;
  ::sigemptyset(&alarm);
  ::sigaddset(&alarm, SIGALRM);
  ::pthread_sigmask(SIG_BLOCK, &alarm, &before);
  std::atomic<bool> stop{false};
  std::thread program([&] {
    ::pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr);
    for (std::size_t i = 0; !stop; ++i) region.word(i % 4).fetch_add(1);
    ::pthread_sigmask(SIG_BLOCK, &alarm, nullptr);
  });
  ::setitimer(ITIMER_REAL, &often, nullptr);
  const std::int64_t limit = monotonic_ns() + 20'000'000'000;
  while (g_ticks < 100 && monotonic_ns() < limit) {
    region.set(0, 4, Protection::kNone);
    std::this_thread::yield();
  }
  ::setitimer(ITIMER_REAL, &never, nullptr);
  stop = true;
  program.join();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_GE(g_ticks, 100u);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < 4; ++i) seen += region.behind(i, 1).load();
  EXPECT_EQ(seen, g_ticks);
}

TEST_P(FaultEngineSignalTest, children_can_be_spawned) {
  TestRegion region(GetParam(), 1);
  region.word(0).store(1);
  char name[] = "true";
  char* arguments[] = {name, nullptr};
  pid_t child = 0;
  ASSERT_EQ(::posix_spawnp(&child, "true", nullptr, nullptr, arguments, environ), 0);
  int status = 1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  region.set(0, 1, Protection::kNone);
  EXPECT_EQ(region.word(0).load(), 1u);
}

// In a forked child: gives up root for good.
void become_nobody() {
  if (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0) ::_exit(100);
}

// The whole of an engine's life; ends the process with 0 if all was as it should be.
[[noreturn]] void live_and_exit(FaultEngineKind kind) {
  {
    TestRegion region(kind, 2 * kBlockPages);
    const auto expect = [](bool condition, int status) {
      if (!condition) ::_exit(status);
    };
    for (std::size_t i = 0; i < 2 * kBlockPages; ++i) expect(region.word(i).load() == 0, 1);
    for (std::size_t i = 0; i < 2 * kBlockPages; ++i) region.word(i).store(i);
    expect(region.read_faults() == 2 * kBlockPages && region.write_faults() == 2 * kBlockPages, 2);
    region.set(0, 2 * kBlockPages, Protection::kRead);
    for (std::size_t i = 0; i < 2 * kBlockPages; ++i) region.word(i).fetch_add(1);
    expect(region.write_faults() == 4 * kBlockPages, 3);
    region.set(0, 2 * kBlockPages, Protection::kNone);
    for (std::size_t i = 0; i < 2 * kBlockPages; ++i) expect(region.word(i).load() == i + 1, 4);
  }
  ::_exit(0);
}

TEST_P(FaultEngineSignalDeathTest, ordinary_user_may_use_the_engine) {
  if (::getuid() != 0) GTEST_SKIP() << "not root: every test of this run is of an ordinary user";
  EXPECT_EXIT((become_nobody(), live_and_exit(GetParam())), testing::ExitedWithCode(0), "");
}

int probe_as_status() {
  int status = 0;
  for (const auto& probe : probe_fault_engines(/*measure=*/false)) {
    ::dprintf(STDERR_FILENO, "%s: %s\n", std::string(name_of(probe.kind)).c_str(), probe.detail.c_str());
    if (probe.available) status |= 1 << static_cast<int>(probe.kind);
    if (probe.kernel_faults) status |= 8;
  }
  return status;
}

// What container runtimes do by default.
void forbid_userfaultfd() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{.len = std::size(program), .filter = program};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    ::_exit(101);
  }
}

TEST(FaultEngineProbeDeathTest, container_without_userfaultfd_still_has_sigsegv) {
  if (::getuid() != 0) GTEST_SKIP() << "only root can become another user";
  EXPECT_EXIT(
      {
        become_nobody();
        forbid_userfaultfd();
        ::_exit(probe_as_status());
      },
      testing::ExitedWithCode(1 << static_cast<int>(FaultEngineKind::kSigsegv)),
      "uffd-sigbus: a seccomp profile or security module forbids userfaultfd");
}

TEST(FaultEngineProbeTest, probes_name_every_engine_and_measure_the_available) {
  const auto probes = probe_fault_engines(/*measure=*/true);
  ASSERT_EQ(probes.size(), 3u);
  for (const auto& probe : probes) {
    EXPECT_FALSE(probe.detail.empty());
    EXPECT_EQ(probe.fault_us > 0, probe.available) << name_of(probe.kind);
    RecordProperty(std::string(name_of(probe.kind)) + "_fault_us", std::to_string(probe.fault_us));
  }
  EXPECT_TRUE(probes[1].available);  // sigsegv works everywhere
}

}  // namespace
}  // namespace gallocy::os
