#include "personality/proxies.h"

#include <sys/prctl.h>
#include <sys/syscall.h>

#include "os/clock.h"
#include "os/prompt_scheduling.h"

namespace gallocy::personality {
namespace {

constexpr std::int64_t kWatchNs = 100'000;  // how long a proxy looks for the next call itself

}  // namespace

void Proxies::begin(int guest_tid, CallFor call) {
  std::shared_ptr<Proxy> proxy;
  {
    const std::lock_guard lock(mu_);
    auto& slot = proxies_[guest_tid];
    if (slot == nullptr) {
      slot = std::make_shared<Proxy>();
      slot->thread.guest_tid = guest_tid;
      start_runtime_thread([this, made = slot] { run(*made); });
    }
    proxy = slot;
  }
  const std::lock_guard lock(proxy->mu);
  proxy->ticket = call.ticket;
  proxy->node = call.node;
  proxy->next = std::move(call);
  proxy->changed.set();
}

std::shared_ptr<Proxies::Proxy> Proxies::find(int guest_tid) {
  const std::lock_guard lock(mu_);
  const auto found = proxies_.find(guest_tid);
  return found == proxies_.end() ? nullptr : found->second;
}

void Proxies::interrupt(int guest_tid, std::uint64_t ticket) {
  const std::shared_ptr<Proxy> proxy = find(guest_tid);
  if (proxy == nullptr) return;
  const std::lock_guard lock(proxy->mu);
  if (proxy->ended || proxy->ticket != ticket) return;
  proxy->thread.signal_pending.store(1);
  if (proxy->thread.tid != 0) raw_system_call(SYS_tkill, proxy->thread.tid, kKickSignal);
}

void Proxies::end(int guest_tid) {
  const std::lock_guard lock(mu_);
  const auto found = proxies_.find(guest_tid);
  if (found == proxies_.end()) return;
  const std::lock_guard proxy_lock(found->second->mu);
  found->second->ended = true;
  found->second->changed.set();
  proxies_.erase(found);
}

std::optional<NodeId> Proxies::caller_node(int guest_tid) {
  const std::shared_ptr<Proxy> proxy = find(guest_tid);
  if (proxy == nullptr) return std::nullopt;
  const std::lock_guard lock(proxy->mu);
  return proxy->node;
}

int Proxies::kernel_tid(int guest_tid) {
  const std::shared_ptr<Proxy> proxy = find(guest_tid);
  if (proxy == nullptr) return 0;
  const std::lock_guard lock(proxy->mu);
  return proxy->thread.tid;
}

void Proxies::run(Proxy& proxy) {
  std::unique_lock lock(proxy.mu);
  proxy.thread.guest_mask = ~std::uint64_t{0};
  prepare_child_thread(proxy.thread);
  ::prctl(PR_SET_NAME, program_name_.c_str());
  os::ask_for_prompt_scheduling();
  while (!proxy.ended) {
    if (!proxy.next) {
      proxy.changed.reset();
      lock.unlock();
      // The next call often comes soon, and is received here without another thread having to pass it on.
      if (!waiting_.wait(proxy.changed, os::monotonic_ns() + kWatchNs)) (void)proxy.changed.sleep(os::kNoDeadline);
      lock.lock();
      continue;
    }
    const CallFor call = std::move(*proxy.next);
    proxy.next.reset();
    lock.unlock();
    std::vector<std::byte> answer;
    const long result = make_(proxy.thread, call, answer);
    lock.lock();
    proxy.ticket = 0;
    proxy.thread.signal_pending.store(0);
    lock.unlock();
    reply_(call, result, answer);
    lock.lock();
  }
  lock.unlock();
  forget_guest_thread();
}

}  // namespace gallocy::personality
