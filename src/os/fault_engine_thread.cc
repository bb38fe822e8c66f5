// uffd-thread: a faulting thread sleeps in the kernel until the page is accessible; a thread of ours reads the faults.
// Slower by two switches of threads, but the program gets no signals, and with a full userfaultfd (root,
// CAP_SYS_PTRACE, vm.unprivileged_userfaultfd or /dev/userfaultfd) system calls may touch pages that are not here.
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "base/ids.h"
#include "os/fault_engine_uffd.h"
#include "os/mutex.h"
#include "os/os_error.h"

namespace gallocy::os {
namespace {

class UffdThreadEngine final : public UffdEngine {
 public:
  UffdThreadEngine(std::unique_ptr<Uffd> uffd, FaultHandler& handler, int stop)
      : UffdEngine(std::move(uffd)), handler_(handler), stop_(stop) {
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);  // the program's signal handlers do not run on our thread
    thread_ = std::thread([this] { run(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ::pthread_setname_np(thread_.native_handle(), "gallocy-fault");
  }

  ~UffdThreadEngine() override {
    const std::uint64_t one = 1;
    CHECK(::write(stop_, &one, sizeof one) == sizeof one, errno);
    thread_.join();
    ::close(stop_);
  }

  FaultEngineKind kind() const override { return FaultEngineKind::kUffdThread; }
  bool kernel_faults() const override { return uffd_->full(); }

  // A fault that was read but not delivered yet may be one that another thread's fault on the page has resolved, so it
  // is not waited for by any thread of the program.
  void remove(std::byte* program_view, std::size_t bytes) override {
    const MutexLock lock(delivering_);
    UffdEngine::remove(program_view, bytes);
  }

 private:
  void run() {
    uffd_msg messages[32];
    pollfd ready[] = {{uffd_->descriptor(), POLLIN, 0}, {stop_, POLLIN, 0}};
    for (;;) {
      const int events = ::poll(ready, 2, -1);
      CHECK(events > 0 || errno == EINTR, errno);
      if (ready[1].revents != 0) return;
      const MutexLock lock(delivering_);
      const ssize_t bytes = ::read(uffd_->descriptor(), messages, sizeof messages);
      // EAGAIN: who faulted was interrupted by a signal meanwhile, and will fault again.
      CHECK(bytes > 0 || errno == EAGAIN || errno == EINTR, errno);
      for (ssize_t i = 0; i * static_cast<ssize_t>(sizeof messages[0]) < bytes; ++i) deliver(messages[i]);
    }
  }

  void deliver(const uffd_msg& message) {
    CHECK(message.event == UFFD_EVENT_PAGEFAULT, message.event);  // we asked for no other
    const auto& fault = message.arg.pagefault;
    const bool write = (fault.flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)) != 0;
    if (!handler_.fault(fault.address, write ? FaultKind::kWrite : FaultKind::kRead, /*in_faulting_thread=*/false)) {
      refuse(fault.address, static_cast<pid_t>(fault.feat.ptid));
    }
  }

  // The faulting thread gets the signal that the access would have raised natively. (Without the address: the kernel
  // lets no thread forge that for another.)
  void refuse(std::uint64_t address, pid_t thread) {
    CHECK(::syscall(SYS_tgkill, ::getpid(), thread, SIGSEGV) == 0 || errno == ESRCH, errno);
    uffd_->wake(reinterpret_cast<std::byte*>(address & ~(kPageBytes - 1)), kPageBytes);
  }

  FaultHandler& handler_;
  Mutex delivering_;  // held from reading faults until they are delivered
  const int stop_;    // eventfd: readable when the thread is to end
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<FaultEngine>> create_uffd_thread(FaultHandler& handler) {
  GALLOCY_ASSIGN(auto uffd, Uffd::open(UffdDelivery::kMessages));
  const int stop = ::eventfd(0, EFD_CLOEXEC);
  if (stop < 0) return os_failure(errno, "eventfd for the fault thread");
  return std::make_unique<UffdThreadEngine>(std::move(uffd), handler, stop);
}

}  // namespace gallocy::os
