// What the other nodes of a process ask of this one (questions.h), and the system calls of threads that are not at
// home.
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "os/clock.h"
#include "personality/patched_entry.h"
#include "personality/process.h"

namespace gallocy::personality {

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

// To a request whose first word is a thread's id.
void Process::reply_about_thread(NodeId node, const wire::GuestRequest& request, long result,
                                 std::span<const std::byte> answer) {
  questions_.reply(node, request.ticket, found_here(static_cast<int>(request.words[0]), result), answer);
}

// On the poller: nothing here may wait or touch the program's memory.
bool Process::message(NodeId from, wire::MessageType type, std::span<const std::byte> body,
                      std::span<const std::byte> payload) {
  if (type == wire::MessageType::kGuestReply) {
    wire::GuestReply reply;
    if (body.size() < sizeof reply) return false;
    std::memcpy(&reply, body.data(), sizeof reply);
    questions_.answered(reply.ticket, reply.result, payload.empty() ? body.subspan(sizeof reply) : payload);
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
      proxies_.begin(static_cast<int>(request.words[0]), {.node = from,
                                                          .ticket = request.ticket,
                                                          .call = call_in(request),
                                                          .data = {trailing.begin(), trailing.end()},
                                                          .with_data = request.kind == Kind::kDataCall});
      return true;
    case Kind::kInterrupt:
      proxies_.interrupt(static_cast<int>(request.words[0]), request.words[1]);
      return true;
    case Kind::kProtect:
    case Kind::kDiscard:
    case Kind::kUnread:
    case Kind::kRead:
    case Kind::kCommon:
    case Kind::kEndView:
      if (!change_here(request)) return false;
      questions_.reply(from, request.ticket, 0);
      return true;
    case Kind::kFreeze: {
      if (!change_here(request) || trailing.size() != (nodes_ - 1u) * sizeof(std::uint64_t)) return false;
      for (std::uint16_t n = 1; n < nodes_; ++n) {
        wire::GuestRequest arrived{.kind = Kind::kArrived};
        std::memcpy(&arrived.words[0], trailing.data() + (n - 1u) * sizeof(std::uint64_t), sizeof(std::uint64_t));
        if (NodeId{n} != self_) questions_.post(NodeId{n}, arrived);
      }
      questions_.reply(from, request.ticket, 0);
      return true;
    }
    case Kind::kArrived:
      questions_.reply(kHome, request.words[0], 0);
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
          [this, from, start, ticket = request.ticket] { questions_.reply(from, ticket, start_thread_here(start)); });
      return true;
    }
    case Kind::kFork: {
      ThreadStart start;
      if (!is_home() || trailing.size() != sizeof start) return false;
      std::memcpy(static_cast<void*>(&start), trailing.data(), sizeof start);
      start_runtime_thread([this, from, start, ticket = request.ticket, waits = request.words[0] != 0] {
        questions_.reply(from, ticket, fork_process(start, waits));
      });
      return true;
    }
    case Kind::kOutside:
      questions_.reply(from, request.ticket,
                       place_outside(request.words[0], request.words[1], request.words[2]) ? 0 : -EEXIST);
      return true;
    case Kind::kClock: {
      const int pid = ::getpid();
      questions_.reply(from, request.ticket, os::monotonic_ns(), std::as_bytes(std::span(&pid, 1)));
      return true;
    }
    case Kind::kHoldThreads:
      start_runtime_thread([this, from, ticket = request.ticket, hold = request.words[0] != 0] {
        questions_.reply(from, ticket, hold_threads(hold) ? 0 : -EAGAIN);
      });
      return true;
    case Kind::kEndThreads:
      start_runtime_thread([this, from, ticket = request.ticket, but = static_cast<int>(request.words[0])] {
        questions_.reply(from, ticket, end_threads_here(but) ? 0 : -EAGAIN);
      });
      return true;
    case Kind::kRecords:
      start_runtime_thread([this, from, request] {
        reply_with_records(from, request.ticket, static_cast<Records>(request.words[0]), request.words[1]);
      });
      return true;
    case Kind::kFacts:
      start_runtime_thread([this, from, ticket = request.ticket] {
        questions_.reply(from, ticket, 0, encode(machine_facts(runtime_.settings().memory_bytes)));
      });
      return true;
    case Kind::kSlot: {
      const PatchedSite site{.call_at = request.words[0], .number = static_cast<std::int32_t>(request.words[1])};
      if (!is_home()) return false;
      questions_.reply(from, request.ticket, slot_for(site));
      return true;
    }
    case Kind::kSite: {
      const PatchedSite site = patched_site(static_cast<std::uint32_t>(request.words[0]));
      questions_.reply(from, request.ticket, 0, std::as_bytes(std::span(&site, 1)));
      return true;
    }
    case Kind::kFutex:
      if (!is_home()) return false;
      questions_.reply(from, request.ticket, futex_at_home(from, request.words));
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
      questions_.reply(from, request.ticket, 0);
      return true;
    }
    case Kind::kEnded:
      thread_ended(static_cast<int>(request.words[0]));
      return true;
    case Kind::kMove:
      start_runtime_thread(
          [this, from, ticket = request.ticket, thread = std::vector<std::byte>(trailing.begin(), trailing.end())] {
            questions_.reply(from, ticket, receive_thread(from, thread));
          });
      return true;
    case Kind::kAway:
      note_away(static_cast<int>(request.words[0]), NodeId{static_cast<std::uint16_t>(request.words[1])});
      questions_.reply(from, request.ticket, 0);
      return true;
    case Kind::kPlaces:
      if (!take_places(trailing)) return false;
      questions_.reply(from, request.ticket, 0);
      return true;
    case Kind::kSharing:
      move_helpers();
      questions_.reply(from, request.ticket, 0, sharing_record());
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
      questions_.reply(from, request.ticket, 0, std::as_bytes(std::span(&usage, 1)));
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
      questions_.reply(from, request.ticket, 0);
      return true;
    }
    case Kind::kAgreement:
      if (!agree_to(trailing)) return false;
      questions_.reply(from, request.ticket, 0);
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
      questions_.reply(from, request.ticket,
                       give_homes_here(request.words[0], request.words[1], *policy) ? 0 : -EAGAIN);
      return true;
    }
    case Kind::kTakeHomes: {
      const auto policy = policy_sent(trailing);
      if (!policy) return false;
      start_runtime_thread([this, from, request, wanted = *policy] {  // it waits for pages
        take_homes_here(request.words[0], request.words[1], wanted, request.words[2] != 0);
        questions_.reply(from, request.ticket, 0);
      });
      return true;
    }
    case Kind::kIsHome:
      questions_.reply(from, request.ticket, runtime_.memory().home_of(request.words[0]) == self_ ? 1 : 0);
      return true;
    case Kind::kTasks:
      start_runtime_thread([this, from, ticket = request.ticket] {
        const std::vector<TaskFacts> tasks = tasks_here();
        questions_.reply(from, ticket, 0, std::as_bytes(std::span(tasks)));
      });
      return true;
    case Kind::kPending: {
      if (!is_home()) return false;
      const std::uint64_t set = pending_at_home();
      questions_.reply(from, request.ticket, 0, std::as_bytes(std::span(&set, 1)));
      return true;
    }
    case Kind::kTaker:
      questions_.reply(from, request.ticket, taker_here(static_cast<int>(request.words[0])));
      return true;
    case Kind::kTakeAction: {
      if (!is_home() || request.words[0] > 64) return false;
      const GuestAction action = take_action(static_cast<int>(request.words[0]));
      questions_.reply(from, request.ticket, 0, std::as_bytes(std::span(&action, 1)));
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
  const std::uint64_t ticket = request.ticket = questions_.open(question);
  const CallSpec* const spec = call_spec(call_in(request).number);
  const bool may_wait = spec == nullptr || spec->blocks;
  // From here on queue() tells the home of a signal.
  if (may_wait) thread.call_at_home.store(ticket);
  question.result = -EINTR;
  if (!may_wait || thread.signal_pending.load() == 0) {
    const Pause pause(thread.active);
    questions_.post(kHome, request, data);
    questions_.wait(question);
  }
  thread.call_at_home.store(0);
  return questions_.close(ticket, question, answer);
}

// At the home: on which node a thread makes its calls.
NodeId Process::node_of_caller(int guest_tid) {
  {
    const os::MutexLock lock(threads_mu_);
    if (threads_.contains(guest_tid)) return self_;
  }
  return proxies_.caller_node(guest_tid).value_or(origin_of(guest_tid));
}

}  // namespace gallocy::personality
