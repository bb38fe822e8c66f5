// Questions: what the nodes of a process ask each other, and who waits for the answers.
//
// A question is a wire::GuestRequest with a ticket; the reply names that. A request without a ticket has no reply.
//
// Threads: any. post, reply, answer and answered may be called by the poller; who waits must not be it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "os/mutex.h"
#include "runtime/runtime.h"
#include "runtime/waiting.h"
#include "wire/guest.h"

namespace gallocy::personality {

struct Question {
  runtime::WaitFlag flag;
  long result = 0;
  std::vector<std::byte> answer;
};

class Questions {
 public:
  explicit Questions(runtime::Runtime& runtime) : runtime_(runtime) {}

  // Until there is a reply; its result.
  long ask(NodeId node, wire::GuestRequest& request, std::span<const std::byte> trailing = {},
           std::vector<std::byte>* answer = nullptr);
  // All other nodes.
  void ask_all(wire::GuestRequest& request, std::span<const std::byte> trailing = {});
  void post(NodeId node, const wire::GuestRequest& request, std::span<const std::byte> trailing = {});
  // Ticket 0: to nobody.
  void reply(NodeId node, std::uint64_t ticket, long result, std::span<const std::byte> answer = {});
  // As reply, where the node may be this one.
  void answer(NodeId node, std::uint64_t ticket, long result, std::span<const std::byte> answer = {});
  // A reply has arrived.
  void answered(std::uint64_t ticket, long result, std::span<const std::byte> answer);

  // For who does more between the parts of ask(): the ticket of the question, until it is closed; its result.
  std::uint64_t open(Question& question);
  long close(std::uint64_t ticket, Question& question, std::vector<std::byte>* answer = nullptr);
  void wait(Question& question) { (void)runtime_.waiting().wait(question.flag); }
  std::uint64_t new_ticket();

 private:
  void send(NodeId node, wire::MessageType type, std::span<const std::byte> head, std::span<const std::byte> trailing);

  runtime::Runtime& runtime_;
  os::Mutex mu_;
  std::uint64_t next_ticket_ GUARDED_BY(mu_) = 1;
  std::unordered_map<std::uint64_t, Question*> open_ GUARDED_BY(mu_);
};

// Questions that are asked at once. Threads: one.
class QuestionGroup {
 public:
  explicit QuestionGroup(Questions& questions) : questions_(questions) {}

  // Of one more, which is then posted.
  std::uint64_t ticket();
  // For all answers, in the order of the tickets.
  std::vector<std::vector<std::byte>> wait();

 private:
  struct Asked {
    std::uint64_t ticket = 0;
    Question question;
  };
  Questions& questions_;
  std::vector<std::unique_ptr<Asked>> asked_;
};

}  // namespace gallocy::personality
