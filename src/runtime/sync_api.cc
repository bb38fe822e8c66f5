// The public synchronisation objects (include/gallocy/sync.h) over the SyncService of this process.
#include "base/check.h"
#include "gallocy/sync.h"
#include "runtime/runtime.h"

namespace gallocy {
namespace {

using sync::Core;
using sync::Effects;
using sync::LockMode;
using sync::Outcome;
using sync::SyncId;
using sync::WaiterId;

runtime::Runtime& the_runtime() {
  Node* const node = Node::current();
  if (node == nullptr) [[unlikely]] {
    die(static_cast<int>(ErrorCode::kInvalidArgument), "gallocy: synchronisation needs Node::join() first");
  }
  return node->runtime();
}

runtime::SyncService& service() { return the_runtime().sync(); }
SyncId id_of(const SyncHandle& handle) { return SyncId{handle.id()}; }

Error error_of(Outcome outcome, const char* what) {
  switch (outcome) {
    case Outcome::kTimeout:
      return {ErrorCode::kTimeout, fmt::format("{}: the time is over", what)};
    case Outcome::kWouldBlock:
      return {ErrorCode::kTimeout, fmt::format("{}: it is taken", what)};
    case Outcome::kOwnerDied:
      return {ErrorCode::kOwnerDied, fmt::format("{}: its last holder died", what)};
    case Outcome::kMismatch:
      return {ErrorCode::kInvalidArgument,
              fmt::format("{}: it is not held here, or its name is in use for another kind of object or number", what)};
    default:
      return {ErrorCode::kPeerLost, fmt::format("{}: a node died that would have had to act", what)};
  }
}

// For functions that cannot return an error: the outcomes a caller of the std-named function can act on, or the end.
Outcome expect(Outcome outcome, const char* what) {
  if (outcome == Outcome::kPeerLost || outcome == Outcome::kMismatch) {
    const Error error = error_of(outcome, what);
    die(exit_status(error), "gallocy: " + error.message);
  }
  return outcome;
}

}  // namespace

SyncHandle::SyncHandle() : id_(service().fresh_id().value) {}
SyncHandle::SyncHandle(std::string_view name) : id_(sync::named_id(name).value) {
  if (name.empty() || name.size() > 255) {
    die(static_cast<int>(ErrorCode::kInvalidArgument),
        "gallocy: a name of a synchronisation object has 1 to 255 bytes");
  }
}

// ---------------------------------------------------------------------------------------------- mutex

void mutex::lock() {
  const SyncId id = id_of(*this);
  expect(service().run(id, kForever, [id](Core& c, WaiterId w, Effects& e) { return c.lock(id, w, e); }),
         "mutex::lock");
}

bool mutex::try_lock() {
  const SyncId id = id_of(*this);
  return succeeded(
      expect(service().run(id, kForever, [id](Core& c, WaiterId w, Effects& e) { return c.try_lock(id, w, e); }),
             "mutex::try_lock"));
}

void mutex::unlock() {
  const SyncId id = id_of(*this);
  expect(service().run(id, kForever, [id](Core& c, WaiterId, Effects& e) { return c.unlock(id, e); }), "mutex::unlock");
}

bool mutex::try_lock_for(Timeout timeout) {
  auto locked = lock_robust(timeout);
  return locked || locked.error().code == ErrorCode::kOwnerDied;
}

Result<> mutex::lock_robust(Timeout timeout) {
  const SyncId id = id_of(*this);
  const Outcome outcome =
      service().run(id, timeout, [id](Core& c, WaiterId w, Effects& e) { return c.lock(id, w, e); });
  if (outcome == Outcome::kGranted) return {};
  return tl::unexpected(error_of(outcome, "mutex::lock_robust"));
}

// ---------------------------------------------------------------------------------------------- shared_mutex

namespace {

Outcome rw_lock(SyncId id, LockMode mode, Timeout timeout) {
  return service().run(id, timeout, [=](Core& c, WaiterId w, Effects& e) { return c.rw_lock(id, mode, w, e); });
}

bool try_rw_lock(SyncId id, LockMode mode) {
  return succeeded(expect(
      service().run(id, kForever, [=](Core& c, WaiterId w, Effects& e) { return c.try_rw_lock(id, mode, w, e); }),
      "shared_mutex"));
}

void rw_unlock(SyncId id, LockMode mode) {
  expect(service().run(id, kForever, [=](Core& c, WaiterId, Effects& e) { return c.rw_unlock(id, mode, e); }),
         "shared_mutex::unlock");
}

}  // namespace

void shared_mutex::lock() { expect(rw_lock(id_of(*this), LockMode::kExclusive, kForever), "shared_mutex::lock"); }
bool shared_mutex::try_lock() { return try_rw_lock(id_of(*this), LockMode::kExclusive); }
void shared_mutex::unlock() { rw_unlock(id_of(*this), LockMode::kExclusive); }
void shared_mutex::lock_shared() {
  expect(rw_lock(id_of(*this), LockMode::kShared, kForever), "shared_mutex::lock_shared");
}
bool shared_mutex::try_lock_shared() { return try_rw_lock(id_of(*this), LockMode::kShared); }
void shared_mutex::unlock_shared() { rw_unlock(id_of(*this), LockMode::kShared); }

Result<> shared_mutex::lock_robust(Timeout timeout) {
  const Outcome outcome = rw_lock(id_of(*this), LockMode::kExclusive, timeout);
  if (outcome == Outcome::kGranted) return {};
  return tl::unexpected(error_of(outcome, "shared_mutex::lock_robust"));
}

// ---------------------------------------------------------------------------------------------- condition_variable

namespace {

void notify(SyncId id, sync::Notify whom) {
  expect(service().run(id, kForever, [=](Core& c, WaiterId, Effects& e) { return c.notify(id, whom, e); }),
         "condition_variable::notify");
}

Outcome wait_on(SyncId id, std::unique_lock<mutex>& lock, Timeout timeout) {
  if (!lock.owns_lock()) {
    die(static_cast<int>(ErrorCode::kInvalidArgument), "gallocy: condition_variable::wait needs the mutex to be held");
  }
  const SyncId held{lock.mutex()->id()};
  const Outcome outcome =
      service().run(id, timeout, [=](Core& c, WaiterId w, Effects& e) { return c.wait(id, held, w, e); });
  return expect(outcome, "condition_variable::wait");
}

}  // namespace

void condition_variable::notify_one() { notify(id_of(*this), sync::Notify::kOne); }
void condition_variable::notify_all() { notify(id_of(*this), sync::Notify::kAll); }
void condition_variable::wait(std::unique_lock<mutex>& lock) { (void)wait_on(id_of(*this), lock, kForever); }
cv_status condition_variable::wait_for(std::unique_lock<mutex>& lock, Timeout timeout) {
  return wait_on(id_of(*this), lock, timeout) == Outcome::kTimeout ? cv_status::timeout : cv_status::no_timeout;
}

// ---------------------------------------------------------------------------------------------- semaphore, barrier,
// latch, once

void semaphore::acquire() {
  const SyncId id = id_of(*this);
  expect(service().run(id, kForever, [&](Core& c, WaiterId w, Effects& e) { return c.acquire(id, initial_, w, e); }),
         "semaphore::acquire");
}

bool semaphore::try_acquire_for(Timeout timeout) {
  const SyncId id = id_of(*this);
  return succeeded(expect(service().run(id, timeout,
                                        [&](Core& c, WaiterId w, Effects& e) {
                                          return timeout <= Timeout::zero() ? c.try_acquire(id, initial_, w, e)
                                                                            : c.acquire(id, initial_, w, e);
                                        }),
                          "semaphore::try_acquire_for"));
}

void semaphore::release(std::uint32_t update) {
  const SyncId id = id_of(*this);
  expect(service().run(id, kForever, [&](Core& c, WaiterId, Effects& e) { return c.release(id, initial_, update, e); }),
         "semaphore::release");
}

Result<> barrier::arrive_and_wait_for(Timeout timeout) {
  const SyncId id = id_of(*this);
  const Outcome outcome =
      service().run(id, timeout, [&](Core& c, WaiterId w, Effects& e) { return c.arrive(id, expected_, w, e); });
  if (outcome == Outcome::kGranted) return {};
  return tl::unexpected(error_of(outcome, "barrier"));
}

void barrier::arrive_and_wait() {
  if (auto met = arrive_and_wait_for(kForever); !met) die(exit_status(met.error()), "gallocy: " + met.error().message);
}

void latch::count_down(std::uint32_t update) {
  const SyncId id = id_of(*this);
  expect(service().run(id, kForever,
                       [&](Core& c, WaiterId, Effects& e) { return c.count_down(id, expected_, update, e); }),
         "latch::count_down");
}

bool latch::try_wait() {
  const SyncId id = id_of(*this);
  return succeeded(
      expect(service().run(id, kForever,
                           [&](Core& c, WaiterId w, Effects& e) { return c.latch_try_wait(id, expected_, w, e); }),
             "latch::try_wait"));
}

bool latch::wait_for(Timeout timeout) {
  const SyncId id = id_of(*this);
  return succeeded(expect(
      service().run(id, timeout, [&](Core& c, WaiterId w, Effects& e) { return c.latch_wait(id, expected_, w, e); }),
      "latch::wait"));
}

void latch::wait() { (void)wait_for(kForever); }

void once_flag::call(const std::function<void()>& f) {
  const SyncId id = id_of(*this);
  const Outcome outcome = expect(
      service().run(id, kForever, [=](Core& c, WaiterId w, Effects& e) { return c.once_call(id, w, e); }), "call_once");
  if (outcome != Outcome::kRun) return;
  const auto end = [id](bool success) {
    expect(service().run(id, kForever, [=](Core& c, WaiterId, Effects& e) { return c.once_end(id, success, e); }),
           "call_once");
  };
  try {
    f();
  } catch (...) {
    end(false);
    throw;
  }
  end(true);
}

// ---------------------------------------------------------------------------------------------- remote atomics

std::uint64_t sync_detail::remote_atomic(void* address, unsigned width, AtomicOperation operation,
                                         std::uint64_t operand, std::uint64_t expected) {
  return the_runtime().memory().atomic(reinterpret_cast<std::uint64_t>(address), width, operation, operand, expected);
}

}  // namespace gallocy
