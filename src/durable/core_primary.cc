// A node as primary of a block: it says in which order transactions happen there.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "durable/core.h"

namespace gallocy::durable {

bool Core::on_read(NodeId from, const Message& m) {
  Block* block = led_block(m.block);
  if (block == nullptr || m.id.coordinator != from) return false;
  Message reply{.verb = Verb::kReadReply, .id = m.id, .block = m.block};
  if (!block->complete) {
    reply.detail = static_cast<std::uint8_t>(Outcome::kLost);
    send(from, std::move(reply));
    return true;
  }
  const bool all = m.await() == Await::kAll && !is(Mutant::kReadPastComparisons);
  const auto locked = [&](const Record& r) {
    return holds_locks(r) && (all ? r.part.wants(m.offset, m.length) : r.part.writes_to(m.offset, m.length));
  };
  // Whoever reads in order to write gets what no death can change: the next primary of a company that is not settled
  // may have a record that this one has not, of a coordinator that is dead, and go on with it.
  const bool wavers = all && !block->settled && !is(Mutant::kReadUnsettled);
  if (wavers || (std::ranges::any_of(block->records, locked) && !is(Mutant::kReadThroughLock))) {
    block->reads.emplace_back(from, m);
    return true;
  }
  reply.bytes.resize(m.length);
  block->image.read(m.offset, reply.bytes);
  send(from, std::move(reply));
  return true;
}

void Core::serve_reads(Block& block) {
  for (const auto& [from, m] : std::exchange(block.reads, {})) (void)on_read(from, m);
}

bool Core::on_prepare(NodeId from, const Message& m) {
  Block* block = led_block(m.block);
  if (block == nullptr || m.id.coordinator != from || !alive(m.id) || m.part.empty()) return false;
  const bool alone = block->company.size() == 1;
  if (Record* known = block->find(m.id)) {
    // In the epoch before; the others have it, or get it, with begin_sync.
    if (alone && holds_locks(*known))
      send(from, {.verb = Verb::kPrepared, .id = m.id, .block = m.block, .detail = std::uint8_t(Vote::kCompany)});
    known->heard = true;
    serve_unsettled(*block);
    return true;
  }
  // A backup may have a record of the former primary that this one does not. Until it has gone, nobody may hear that
  // this transaction did not happen: if this node died, the backup would go on with it.
  if ((!block->settled && !is(Mutant::kNotSettled)) || awaits_news(*block, m.part)) {
    block->unsettled.emplace_back(from, m);
    return true;
  }
  if (const Outcome outcome = validate(*block, m.part); outcome != Outcome::kDone) {
    send(from, {.verb = Verb::kRefused, .id = m.id, .block = m.block, .detail = static_cast<std::uint8_t>(outcome)});
  } else if (m.part.blocks().size() == 1 && !m.part.writes()) {
    send(from, {.verb = Verb::kPrepared, .id = m.id, .block = m.block, .detail = std::uint8_t(Vote::kValidated)});
  } else {
    record(*block, m);
  }
  return true;
}

// A record of an epoch before is in the way, and may be of a transaction whose caller was told that it happened: the
// lock of its section has passed on then, and the next one must not be in conflict with it. Its coordinator says what
// has become of it as soon as it has got to this epoch, and if that died, the participants decide; neither waits for a
// prepare, so there is no deadlock. "Not decided" is an answer too.
bool Core::awaits_news(const Block& block, const Part& part) const {
  return block.complete && !is(Mutant::kRefuseUnheard) && std::ranges::any_of(block.records, [&](const Record& r) {
           return holds_locks(r) && !r.heard && r.part.conflicts(part);
         });
}

// Nobody waits for a lock, so there is no deadlock; the caller tries again.
Outcome Core::validate(const Block& block, const Part& part) const {
  if (!block.complete) return Outcome::kLost;
  const auto in_the_way = [&](const Record& r) { return holds_locks(r) && r.part.conflicts(part); };
  const auto in_the_way_of_writing = [&](const Record& r) {
    return holds_locks(r) && std::ranges::any_of(part.items(), [&](const wire::DurableItem& item) {
             return r.part.writes_to(item.offset, item.length);
           });
  };
  if (is(Mutant::kNoSharedLocks) ? std::ranges::any_of(block.records, in_the_way_of_writing)
                                 : !is(Mutant::kNoLocks) && std::ranges::any_of(block.records, in_the_way))
    return Outcome::kConflict;
  bool equal = true;
  part.for_each_item([&](const wire::DurableItem& item, std::span<const std::byte> bytes) {
    if (has_kind(item, ItemKind::kCompare)) equal = equal && block.image.equals(item.offset, bytes);
    if (has_kind(item, ItemKind::kComparePage))
      equal = equal && std::ranges::equal(block.image.digest(item.offset / kPageBytes), bytes);
  });
  return equal || is(Mutant::kSkipCompare) ? Outcome::kDone : Outcome::kConflict;
}

void Core::record(Block& block, const Message& prepare) {
  block.used = true;
  add_record(block, prepare.id, prepare.part);
  block.records.back().heard = true;
  Message replicate = prepare;
  replicate.verb = Verb::kReplicate;
  replicate.detail = static_cast<std::uint8_t>(Status::kPrepared);
  send_to(block.company.backups(), block, replicate);
  if (block.company.size() == 1)
    send(prepare.id.coordinator,
         {.verb = Verb::kPrepared, .id = prepare.id, .block = block.id, .detail = std::uint8_t(Vote::kCompany)});
  if (is(Mutant::kUnlockEarly)) apply(block, block.records.back());
}

bool Core::on_commit(NodeId from, const Message& m) {
  Block* block = led_block(m.block);
  if (block == nullptr || m.id.coordinator != from) return false;
  Record* record = block->find(m.id);
  if (record == nullptr && !block->complete) {
    send(from, {.verb = Verb::kDone, .id = m.id, .block = m.block});
    return true;
  }
  if (record == nullptr || record->dropping) return false;
  if (!record->committed) {
    commit_record(*block, m.id);
  } else if (record->awaiting == 0) {
    resolved(*block, m.id);
  }
  return true;
}

bool Core::on_abort(NodeId from, const Message& m) {
  Block* block = led_block(m.block);
  if (block == nullptr || m.id.coordinator != from) return false;
  const Record* record = block->find(m.id);
  if (record == nullptr && !block->settled) {
    block->unsettled.emplace_back(from, m);
  } else if (record == nullptr) {
    std::erase_if(block->unsettled,
                  [&](const auto& w) { return w.second.verb == Verb::kPrepare && w.second.id == m.id; });
    send(from, {.verb = Verb::kDone, .id = m.id, .block = m.block});
  } else if (record->committed) {
    return false;
  } else if (!record->dropping) {
    drop_record(*block, m.id);
  }
  return true;
}

void Core::apply(Block& block, Record& record) {
  record.committed = true;
  retained_.emplace_back(record.id, block.id);
  durable::apply(record.part, block.image);
  note({.kind = NoteKind::kApplied, .block = block.id, .id = record.id, .part = {}});
}

// Backups hear of it from here, not from the coordinator: so they apply transactions in the order of this node.
void Core::commit_record(Block& block, const TransactionId& id) {
  Record& record = *block.find(id);
  apply(block, record);
  record.awaiting = block.company.backups();
  for (unsigned i = 0; i < block.company.size(); ++i) {
    if ((record.awaiting >> i & 1) != 0)
      send_in_time(block.company[i], {.verb = Verb::kApply, .id = id, .block = block.id});
  }
  serve_reads(block);
  if (record.awaiting == 0 || is(Mutant::kDoneEarly) || (is(Mutant::kForgetWhenCommitted) && !alive(id)))
    resolved(block, id);
  serve_unsettled(block);
}

void Core::drop_record(Block& block, const TransactionId& id) {
  Record& record = *block.find(id);
  note_erased(block, record);
  record.dropping = true;
  record.awaiting = block.company.backups();
  send_to(record.awaiting, block, {.verb = Verb::kDrop, .id = id, .block = block.id});
  serve_reads(block);
  if (record.awaiting == 0) resolved(block, id);
}

bool Core::on_resolved(NodeId from, const Message& m) {
  Block* block = led_block(m.block);
  if (block == nullptr) return false;
  const unsigned position = block->company.position(from);
  if (position == Company::kNowhere || position == 0) return false;
  Record* record = block->find(m.id);
  if (record == nullptr || (record->awaiting >> position & 1) == 0) return true;
  record->awaiting &= static_cast<Company::Members>(~(1u << position));
  if (record->awaiting == 0) resolved(*block, m.id);
  return true;
}

// All members have applied it, or dropped it.
void Core::resolved(Block& block, const TransactionId& id) {
  const Record& record = *block.find(id);
  const bool dropped = record.dropping;
  if (dropped) erase(block, id);
  if (alive(id)) {
    send_in_time(id.coordinator, {.verb = Verb::kDone, .id = id, .block = block.id});
  } else if (!dropped && block.settled) {
    recover(block, id);
  }
  if (dropped) serve_unsettled(block);
}

}  // namespace gallocy::durable
