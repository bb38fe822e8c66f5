// Images for new members of companies. All primaries send at the same time, and each from many blocks to many nodes.
//
// A page goes to its new member between the decisions that go there too, on the same link: those before it are in the
// page, those after it are applied on top of it. So a block is used all the while.
#include "durable/core.h"

namespace gallocy::durable {

void Core::continue_restores() {
  while (!restores_.empty() && pages_in_flight_ < options_.pages_in_flight) {
    Restore& restore = restores_.front();
    const Block& block = *find_block(restore.block);
    const std::uint32_t page = block.image.next_page(restore.next_page);
    if (page == kBlockPages) {
      send(restore.member, {.verb = Verb::kRestored, .block = block.id});
      restores_.pop_front();
      continue;
    }
    send(restore.member,
         {.verb = Verb::kPage, .block = block.id, .offset = page, .part = {}, .bytes = block.image.page(page)});
    restore.next_page = page + 1;
    ++pages_in_flight_;
  }
}

bool Core::on_page(NodeId from, const Message& m) {
  Block* block = find_block(m.block);
  if (block == nullptr || block->company.primary() != from || m.bytes.size() != kPageBytes) return false;
  if (block->complete && !is(Mutant::kRestoredEarly)) return false;
  block->image.set_page(m.offset, m.bytes);
  if (is(Mutant::kRestoredEarly)) block->complete = true;
  send(from, {.verb = Verb::kPageTaken, .block = m.block});
  return true;
}

bool Core::on_page_taken() {
  if (pages_in_flight_ == 0) return false;
  --pages_in_flight_;
  continue_restores();
  return true;
}

bool Core::on_restored(NodeId from, const Message& m) {
  Block* block = find_block(m.block);
  if (block == nullptr || block->company.primary() != from) return false;
  block->complete = true;
  send(from, {.verb = Verb::kSynced, .block = m.block, .detail = 1});
  return true;
}

}  // namespace gallocy::durable
