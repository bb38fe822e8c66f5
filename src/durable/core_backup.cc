// A node as backup of a block: it has what its primary has.
#include <algorithm>

#include "base/check.h"
#include "durable/core.h"

namespace gallocy::durable {

bool Core::is_forgotten(const TransactionId& id) const {
  const std::size_t place = id.coordinator.value;
  return place < forgotten_by_.size() && forgotten_by_[place].life == id.life &&
         id.sequence < forgotten_by_[place].below;
}

bool Core::on_replicate(NodeId from, const Message& m) {
  Block* block = kept_block(m.block);
  if (block == nullptr || block->company.primary() != from || m.part.empty()) return false;
  const bool committed = m.status() == Status::kCommitted;
  Record* record = block->find(m.id);
  // A complete image without the record has it applied, and maybe later ones on top: it was forgotten here already.
  if (record == nullptr && (is(Mutant::kApplyAgain) || ((!committed || !block->complete) && !is_forgotten(m.id)))) {
    // Of two that conflict the primary has only this one: the other would be dropped with kSync. If the primary dies
    // before that, this node must not go on with both.
    erase_if(*block, [&](const Record& r) {
      return !committed && r.confirmed != epoch() && holds_locks(r) && r.part.conflicts(m.part);
    });
    add_record(*block, m.id, m.part);
    record = &block->records.back();
  }
  if (record != nullptr) {
    record->confirmed = epoch();
    // What a former primary had this node apply goes when the pages of this one come.
    if (!block->complete && !is(Mutant::kKeepApplied)) record->committed = record->committed && committed;
    if (committed && !record->committed) apply(*block, *record);
  }
  if (committed) {
    send(from, {.verb = Verb::kResolved, .id = m.id, .block = m.block});
  } else if (alive(m.id)) {
    send(m.id.coordinator, {.verb = Verb::kPrepared, .id = m.id, .block = m.block});
  }
  return true;
}

bool Core::on_apply(NodeId from, const Message& m) {
  Block* block = kept_block(m.block);
  if (block == nullptr || block->company.primary() != from) return false;
  Record* record = block->find(m.id);
  if (record == nullptr) return false;
  if (!record->committed) apply(*block, *record);
  send_in_time(from, {.verb = Verb::kResolved, .id = m.id, .block = m.block});
  return true;
}

bool Core::on_drop(NodeId from, const Message& m) {
  Block* block = kept_block(m.block);
  if (block == nullptr || block->company.primary() != from) return false;
  erase(*block, m.id);
  send(from, {.verb = Verb::kResolved, .id = m.id, .block = m.block});
  return true;
}

// The primary has sent all its records. Others are of transactions that cannot have happened: a member of the company,
// the present primary, never had them.
bool Core::on_sync(NodeId from, const Message& m) {
  Block* block = kept_block(m.block);
  if (block == nullptr || block->company.primary() != from) return false;
  if (!is(Mutant::kKeepOrphans)) erase_if(*block, [this](const Record& r) { return r.confirmed != epoch(); });
  send(from, {.verb = Verb::kSynced, .block = m.block, .detail = block->complete});
  return true;
}

// All members of all companies have applied the transactions of this coordinator with smaller numbers.
bool Core::on_forget(NodeId from, const Message& m) {
  if (m.id.coordinator != from || !alive(m.id)) return false;
  const std::size_t place = from.value;
  if (place >= forgotten_by_.size()) forgotten_by_.resize(place + 1);
  forgotten_by_[place] = {m.id.life, m.id.sequence};
  std::erase_if(retained_, [&](const auto& retained) {
    const auto& [id, block] = retained;
    if (id.coordinator != from || !is_forgotten(id)) return false;
    erase(*find_block(block), id);
    return true;
  });
  return true;
}

}  // namespace gallocy::durable
