// Images for new members of companies. All primaries send at the same time, and each from many blocks to many nodes.
//
// Pages go to their new member, some at once, between the decisions that go there too, on the same link: those before
// them are in the pages, those after them are applied on top. So a block is used all the while.
#include <algorithm>
#include <utility>

#include "durable/core.h"

namespace gallocy::durable {

void Core::continue_restores() {
  while (!restores_.empty() && pages_in_flight_ < options_.pages_in_flight) {
    Restore& restore = restores_.front();
    const Block& block = *find_block(restore.block);
    const std::uint32_t first = block.image.next_page(restore.next_page);
    if (first == kBlockPages) {
      send(restore.member, {.verb = Verb::kRestored, .block = block.id});
      restores_.pop_front();
      continue;
    }
    const unsigned most = std::min(wire::kMaxDurablePages, options_.pages_in_flight - pages_in_flight_);
    Message run{.verb = Verb::kPages, .block = block.id, .offset = first};
    run.pages.reserve(most);
    std::uint32_t page = first;
    for (; page - first < most && block.image.has(page); ++page) run.pages.push_back(block.image.share(page));
    restore.next_page = page;
    pages_in_flight_ += page - first;
    send(restore.member, std::move(run));
  }
}

bool Core::on_pages(NodeId from, const Message& m) {
  Block* block = find_block(m.block);
  if (block == nullptr || block->company.primary() != from) return false;
  if (block->complete && !is(Mutant::kRestoredEarly)) return false;
  const auto count = static_cast<std::uint32_t>(m.pages.size());
  for (std::uint32_t i = 0; i < count; ++i) block->image.set_page(m.offset + i, m.pages[i]);
  if (options_.keep)
    note({.kind = NoteKind::kPages, .block = m.block, .id = {}, .offset = m.offset, .part = {}, .pages = m.pages});
  if (is(Mutant::kRestoredEarly)) block->complete = true;
  send(from, {.verb = Verb::kPagesTaken, .block = m.block, .length = count});
  return true;
}

bool Core::on_pages_taken(const Message& m) {
  if (pages_in_flight_ < m.length) return false;
  pages_in_flight_ -= m.length;
  continue_restores();
  return true;
}

bool Core::on_restored(NodeId from, const Message& m) {
  Block* block = find_block(m.block);
  if (block == nullptr || block->company.primary() != from) return false;
  block->complete = true;
  note({.kind = NoteKind::kCompleted, .block = m.block, .id = {}, .part = {}});
  send(from, {.verb = Verb::kSynced, .block = m.block, .detail = 1});
  return true;
}

// Everything that this node leads is whole, and stays so in this epoch: nothing needs the one that is about to leave,
// and who is settling may go on.
void Core::say_released() {
  const NodeId leaver = history_.leaver(), settler = history_.settler();
  if ((leaver == kNoNode && settler == kNoNode) || released_) return;
  if (unrestored() > 0 && !(is(Mutant::kReleaseEarly) && leaver != kNoNode) &&
      !(is(Mutant::kSettleEarly) && settler != kNoNode))
    return;
  released_ = true;
  if (leaver != kNoNode) send(leaver, {.verb = Verb::kReleased});
  if (settler != kNoNode) send(settler, {.verb = Verb::kReleased});
}

bool Core::on_released(NodeId from) {
  if (history_.leaver() != self_ && history_.settler() != self_) return false;
  if (std::ranges::find(released_by_, from) == released_by_.end()) released_by_.push_back(from);
  return true;
}

// A bystander has nothing that others need. The last member that keeps blocks stays while bystanders may want them.
bool Core::may_leave() const {
  if (history_.leaver() != self_) return false;
  if (regions_.empty() || history_.is_bystander(self_)) return true;
  const Membership& now = history_.membership();
  const bool last = !now.bystanders.empty() && now.bystanders.size() + 1 == now.nodes.size();
  return !last && released_by_.size() == now.nodes.size();
}

bool Core::may_go_on_settling() const {
  return history_.settler() == self_ && released_by_.size() == history_.members().size();
}

}  // namespace gallocy::durable
