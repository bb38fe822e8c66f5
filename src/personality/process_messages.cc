// The questions that the nodes of a process ask each other.
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "os/clock.h"
#include "os/prompt_scheduling.h"
#include "personality/patched_entry.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

constexpr std::int64_t kWatchNs = 100'000;  // how long a proxy looks for the next call itself

}  // namespace

std::uint64_t Process::open_question(Question& question) {
  const os::MutexLock lock(questions_mu_);
  const std::uint64_t ticket = next_ticket_++;
  questions_[ticket] = &question;
  return ticket;
}

long Process::close_question(std::uint64_t ticket, Question& question, std::vector<std::byte>* answer) {
  const os::MutexLock lock(questions_mu_);
  questions_.erase(ticket);
  if (answer != nullptr) *answer = std::move(question.answer);
  return question.result;
}

wire::GuestRequest Process::request_for(wire::GuestRequestKind kind, const GuestThread& thread, const Call& call) {
  wire::GuestRequest request{.kind = kind};
  request.words[0] = static_cast<std::uint64_t>(thread.guest_tid);
  request.words[1] = static_cast<std::uint64_t>(call.number);
  for (std::size_t i = 0; i < 6; ++i) request.words[2 + i] = static_cast<std::uint64_t>(call.arguments[i]);
  return request;
}

Call Process::call_in(const wire::GuestRequest& request) {
  Call call{.number = static_cast<long>(request.words[1])};
  for (std::size_t i = 0; i < 6; ++i) call.arguments[i] = static_cast<long>(request.words[2 + i]);
  return call;
}

long Process::ask(NodeId node, wire::GuestRequest& request, std::span<const std::byte> trailing,
                  std::vector<std::byte>* answer) {
  Question question;
  const std::uint64_t ticket = request.ticket = open_question(question);
  post(node, request, trailing);
  (void)runtime_.waiting().wait(question.flag);
  return close_question(ticket, question, answer);
}

void Process::ask_all(wire::GuestRequest& request, std::span<const std::byte> trailing) {
  std::vector<std::unique_ptr<Question>> questions;
  for (std::uint16_t n = 0; n < nodes_; ++n) {
    if (NodeId{n} == self_) continue;
    questions.push_back(std::make_unique<Question>());
    request.ticket = open_question(*questions.back());
    post(NodeId{n}, request, trailing);
  }
  wait_for_all(questions);
}

void Process::wait_for_all(const std::vector<std::unique_ptr<Question>>& questions) {
  for (const auto& question : questions) (void)runtime_.waiting().wait(question->flag);
  const os::MutexLock lock(questions_mu_);
  std::erase_if(questions_, [&](const auto& entry) {
    return std::ranges::any_of(questions, [&](const auto& q) { return q.get() == entry.second; });
  });
}

// What is short follows the head; the rest is the frame's payload.
void Process::send(NodeId node, wire::MessageType type, std::span<const std::byte> head,
                   std::span<const std::byte> trailing) {
  constexpr std::size_t kMostInBody = 8 << 10;
  const bool is_payload = trailing.size() > kMostInBody;
  std::vector<std::byte> body(head.begin(), head.end());
  if (!is_payload) body.insert(body.end(), trailing.begin(), trailing.end());
  const iovec payload{const_cast<std::byte*>(trailing.data()), trailing.size()};
  runtime_.mesh()->queue(node, type, body, {&payload, is_payload ? std::size_t{1} : 0});
}

void Process::post(NodeId node, wire::GuestRequest& request, std::span<const std::byte> trailing) {
  send(node, wire::MessageType::kGuestRequest, std::as_bytes(std::span(&request, 1)), trailing);
}

void Process::reply(NodeId node, std::uint64_t ticket, long result, std::span<const std::byte> answer) {
  if (ticket == 0) return;
  const wire::GuestReply reply{.ticket = ticket, .result = result};
  send(node, wire::MessageType::kGuestReply, std::as_bytes(std::span(&reply, 1)), answer);
}

void Process::answer(NodeId node, std::uint64_t ticket, long result, std::span<const std::byte> answer) {
  node == self_ ? answered(ticket, result, answer) : reply(node, ticket, result, answer);
}

void Process::answered(std::uint64_t ticket, long result, std::span<const std::byte> answer) {
  const os::MutexLock lock(questions_mu_);
  const auto found = questions_.find(ticket);
  if (found == questions_.end()) return;
  found->second->result = result;
  found->second->answer.assign(answer.begin(), answer.end());
  found->second->flag.set();
}

// To a request whose first word is a thread's id.
void Process::reply_about_thread(NodeId node, const wire::GuestRequest& request, long result,
                                 std::span<const std::byte> answer) {
  reply(node, request.ticket, found_here(static_cast<int>(request.words[0]), result), answer);
}

// On the poller: nothing here may wait or touch the program's memory.
bool Process::message(NodeId from, wire::MessageType type, std::span<const std::byte> body,
                      std::span<const std::byte> payload) {
  if (type == wire::MessageType::kGuestReply) {
    wire::GuestReply reply;
    if (body.size() < sizeof reply) return false;
    std::memcpy(&reply, body.data(), sizeof reply);
    answered(reply.ticket, reply.result, payload.empty() ? body.subspan(sizeof reply) : payload);
    return true;
  }
  wire::GuestRequest request;
  if (type != wire::MessageType::kGuestRequest || body.size() < sizeof request) return false;
  std::memcpy(&request, body.data(), sizeof request);
  return this->request(from, request, payload.empty() ? body.subspan(sizeof request) : payload);
}

bool Process::request(NodeId from, const wire::GuestRequest& request, std::span<const std::byte> trailing) {
  using Kind = wire::GuestRequestKind;
  switch (request.kind) {
    case Kind::kCall:
    case Kind::kDataCall:
      if (!is_home()) return false;
      if (request.words[1] < forwarded_.size()) forwarded_[request.words[1]].fetch_add(1);
      call_for(from, request, trailing);
      return true;
    case Kind::kInterrupt:
      interrupt_call(static_cast<int>(request.words[0]), request.words[1]);
      return true;
    case Kind::kProtect:
    case Kind::kDiscard:
    case Kind::kUnread:
    case Kind::kRead:
    case Kind::kCommon:
    case Kind::kEndView:
      if (!change_here(request)) return false;
      reply(from, request.ticket, 0);
      return true;
    case Kind::kFreeze: {
      if (!change_here(request) || trailing.size() != (nodes_ - 1u) * sizeof(std::uint64_t)) return false;
      for (std::uint16_t n = 1; n < nodes_; ++n) {
        wire::GuestRequest arrived{.kind = Kind::kArrived};
        std::memcpy(&arrived.words[0], trailing.data() + (n - 1u) * sizeof(std::uint64_t), sizeof(std::uint64_t));
        if (NodeId{n} != self_) post(NodeId{n}, arrived);
      }
      reply(from, request.ticket, 0);
      return true;
    }
    case Kind::kArrived:
      reply(kHome, request.words[0], 0);
      return true;
    case Kind::kTouch:
      if (!is_home()) return false;
      touch_file_page(from, request.ticket, request.words[0], request.words[1] != 0);
      return true;
    case Kind::kFileBytes:
      if (!is_home()) return false;
      start_runtime_thread([this, from, request] {
        send_file_bytes(from, request.ticket, static_cast<int>(request.words[0]), request.words[1], request.words[2]);
      });
      return true;
    case Kind::kHasRead:
    case Kind::kHasViewed:
      if (!is_home()) return false;
      file_part_done(from, request);
      return true;
    case Kind::kCopy:
      if (!is_home() || !in_guest(request.words[0])) return false;
      start_runtime_thread([this, from, request, bytes = std::vector(trailing.begin(), trailing.end())] {
        copy_for(from, request, bytes);
      });
      return true;
    case Kind::kFileGone:
      forget_file(static_cast<int>(request.words[0]));
      return true;
    case Kind::kStart: {
      ThreadStart start;
      if (trailing.size() != sizeof start) return false;
      std::memcpy(static_cast<void*>(&start), trailing.data(), sizeof start);
      // It waits for the new thread, and the poller must not.
      start_runtime_thread(
          [this, from, start, ticket = request.ticket] { reply(from, ticket, start_thread_here(start)); });
      return true;
    }
    case Kind::kFork: {
      ThreadStart start;
      if (!is_home() || trailing.size() != sizeof start) return false;
      std::memcpy(static_cast<void*>(&start), trailing.data(), sizeof start);
      start_runtime_thread([this, from, start, ticket = request.ticket, waits = request.words[0] != 0] {
        reply(from, ticket, fork_process(start, waits));
      });
      return true;
    }
    case Kind::kOutside:
      reply(from, request.ticket, place_outside(request.words[0], request.words[1], request.words[2]) ? 0 : -EEXIST);
      return true;
    case Kind::kClock: {
      const int pid = ::getpid();
      reply(from, request.ticket, os::monotonic_ns(), std::as_bytes(std::span(&pid, 1)));
      return true;
    }
    case Kind::kHoldThreads:
      start_runtime_thread([this, from, ticket = request.ticket, hold = request.words[0] != 0] {
        reply(from, ticket, hold_threads(hold) ? 0 : -EAGAIN);
      });
      return true;
    case Kind::kEndThreads:
      start_runtime_thread([this, from, ticket = request.ticket, but = static_cast<int>(request.words[0])] {
        reply(from, ticket, end_threads_here(but) ? 0 : -EAGAIN);
      });
      return true;
    case Kind::kRecords:
      start_runtime_thread([this, from, request] {
        reply_with_records(from, request.ticket, static_cast<Records>(request.words[0]), request.words[1]);
      });
      return true;
    case Kind::kFacts:
      start_runtime_thread([this, from, ticket = request.ticket] {
        reply(from, ticket, 0, encode(machine_facts(runtime_.settings().memory_bytes)));
      });
      return true;
    case Kind::kSlot: {
      const PatchedSite site{.call_at = request.words[0], .number = static_cast<std::int32_t>(request.words[1])};
      if (!is_home()) return false;
      reply(from, request.ticket, slot_for(site));
      return true;
    }
    case Kind::kSite: {
      const PatchedSite site = patched_site(static_cast<std::uint32_t>(request.words[0]));
      reply(from, request.ticket, 0, std::as_bytes(std::span(&site, 1)));
      return true;
    }
    case Kind::kFutex:
      if (!is_home()) return false;
      reply(from, request.ticket, futex_at_home(from, request.words));
      return true;
    case Kind::kWake:
      wake_here(request.words[0]);
      return true;
    case Kind::kSignal: {
      PendingSignal signal{.number = static_cast<int>(request.words[1])};
      if (trailing.size() != sizeof signal.info) return false;
      std::memcpy(&signal.info, trailing.data(), sizeof signal.info);
      reply_about_thread(from, request, deliver_here(static_cast<int>(request.words[0]), signal));
      return true;
    }
    case Kind::kAction: {
      GuestAction action;
      if (trailing.size() != sizeof action || request.words[0] > 64) return false;
      std::memcpy(&action, trailing.data(), sizeof action);
      {
        const os::MutexLock lock(actions_mu_);
        actions_[request.words[0]] = action;
      }
      reply(from, request.ticket, 0);
      return true;
    }
    case Kind::kEnded:
      thread_ended(static_cast<int>(request.words[0]));
      return true;
    case Kind::kMove:
      start_runtime_thread(
          [this, from, ticket = request.ticket, thread = std::vector<std::byte>(trailing.begin(), trailing.end())] {
            reply(from, ticket, receive_thread(from, thread));
          });
      return true;
    case Kind::kAway:
      note_away(static_cast<int>(request.words[0]), NodeId{static_cast<std::uint16_t>(request.words[1])});
      reply(from, request.ticket, 0);
      return true;
    case Kind::kPlaces:
      if (!take_places(trailing)) return false;
      reply(from, request.ticket, 0);
      return true;
    case Kind::kSharing:
      move_helpers();
      reply(from, request.ticket, 0, sharing_record());
      return true;
    case Kind::kFatal: {
      Crash crash;
      if (!is_home() || trailing.size() != sizeof crash) return false;
      std::memcpy(static_cast<void*>(&crash), trailing.data(), sizeof crash);
      start_runtime_thread([this, crash] { end_by(crash); });
      return true;
    }
    case Kind::kExit:
      if (!ending_.exchange(true)) {
        start_runtime_thread([this, status = static_cast<int>(request.words[0])] { leave(status); });
      }
      return true;
    case Kind::kUsage: {
      const NodeUsage usage = usage_here();
      reply(from, request.ticket, 0, std::as_bytes(std::span(&usage, 1)));
      return true;
    }
    case Kind::kThreadTime:
      reply_about_thread(from, request,
                         thread_time_here(static_cast<int>(request.words[0]), static_cast<long>(request.words[1])));
      return true;
    case Kind::kIntroduce: {
      Introduction introduction;
      if (!is_home() || trailing.size() != sizeof introduction) return false;
      std::memcpy(&introduction, trailing.data(), sizeof introduction);
      {
        const os::MutexLock lock(introductions_mu_);
        introductions_[from.value] = introduction;
      }
      reply(from, request.ticket, 0);
      return true;
    }
    case Kind::kAgreement:
      if (!agree_to(trailing)) return false;
      reply(from, request.ticket, 0);
      return true;
    case Kind::kAffinity: {
      ProcessorMask mask;
      if (trailing.size() != sizeof mask) return false;
      std::memcpy(mask.data(), trailing.data(), sizeof mask);
      const long result = affinity_here(static_cast<int>(request.words[0]), request.words[1] != 0, mask);
      reply_about_thread(from, request, result, std::as_bytes(std::span(&mask, 1)));
      return true;
    }
    case Kind::kGiveHomes: {
      const auto policy = policy_sent(trailing);
      if (!policy) return false;
      reply(from, request.ticket, give_homes_here(request.words[0], request.words[1], *policy) ? 0 : -EAGAIN);
      return true;
    }
    case Kind::kTakeHomes: {
      const auto policy = policy_sent(trailing);
      if (!policy) return false;
      start_runtime_thread([this, from, request, wanted = *policy] {  // it waits for pages
        take_homes_here(request.words[0], request.words[1], wanted, request.words[2] != 0);
        reply(from, request.ticket, 0);
      });
      return true;
    }
    case Kind::kIsHome:
      reply(from, request.ticket, runtime_.memory().home_of(request.words[0]) == self_ ? 1 : 0);
      return true;
    case Kind::kTasks:
      start_runtime_thread([this, from, ticket = request.ticket] {
        const std::vector<TaskFacts> tasks = tasks_here();
        reply(from, ticket, 0, std::as_bytes(std::span(tasks)));
      });
      return true;
    case Kind::kPending: {
      if (!is_home()) return false;
      const std::uint64_t set = pending_at_home();
      reply(from, request.ticket, 0, std::as_bytes(std::span(&set, 1)));
      return true;
    }
    case Kind::kTaker:
      reply(from, request.ticket, taker_here(static_cast<int>(request.words[0])));
      return true;
    case Kind::kTakeAction: {
      if (!is_home() || request.words[0] > 64) return false;
      const GuestAction action = take_action(static_cast<int>(request.words[0]));
      reply(from, request.ticket, 0, std::as_bytes(std::span(&action, 1)));
      return true;
    }
    case Kind::kStop:
      if (!is_home()) return false;
      stop_process();
      return true;
  }
  return false;
}

// A system call of a remote thread. A signal interrupts it only if it may wait: others never fail with EINTR
// (signal(7)), and who has called close() does not call it again.
long Process::ask_home(GuestThread& thread, wire::GuestRequest& request, std::span<const std::byte> data,
                       std::vector<std::byte>* answer) {
  Question question;
  const std::uint64_t ticket = request.ticket = open_question(question);
  const CallSpec* const spec = call_spec(call_in(request).number);
  const bool may_wait = spec == nullptr || spec->blocks;
  // From here on queue() tells the home of a signal.
  if (may_wait) thread.call_at_home.store(ticket);
  question.result = -EINTR;
  if (!may_wait || thread.signal_pending.load() == 0) {
    const Pause pause(thread.active);
    post(kHome, request, data);
    (void)runtime_.waiting().wait(question.flag);
  }
  thread.call_at_home.store(0);
  return close_question(ticket, question, answer);
}

void Process::call_for(NodeId node, const wire::GuestRequest& request, std::span<const std::byte> data) {
  const int tid = static_cast<int>(request.words[0]);
  std::shared_ptr<Proxy> proxy;
  {
    const std::lock_guard lock(proxies_mu_);
    auto& slot = proxies_[tid];
    if (slot == nullptr) {
      slot = std::make_shared<Proxy>();
      slot->thread.guest_tid = tid;
      start_runtime_thread([this, made = slot] { run_proxy(made); });
    }
    proxy = slot;
  }
  const std::lock_guard lock(proxy->mu);
  proxy->ticket = request.ticket;
  proxy->node = node;
  proxy->call = call_in(request);
  proxy->with_data = request.kind == wire::GuestRequestKind::kDataCall;
  proxy->data.assign(data.begin(), data.end());
  proxy->has_call = true;
  proxy->changed.set();
}

// At the home: on which node a thread makes its calls.
NodeId Process::node_of_caller(int guest_tid) {
  {
    const os::MutexLock lock(threads_mu_);
    if (threads_.contains(guest_tid)) return self_;
  }
  const std::lock_guard lock(proxies_mu_);
  const auto found = proxies_.find(guest_tid);
  if (found == proxies_.end()) return origin_of(guest_tid);
  const std::lock_guard proxy_lock(found->second->mu);
  return found->second->node;
}

void Process::interrupt_call(int guest_tid, std::uint64_t ticket) {
  const std::lock_guard lock(proxies_mu_);
  const auto found = proxies_.find(guest_tid);
  if (found == proxies_.end()) return;
  const std::lock_guard proxy_lock(found->second->mu);
  if (found->second->ticket != ticket) return;
  found->second->thread.signal_pending.store(1);
  if (found->second->thread.tid != 0) raw_system_call(SYS_tkill, found->second->thread.tid, kKickSignal);
}

// At the home: makes the calls of one thread of another node.
void Process::run_proxy(const std::shared_ptr<Proxy>& proxy) {
  proxy->thread.guest_mask = ~std::uint64_t{0};
  prepare_child_thread(proxy->thread);
  ::prctl(PR_SET_NAME, program_name_.c_str());
  os::ask_for_prompt_scheduling();
  std::unique_lock lock(proxy->mu);
  while (!proxy->ended) {
    if (!proxy->has_call) {
      proxy->changed.reset();
      lock.unlock();
      // The next call often comes soon, and is received here without another thread having to pass it on.
      if (!runtime_.waiting().wait(proxy->changed, os::monotonic_ns() + kWatchNs))
        (void)proxy->changed.sleep(os::kNoDeadline);
      lock.lock();
      continue;
    }
    proxy->has_call = false;
    const Call call = proxy->call;
    const std::uint64_t ticket = proxy->ticket;
    const NodeId node = proxy->node;
    const std::vector<std::byte> data = std::move(proxy->data);
    const bool with_data = proxy->with_data;
    lock.unlock();
    std::vector<std::byte> answer;
    const long result =
        with_data ? serve_with_data(proxy->thread, call, data, answer) : serve_at_home(&proxy->thread, call);
    lock.lock();
    proxy->ticket = 0;
    proxy->thread.signal_pending.store(0);
    lock.unlock();
    reply(node, ticket, result, answer);
    lock.lock();
  }
  lock.unlock();
  forget_guest_thread();
}

}  // namespace gallocy::personality
