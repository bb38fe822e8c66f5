// A node as coordinator of its own transactions and reads.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "durable/core.h"

namespace gallocy::durable {

TransactionId Core::id_of(std::uint64_t sequence) const { return {self_, history_.joined(self_), sequence}; }

void Core::read(Ticket ticket, std::uint64_t address, std::uint32_t bytes, Await await) {
  const BlockId block = block_of(page_of(address));
  const auto offset = static_cast<std::uint32_t>((address - kWindowBase) % kBlockBytes);
  const auto refuse = [&](Outcome outcome) { effects_.reads.push_back({ticket, outcome, block, {}}); };
  if (expelled_) return;
  if (!in_window(address) || region_of(block) == nullptr) return refuse(Outcome::kNotDurable);
  if (!history_.has_keeping_members()) return refuse(Outcome::kLost);
  if (bytes == 0 || bytes > wire::kMaxDurableReadBytes || bytes > kBlockBytes - offset)
    return refuse(Outcome::kTooLarge);
  if (reads_.count() == kMaxOpen) return refuse(Outcome::kTooMany);
  const Read read{ticket, block, offset, bytes, await};
  send_read(reads_.add(read), read);
  drain();
}

void Core::send_read(std::uint64_t number, const Read& read) {
  send(company(read.block).primary(), {.verb = Verb::kRead,
                                       .id = id_of(number),
                                       .block = read.block,
                                       .detail = static_cast<std::uint8_t>(read.await),
                                       .offset = read.offset,
                                       .length = read.length});
}

bool Core::on_read_reply(NodeId from, const Message& m) {
  const Read* read = reads_.find(m.id.sequence);
  if (read == nullptr || read->block != m.block || company(m.block).primary() != from) return false;
  if (m.bytes.size() != (m.outcome() == Outcome::kDone ? read->length : 0)) return false;
  effects_.reads.push_back({read->ticket, m.outcome(), m.block, m.bytes});
  reads_.erase(m.id.sequence);
  return true;
}

void Core::commit(Ticket ticket, std::span<const Item> items) {
  const auto end_at_once = [&](Outcome outcome, BlockId block) {
    effects_.commits.push_back({ticket, outcome, block});
  };
  if (expelled_) return;
  for (const Item& item : items) {
    const std::uint64_t last = item.address + std::max<std::size_t>(item.bytes.size(), 1) - 1;
    if (last < item.address || !in_window(item.address) || !in_window(last))
      return end_at_once(Outcome::kNotDurable, {});
  }
  auto parts = parts_of(items);
  if (!parts) return end_at_once(Outcome::kTooLarge, {});
  for (const auto& [block, part] : *parts) {
    if (region_of(block) == nullptr) return end_at_once(Outcome::kNotDurable, block);
  }
  if (parts->empty()) return end_at_once(Outcome::kDone, {});
  if (!history_.has_keeping_members()) return end_at_once(Outcome::kLost, parts->front().first);
  if (transactions_.count() == kMaxOpen) return end_at_once(Outcome::kTooMany, {});
  Transaction transaction{.ticket = ticket};
  for (auto& [block, part] : *parts) transaction.participants.push_back({.block = block, .part = std::move(part)});
  const std::uint64_t sequence = transactions_.add(std::move(transaction));
  for (Participant& participant : transactions_.find(sequence)->participants) send_prepare(sequence, participant);
  drain();
}

void Core::send_prepare(std::uint64_t sequence, Participant& participant) {
  const Company members = company(participant.block);
  const auto bit = static_cast<Company::Members>(members.size() > 1 ? members.backups() : members.all());
  participant.awaiting = is(Mutant::kKeepVotes) && participant.awaiting != 0 ? participant.awaiting & bit : bit;
  send(members.primary(), {.verb = Verb::kPrepare,
                           .id = id_of(sequence),
                           .block = participant.block,
                           .part = participant.part,
                           .bytes = {}});
}

void Core::send_decision(std::uint64_t sequence, const Transaction& transaction, const Participant& participant) {
  const Verb verb = transaction.decision == Decision::kCommit ? Verb::kCommit : Verb::kAbort;
  send(company(participant.block).primary(), {.verb = verb, .id = id_of(sequence), .block = participant.block});
}

void Core::begin_coordinator_epoch() {
  if (!history_.has_keeping_members()) return lose_all();
  for (std::uint64_t number = reads_.first(); number < reads_.next(); ++number) {
    if (const Read* read = reads_.find(number)) send_read(number, *read);
  }
  for (std::uint64_t sequence = transactions_.first(); sequence < transactions_.next(); ++sequence) {
    Transaction* transaction = transactions_.find(sequence);
    if (transaction == nullptr) continue;
    for (Participant& participant : transaction->participants) {
      if (transaction->decision == Decision::kNone) {
        send_prepare(sequence, participant);
      } else if (!participant.done) {
        send_decision(sequence, *transaction, participant);
      }
    }
  }
  // Companies have new members, which get records of transactions that were over, and what was said before may not have
  // arrived.
  owed_.clear();
  for (const NodeId node : history_.members()) {
    if (!history_.is_bystander(node)) owed_.push_back({node, transactions_.next() - 1});
  }
  forgotten_ = 1;
}

// There is nobody but bystanders: no block is anywhere, and nobody has to hear of a decision.
void Core::lose_all() {
  for (std::uint64_t number = reads_.first(); number < reads_.next(); ++number) {
    const Read* read = reads_.find(number);
    if (read == nullptr) continue;
    effects_.reads.push_back({read->ticket, Outcome::kLost, read->block, {}});
    reads_.erase(number);
  }
  for (std::uint64_t sequence = transactions_.first(); sequence < transactions_.next(); ++sequence) {
    const Transaction* transaction = transactions_.find(sequence);
    if (transaction == nullptr) continue;
    if (transaction->decision == Decision::kNone)
      effects_.commits.push_back({transaction->ticket, Outcome::kLost, transaction->participants.front().block});
    transactions_.erase(sequence);
  }
  owed_.clear();
}

Core::Participant* Core::find_participant(const Message& m) {
  Transaction* transaction = transactions_.find(m.id.sequence);
  if (transaction == nullptr) return nullptr;
  const auto found = std::ranges::find(transaction->participants, m.block, &Participant::block);
  return found == transaction->participants.end() ? nullptr : &*found;
}

bool Core::on_prepared(NodeId from, const Message& m) {
  if (m.id != id_of(m.id.sequence)) return false;
  Participant* participant = find_participant(m);
  // It may be over, when a member gets the record once more.
  if (participant == nullptr) return m.id.sequence < transactions_.next();
  Transaction& transaction = *transactions_.find(m.id.sequence);
  if (transaction.decision != Decision::kNone) return true;
  const Company members = company(m.block);
  const unsigned position = members.position(from);
  if (position == Company::kNowhere || (m.vote() != Vote::kMember && position != 0)) return false;
  participant->awaiting &= static_cast<Company::Members>(m.vote() == Vote::kMember ? ~(1u << position) : 0u);
  participant->done = m.vote() == Vote::kValidated;
  const auto waits = [&](const Participant& p) {
    return is(Mutant::kAcknowledgeEarly) ? (p.awaiting & (p.awaiting - 1)) != 0 : p.awaiting != 0;
  };
  if (std::ranges::none_of(transaction.participants, waits))
    decide(m.id.sequence, Decision::kCommit, Outcome::kDone, BlockId{});
  return true;
}

bool Core::on_refused(NodeId from, const Message& m) {
  Participant* participant = find_participant(m);
  if (m.id != id_of(m.id.sequence) || company(m.block).primary() != from) return false;
  if (participant == nullptr) return m.id.sequence < transactions_.next();
  const Decision decision = transactions_.find(m.id.sequence)->decision;
  if (decision == Decision::kCommit) return false;
  participant->done = true;  // it has nothing to drop
  if (decision == Decision::kNone) {
    decide(m.id.sequence, Decision::kAbort, m.outcome(), m.block);
  } else {
    finish_if_done(m.id.sequence);
  }
  return true;
}

void Core::decide(std::uint64_t sequence, Decision decision, Outcome outcome, BlockId block) {
  Transaction& transaction = *transactions_.find(sequence);
  transaction.decision = decision;
  effects_.commits.push_back({transaction.ticket, outcome, block});
  for (const Participant& participant : transaction.participants) {
    if (!participant.done) send_decision(sequence, transaction, participant);
  }
  finish_if_done(sequence);
}

bool Core::on_done(NodeId from, const Message& m) {
  if (m.id != id_of(m.id.sequence) || company(m.block).primary() != from) return false;
  Participant* participant = find_participant(m);
  if (participant == nullptr) return m.id.sequence < transactions_.next();
  if (transactions_.find(m.id.sequence)->decision == Decision::kNone) return false;
  participant->done = true;
  finish_if_done(m.id.sequence);
  return true;
}

// Its records may go when all participants have applied it: until then one of them may have to ask another.
void Core::finish_if_done(std::uint64_t sequence) {
  const Transaction& transaction = *transactions_.find(sequence);
  if (!is(Mutant::kForgetEarly) && !std::ranges::all_of(transaction.participants, &Participant::done)) return;
  for (const Participant& participant : transaction.participants) {
    const Company members = company(participant.block);
    for (unsigned i = 0; i < members.size(); ++i) {
      const auto owed = std::ranges::find(owed_, members[i], &Owed::node);
      if (owed == owed_.end()) {
        owed_.push_back({members[i], sequence});
      } else {
        owed->last = std::max(owed->last, sequence);
      }
    }
  }
  transactions_.erase(sequence);
}

void Core::send_forget() {
  const std::uint64_t below = transactions_.first();
  if (below == forgotten_ || expelled_) return;
  forgotten_ = below;
  for (const Owed& owed : owed_) send(owed.node, {.verb = Verb::kForget, .id = id_of(below)});
  std::erase_if(owed_, [&](const Owed& owed) { return owed.last < below; });
}

}  // namespace gallocy::durable
