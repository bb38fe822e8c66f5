#include "runtime/threads.h"

#include <link.h>

#include <cstring>
#include <system_error>
#include <thread>

#include "base/check.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/signal_hook.h"

namespace gallocy::runtime {
namespace {

struct Program {
  std::uint64_t base = 0, begin = 0, end = 0;  // load address; the range of its segments
};

// The first object is the program itself.
const Program& program() {
  static const Program found = [] {
    Program p;
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* out) {
          auto& result = *static_cast<Program*>(out);
          result.base = info->dlpi_addr;
          result.begin = ~std::uint64_t{0};
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const auto& segment = info->dlpi_phdr[i];
            if (segment.p_type != PT_LOAD) continue;
            result.begin = std::min<std::uint64_t>(result.begin, info->dlpi_addr + segment.p_vaddr);
            result.end = std::max<std::uint64_t>(result.end, info->dlpi_addr + segment.p_vaddr + segment.p_memsz);
          }
          return 1;
        },
        &p);
    return p;
  }();
  return found;
}

std::int64_t deadline_after(Timeout timeout) {
  return timeout == kForever ? os::kNoDeadline : os::monotonic_ns() + timeout.count();
}

}  // namespace

std::uint64_t program_base() { return program().base; }

Threads::Threads(NodeId self, std::uint16_t nodes, const std::vector<NodeId>& present, net::Mesh* mesh,
                 std::function<void()> thread_ended)
    : self_(self),
      nodes_(nodes),
      mesh_(mesh),
      thread_ended_(std::move(thread_ended)),
      next_place_(self.value),
      alive_(nodes) {
  alive_[self.value] = true;
  for (const NodeId node : present) alive_[node.value] = true;
}

void Threads::node_joined(NodeId node) {
  const os::MutexLock lock(mu_);
  alive_[node.value] = true;
}

bool Threads::takes_threads(NodeId node) const {
  return alive_[node.value] && (node == self_ || mesh_->build_of(node) == mesh_->build_of(self_));
}

Result<std::uint64_t> Threads::start(ThreadPlace place, thread_detail::Entry entry,
                                     std::span<const std::byte> closure) {
  if (place.node != ThreadPlace::kAny && place.node >= nodes_) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("there is no node {} to start a thread on (nodes are 0 … {})", place.node, nodes_ - 1));
  }
  const auto address = reinterpret_cast<std::uint64_t>(entry);
  std::uint64_t ticket = 0;
  NodeId node{};
  {
    const os::MutexLock lock(mu_);
    if (place.node == ThreadPlace::kAny) {
      do {
        next_place_ = static_cast<std::uint16_t>((next_place_ + 1) % nodes_);
      } while (!takes_threads(NodeId{next_place_}));
    }
    node = place.node == ThreadPlace::kAny ? NodeId{next_place_} : NodeId{static_cast<std::uint16_t>(place.node)};
    if (!alive_[node.value]) return fail(ErrorCode::kPeerLost, fmt::format("node {} is not there", node));
    if (!takes_threads(node)) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("node {} runs another program than this one: no thread can be started there", node));
    }
    ticket = next_ticket_++;
    started_[ticket] = {.node = node};
    if (node == self_) {
      jobs_.push_back(
          {.starter = self_, .ticket = ticket, .entry = entry, .closure = {closure.begin(), closure.end()}});
    }
  }
  if (node == self_) {
    run_started();  // this is no signal handler
    return ticket;
  }
  if (address < program().begin || address >= program().end) {
    return fail(ErrorCode::kInvalidArgument, "a function of a shared library cannot be started on another node");
  }
  const wire::ThreadStart message{.ticket = ticket,
                                  .entry_offset = address - program().base,
                                  .closure_bytes = static_cast<std::uint32_t>(closure.size())};
  std::vector<std::byte> body(sizeof message + closure.size());
  std::memcpy(body.data(), &message, sizeof message);
  std::memcpy(body.data() + sizeof message, closure.data(), closure.size());
  mesh_->send(node,
              {.type = static_cast<std::uint16_t>(wire::MessageType::kThreadStart),
               .body_bytes = static_cast<std::uint32_t>(body.size())},
              body, {});
  return ticket;
}

Result<> Threads::join(std::uint64_t thread, void* result, std::size_t result_bytes, Timeout timeout) {
  WaitFlag flag;
  {
    const os::MutexLock lock(mu_);
    const auto found = started_.find(thread);
    CHECK(found != started_.end() && found->second.waiter == nullptr, thread);
    if (!found->second.ended) found->second.waiter = &flag;
    if (found->second.ended) flag.set();
  }
  (void)waiting_->wait(flag, deadline_after(timeout));
  const os::MutexLock lock(mu_);
  const auto found = started_.find(thread);
  Started& started = found->second;
  started.waiter = nullptr;
  if (!started.ended) return fail(ErrorCode::kTimeout, "the thread has not ended in time");
  if (started.error) {
    Error error = *started.error;
    started_.erase(found);
    return tl::unexpected(std::move(error));
  }
  std::memcpy(result, started.result.data(), std::min(result_bytes, started.result.size()));
  started_.erase(found);
  return {};
}

void Threads::detach(std::uint64_t thread) {
  const os::MutexLock lock(mu_);
  const auto found = started_.find(thread);
  if (found == started_.end()) return;
  found->second.detached = true;
  if (found->second.ended) started_.erase(found);
}

bool Threads::frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body) {
  if (type == wire::MessageType::kThreadStart) {
    wire::ThreadStart message;
    if (body.size() < sizeof message) return false;
    std::memcpy(&message, body.data(), sizeof message);
    const auto closure = body.subspan(sizeof message);
    const std::uint64_t address = program().base + message.entry_offset;
    if (closure.size() != message.closure_bytes || closure.size() > kMaxClosureBytes) return false;
    if (address < program().begin || address >= program().end) return false;
    {
      const os::MutexLock lock(mu_);
      jobs_.push_back({.starter = from,
                       .ticket = message.ticket,
                       .entry = reinterpret_cast<thread_detail::Entry>(address),
                       .closure = {closure.begin(), closure.end()}});
    }
    waiting_->nudge();
    return true;
  }
  wire::ThreadEnd message;
  if (type != wire::MessageType::kThreadEnd || body.size() < sizeof message) return false;
  std::memcpy(&message, body.data(), sizeof message);
  const auto result = body.subspan(sizeof message);
  if (result.size() != message.result_bytes || result.size() > kMaxThreadResultBytes) return false;
  std::optional<Error> error;
  if (message.status != wire::ThreadStatus::kReturned) {
    error = Error{ErrorCode::kOutOfMemory, fmt::format("node {} has no room for another thread", from)};
  }
  ended(message.ticket, std::move(error), result);
  return true;
}

void Threads::node_died(NodeId node) {
  std::vector<std::uint64_t> lost;
  {
    const os::MutexLock lock(mu_);
    alive_[node.value] = false;
    for (const auto& [ticket, started] : started_) {
      if (started.node == node && !started.ended) lost.push_back(ticket);
    }
  }
  for (const std::uint64_t ticket : lost) {
    ended(ticket, Error{ErrorCode::kPeerLost, fmt::format("node {} died, and the thread with it", node)}, {});
  }
}

void Threads::run_started() {
  std::vector<Job> jobs;
  {
    const os::MutexLock lock(mu_);
    jobs.swap(jobs_);
  }
  for (Job& job : jobs) {
    running_.fetch_add(1);
    const NodeId starter = job.starter;
    const std::uint64_t ticket = job.ticket;
    try {
      std::thread([this, job = std::move(job)]() mutable { run(std::move(job)); }).detach();
    } catch (const std::system_error&) {  // the only way std::thread has to say that there are too many
      running_.fetch_sub(1);
      end(starter, ticket, wire::ThreadStatus::kNotStarted, {});
    }
  }
}

void Threads::run(Job job) {
  alignas(std::max_align_t) std::byte result[kMaxThreadResultBytes];
  alignas(std::max_align_t) std::byte closure[kMaxClosureBytes];
  std::memcpy(closure, job.closure.data(), job.closure.size());
  os::unblock_fault_signals();  // the loop thread, from which this one comes, may have them blocked
  job.entry(closure, result);
  thread_ended_();
  end(job.starter, job.ticket, wire::ThreadStatus::kReturned, result);
  if (running_.fetch_sub(1) == 1) running_.notify_all();
}

void Threads::end(NodeId starter, std::uint64_t ticket, wire::ThreadStatus status, std::span<const std::byte> result) {
  if (starter == self_) {
    std::optional<Error> error;
    if (status != wire::ThreadStatus::kReturned) {
      error = Error{ErrorCode::kOutOfMemory, "this node has no room for another thread"};
    }
    return ended(ticket, std::move(error), result);
  }
  const wire::ThreadEnd message{
      .ticket = ticket, .status = status, .result_bytes = static_cast<std::uint32_t>(result.size())};
  std::byte body[sizeof message + kMaxThreadResultBytes];
  std::memcpy(body, &message, sizeof message);
  if (!result.empty()) std::memcpy(body + sizeof message, result.data(), result.size());
  mesh_->send(starter,
              {.type = static_cast<std::uint16_t>(wire::MessageType::kThreadEnd),
               .body_bytes = static_cast<std::uint32_t>(sizeof message + result.size())},
              {body, sizeof message + result.size()}, {});
}

void Threads::ended(std::uint64_t ticket, std::optional<Error> error, std::span<const std::byte> result) {
  const os::MutexLock lock(mu_);
  const auto found = started_.find(ticket);
  if (found == started_.end() || found->second.ended) return;
  Started& started = found->second;
  started.ended = true;
  started.error = std::move(error);
  started.result.assign(result.begin(), result.end());
  if (started.waiter != nullptr) started.waiter->set();
  if (started.detached) started_.erase(found);
}

void Threads::wait_for_running() {
  for (std::uint32_t running = running_.load(); running != 0; running = running_.load()) running_.wait(running);
}

}  // namespace gallocy::runtime
