#include "personality/questions.h"

#include <sys/uio.h>

namespace gallocy::personality {

std::uint64_t Questions::new_ticket() {
  const os::MutexLock lock(mu_);
  return next_ticket_++;
}

std::uint64_t Questions::open(Question& question) {
  const os::MutexLock lock(mu_);
  const std::uint64_t ticket = next_ticket_++;
  open_[ticket] = &question;
  return ticket;
}

long Questions::close(std::uint64_t ticket, Question& question, std::vector<std::byte>* answer) {
  const os::MutexLock lock(mu_);
  open_.erase(ticket);
  if (answer != nullptr) *answer = std::move(question.answer);
  return question.result;
}

long Questions::ask(NodeId node, wire::GuestRequest& request, std::span<const std::byte> trailing,
                    std::vector<std::byte>* answer) {
  Question question;
  const std::uint64_t ticket = request.ticket = open(question);
  post(node, request, trailing);
  wait(question);
  return close(ticket, question, answer);
}

void Questions::ask_all(wire::GuestRequest& request, std::span<const std::byte> trailing) {
  QuestionGroup group(*this);
  for (std::uint16_t n = 0; n < runtime_.nodes(); ++n) {
    if (NodeId{n} == runtime_.self()) continue;
    request.ticket = group.ticket();
    post(NodeId{n}, request, trailing);
  }
  (void)group.wait();
}

// What is short follows the head; the rest is the frame's payload.
void Questions::send(NodeId node, wire::MessageType type, std::span<const std::byte> head,
                     std::span<const std::byte> trailing) {
  constexpr std::size_t kMostInBody = 8 << 10;
  const bool is_payload = trailing.size() > kMostInBody;
  std::vector<std::byte> body(head.begin(), head.end());
  if (!is_payload) body.insert(body.end(), trailing.begin(), trailing.end());
  const iovec payload{const_cast<std::byte*>(trailing.data()), trailing.size()};
  runtime_.mesh()->queue(node, type, body, {&payload, is_payload ? std::size_t{1} : 0});
}

void Questions::post(NodeId node, const wire::GuestRequest& request, std::span<const std::byte> trailing) {
  send(node, wire::MessageType::kGuestRequest, std::as_bytes(std::span(&request, 1)), trailing);
}

void Questions::reply(NodeId node, std::uint64_t ticket, long result, std::span<const std::byte> answer) {
  if (ticket == 0) return;
  const wire::GuestReply reply{.ticket = ticket, .result = result};
  send(node, wire::MessageType::kGuestReply, std::as_bytes(std::span(&reply, 1)), answer);
}

void Questions::answer(NodeId node, std::uint64_t ticket, long result, std::span<const std::byte> answer) {
  node == runtime_.self() ? answered(ticket, result, answer) : reply(node, ticket, result, answer);
}

void Questions::answered(std::uint64_t ticket, long result, std::span<const std::byte> answer) {
  const os::MutexLock lock(mu_);
  const auto found = open_.find(ticket);
  if (found == open_.end()) return;
  found->second->result = result;
  found->second->answer.assign(answer.begin(), answer.end());
  found->second->flag.set();
}

std::uint64_t QuestionGroup::ticket() {
  asked_.push_back(std::make_unique<Asked>());
  return asked_.back()->ticket = questions_.open(asked_.back()->question);
}

std::vector<std::vector<std::byte>> QuestionGroup::wait() {
  for (const auto& asked : asked_) questions_.wait(asked->question);
  std::vector<std::vector<std::byte>> answers(asked_.size());
  for (std::size_t i = 0; i < asked_.size(); ++i)
    (void)questions_.close(asked_[i]->ticket, asked_[i]->question, &answers[i]);
  asked_.clear();
  return answers;
}

}  // namespace gallocy::personality
