// Threads that go on on another node. A thread keeps its id, whose upper bits name the node that it began on, its
// *origin*. There its kernel thread stays, parked, until the program's has ended or comes back: so the id is not given
// to another, and the origin knows where the thread is.
//
// A thread moves only where the program's code was interrupted: by a page fault, or by a kick. All that it is then is
// in the signal frame, in its GuestThread and in coherent memory.
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "personality/moved_thread.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

// A thread that has left one node and is not yet known at the other is asked for again.
constexpr int kTries = 20'000;
constexpr useconds_t kPauseUs = 500;

// What a request about a thread is answered where it is not: on which node it is.
constexpr long kElsewhere = -1'000'000;
constexpr long elsewhere(NodeId node) { return kElsewhere - node.value; }

}  // namespace

// The kernel thread at the origin, while the program's is away.
struct Process::Parked {
  runtime::WaitFlag flag;
  std::vector<std::byte> thread;  // that has come back; empty: it has ended
};

NodeId Process::origin_of(int guest_tid) { return NodeId{static_cast<std::uint16_t>(guest_tid >> kTidNodeShift)}; }

// `here` does what the request asks for, for a thread of this node: its result, or -ESRCH. On any thread but the
// poller.
long Process::ask_about_thread(int guest_tid, wire::GuestRequest& request, std::span<const std::byte> trailing,
                               const std::function<long()>& here, std::vector<std::byte>* answer) {
  const NodeId origin = origin_of(guest_tid);
  if (guest_tid < 0 || origin.value >= nodes_) return -ESRCH;
  NodeId node = origin;
  long result = -ESRCH;
  for (int i = 0; i < kTries; ++i) {
    if (answer != nullptr) answer->clear();
    result = node == self_ ? found_here(guest_tid, here()) : questions_.ask(node, request, trailing, answer);
    const NodeId before = node;
    if (result <= kElsewhere) {
      node = NodeId{static_cast<std::uint16_t>(kElsewhere - result)};
    } else if (result == -ESRCH && node != origin) {
      node = origin;
    } else {
      break;
    }
    if (node == origin || node == before) ::usleep(kPauseUs);  // it is on its way, or has ended
  }
  return result;
}

// The result of a request about a thread, on its origin or where it was said to be.
long Process::found_here(int guest_tid, long result) {
  if (result != -ESRCH || origin_of(guest_tid) != self_) return result;
  const os::MutexLock lock(threads_mu_);
  if (threads_.contains(guest_tid)) return elsewhere(self_);  // it came back just now
  const auto found = away_.find(guest_tid);
  return found != away_.end() ? elsewhere(found->second.node) : result;
}

bool Process::is_movable(const GuestThread& thread, const ucontext_t& context) const {
  // The kernel gives signals to the process to the home's threads: one of them is the first.
  return threads_move_ && thread.guest_tid != home_pid_ && !thread.is_forked_child && !thread.in_vfork_child &&
         thread.noting == 0 && thread.deferred.number == 0 && !thread.must_end.load() && thread.frames_of_node == 0 &&
         !is_of_node(context) && !context_state(context).empty();
}

// Whether code was interrupted that the program calls and that lies in this process.
bool Process::is_of_node(const ucontext_t& context) const {
  return !in_guest(static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RIP]));
}

// In a signal handler that interrupted the program's code. True: the thread was elsewhere meanwhile, and the signal is
// of the past.
bool Process::move_if_asked(GuestThread& thread, ucontext_t& context) {
  const NodeId to{thread.move_to.load(std::memory_order_relaxed)};
  if (to == kNoNode || !is_movable(thread, context)) return false;
  {
    const os::MutexLock lock(threads_mu_);
    if (threads_stay_) return false;
    ++leaving_;
  }
  thread.move_to.store(kNoNode.value);
  const NodeId origin = origin_of(thread.guest_tid);
  Parked parked;
  MovedThread moved;
  if (is_home()) note_threads_elsewhere();
  withdraw(thread);
  {
    const os::MutexLock lock(threads_mu_);
    threads_.erase(thread.guest_tid);
    if (const auto own = affinities_.find(thread.guest_tid); own != affinities_.end()) moved.affinity = own->second;
    affinities_.erase(thread.guest_tid);
    if (origin == self_) away_[thread.guest_tid] = {to, &parked};
  }
  const ProcessorMask affinity = moved.affinity;
  moved = MovedThread::take(thread, context);  // signals that come from now on are sent after it
  moved.affinity = affinity;
  wire::GuestRequest request{.kind = wire::GuestRequestKind::kMove};
  const long failed = questions_.ask(to, request, encode(moved, context_state(context)));
  if (failed != 0) come_back(thread, moved);
  {
    const os::MutexLock lock(threads_mu_);
    --leaving_;  // it is on a list again, here or there
  }
  if (failed != 0) return false;
  if (origin != self_) ::_longjmp(thread.end, 1);
  (void)parked.flag.sleep(os::kNoDeadline);
  std::span<const std::byte> state;
  const auto back = decode_moved_thread(parked.thread, state);
  if (!back) ::_longjmp(thread.end, 1);
  const greg_t segments = context.uc_mcontext.gregs[REG_CSGSFS];
  std::memcpy(context.uc_mcontext.gregs, back->registers.general, sizeof back->registers.general);
  context.uc_mcontext.gregs[REG_CSGSFS] = segments;
  CHECK(context_state(context).size() == state.size(), state.size());
  std::memcpy(context_state(context).data(), state.data(), state.size());
  const std::uint64_t mask = kernel_mask(back->mask);
  std::memcpy(&context.uc_sigmask, &mask, sizeof mask);
  come_back(thread, *back);
  {
    const os::MutexLock lock(threads_mu_);
    --leaving_;
  }
  if (!is_home()) name_proxy(thread, back->name);  // which may have ended meanwhile
  return true;
}

// Whether threads may leave this node. When all nodes hold theirs, each thread is on one node's list. On any thread but
// the poller. False: one does not get away.
bool Process::hold_threads(bool hold) {
  constexpr int kMostMs = 2000;
  for (int ms = 0; ms < kMostMs; ++ms) {
    {
      const os::MutexLock lock(threads_mu_);
      threads_stay_ = hold;
      if (!hold || leaving_ == 0) return true;
    }
    ::usleep(1000);
  }
  return false;
}

bool Process::hold_all_threads(bool hold) {
  bool done = hold_threads(hold);
  for (std::uint16_t n = 0; n < nodes_; ++n) {
    if (NodeId{n} == self_) continue;
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kHoldThreads, .words = {hold ? 1u : 0u}};
    done = questions_.ask(NodeId{n}, request) == 0 && done;
  }
  return done;
}

// The thread is one of this node's (again).
void Process::come_back(GuestThread& thread, const MovedThread& moved) {
  threads_moved_.fetch_add(1);
  moved.give(thread);
  enlist(thread, static_cast<std::uint64_t>(moved.registers.general[REG_RSP]));
  hold_pages_again(thread);
  if (ProcessorMask own = moved.affinity; !own.empty()) (void)affinity_here(thread.guest_tid, true, own);
  const os::MutexLock lock(thread.mu);
  note_pending(thread);
  if (thread.signal_pending.load() != 0) raw_system_call(SYS_tkill, thread.tid, kKickSignal);
}

// On a thread of the runtime. 0: the thread is this node's now.
long Process::receive_thread(NodeId from, std::vector<std::byte> bytes) {
  std::span<const std::byte> state;
  const auto moved = decode_moved_thread(bytes, state);
  if (!moved) return -EINVAL;
  const NodeId origin = origin_of(moved->guest_tid);
  if (is_home()) proxies_.end(moved->guest_tid);
  if (origin == self_) return unpark(moved->guest_tid, std::move(bytes)) ? 0 : -ESRCH;
  if (origin != from) {
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kAway,
                               .words = {static_cast<std::uint64_t>(moved->guest_tid), self_.value}};
    (void)questions_.ask(origin, request);
  }
  const auto shared = std::make_shared<std::vector<std::byte>>(std::move(bytes));
  return make_thread([this, from, shared](StartReport& report) { run_moved_thread(from, *shared, report); });
}

void Process::run_moved_thread(NodeId from, const std::vector<std::byte>& bytes, StartReport& report) {
  GuestThread thread;
  std::span<const std::byte> state;
  const auto moved = decode_moved_thread(bytes, state);
  if (auto ready = prepare_guest_thread(thread); !ready) return report_start(report, -EAGAIN);
  hide_features();
  thread.traps_only = 0;
  come_back(thread, *moved);
  report_start(report, 0);
  if (from == kHome) name_proxy(thread, moved->name);  // its calls are a proxy's from now on
  if (::_setjmp(thread.end) == 0) resume_guest(thread, moved->registers, state);
  forget_guest_thread();
}

// On any thread, the poller too. False: no such thread is parked here.
bool Process::unpark(int guest_tid, std::vector<std::byte> thread) {
  const os::MutexLock lock(threads_mu_);
  const auto found = away_.find(guest_tid);
  if (found == away_.end()) return false;
  Parked* const parked = std::exchange(found->second.parked, nullptr);
  if (parked == nullptr) return false;
  if (thread.empty()) {
    away_.erase(found);
  } else {
    found->second.node = self_;  // until come_back()
    ++leaving_;
  }
  parked->thread = std::move(thread);
  parked->flag.set();
  return true;
}

// On the poller of the origin.
void Process::note_away(int guest_tid, NodeId node) {
  const os::MutexLock lock(threads_mu_);
  if (const auto found = away_.find(guest_tid); found != away_.end()) found->second.node = node;
}

}  // namespace gallocy::personality
