// Settling a company in a new epoch, and the transactions of coordinators that died. See docs/durable.md.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "durable/core.h"

namespace gallocy::durable {

// The members get this node's records, and drop what else they have.
void Core::begin_sync(Block& block) {
  const Company::Members others = block.company.backups();
  block.settled = false;
  block.used = !block.records.empty();
  block.unsynced = others;
  block.incomplete = 0;
  for (Record& record : block.records) {
    record.awaiting = record.committed ? others : Company::Members{0};
    if (is(Mutant::kSyncWithoutRecords)) continue;
    const Status status = record.committed ? Status::kCommitted : Status::kPrepared;
    send_to(others, block,
            {.verb = Verb::kReplicate,
             .id = record.id,
             .block = block.id,
             .detail = static_cast<std::uint8_t>(status),
             .part = record.part,
             .bytes = {}});
  }
  send_to(others, block, {.verb = Verb::kSync, .block = block.id});
  if (others == 0) settle(block);
}

bool Core::on_synced(NodeId from, const Message& m) {
  Block* block = led_block(m.block);
  if (block == nullptr) return false;
  const unsigned position = block->company.position(from);
  if (position == Company::kNowhere || position == 0) return false;
  const auto bit = static_cast<Company::Members>(1u << position);
  block->incomplete &= static_cast<Company::Members>(~bit);
  if (!m.complete()) {
    block->incomplete |= bit;
    if (block->complete && !is(Mutant::kNoRestore)) restores_.push_back({m.block, from, 0});
  }
  block->unsynced &= static_cast<Company::Members>(~bit);
  if (block->unsynced == 0 && !block->settled) settle(*block);
  continue_restores();
  return true;
}

void Core::settle(Block& block) {
  block.settled = true;
  std::vector<TransactionId> ids;
  for (const Record& record : block.records) ids.push_back(record.id);
  for (const TransactionId& id : ids) {
    if (!alive(id) && block.find(id) != nullptr) recover(block, id);
  }
  serve_reads(block);
  serve_unsettled(block);
}

void Core::serve_unsettled(Block& block) {
  if (!block.settled) return;
  for (const auto& [from, m] : std::exchange(block.unsettled, {})) (void)dispatch(from, m);
}

// A transaction whose coordinator is dead, in a company all of whose members have its record. Its participants tell
// each other what they have; what each says here is true of all members of its company, so it stays true whoever dies.
void Core::recover(Block& block, const TransactionId& id) {
  const Record& record = *block.find(id);
  if (record.dropping) return;
  const bool applied = record.committed && (record.awaiting == 0 || is(Mutant::kForgetWhenCommitted));
  if (record.part.blocks().size() > 1) {
    tell_status(block, record, applied ? Status::kCommitted : Status::kPrepared);
    decide_for_dead(block, id);
  } else if (!record.committed) {
    commit_record(block, id);
  } else if (applied) {
    drop_record(block, id);
  }
}

void Core::tell_status(const Block& block, const Record& record, Status status) {
  for (const std::uint64_t number : record.part.blocks()) {
    const BlockId other{number};
    if (other == block.id) continue;
    send(company(other).primary(), {.verb = Verb::kStatus,
                                    .id = record.id,
                                    .block = other,
                                    .other = block.id,
                                    .detail = static_cast<std::uint8_t>(status)});
  }
}

bool Core::on_status(NodeId from, const Message& m) {
  Block* block = led_block(m.block);
  if (block == nullptr || company(m.other).primary() != from || alive(m.id)) return false;
  Record* record = block->find(m.id);
  if (record == nullptr && m.status() == Status::kUnknown) return true;
  if ((record == nullptr && !block->settled && !is(Mutant::kNotSettled)) || (record != nullptr && record->dropping)) {
    block->unsettled.emplace_back(from, m);
    return true;
  }
  if (record == nullptr) {
    send(from, {.verb = Verb::kStatus, .id = m.id, .block = m.other, .other = m.block});
    return true;
  }
  if (!record->part.names(m.other)) return false;
  const auto known = std::ranges::find(record->others, m.other, &Record::Other::block);
  if (known == record->others.end()) {
    record->others.push_back({m.other, m.status()});
  } else {
    known->status = m.status();
  }
  decide_for_dead(*block, m.id);
  return true;
}

// Committed, if all companies have it, or one knows that all had it; void, if one does not have it. Forgotten, when all
// others have applied it: one of them that says it does not know it has forgotten it already.
void Core::decide_for_dead(Block& block, const TransactionId& id) {
  const Record& record = *block.find(id);
  if (!block.settled || record.dropping) return;
  if (is(Mutant::kCommitAlone) && !record.committed) return commit_record(block, id);
  if (is(Mutant::kAbortOnDeath) && !record.committed) return drop_record(block, id);
  if (record.others.size() + 1 < record.part.blocks().size()) return;
  const auto count = [&](Status status) { return std::ranges::count(record.others, status, &Record::Other::status); };
  if (!record.committed) {
    if (count(Status::kUnknown) > 0 && count(Status::kCommitted) == 0) {
      drop_record(block, id);
    } else {
      commit_record(block, id);
    }
  } else if (record.awaiting == 0 && count(Status::kPrepared) == 0) {
    drop_record(block, id);
  }
}

}  // namespace gallocy::durable
