#include "durable/core.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace gallocy::durable {
Core::Core(NodeId self, const History& history, std::span<const DurableRegion> regions, const Options& options)
    : self_(self), options_(options), history_(history), companies_(kCachedCompanies) {
  CHECK(history.is_member(self), self);
  for (const DurableRegion& region : regions) {
    regions_.push_back(region);
    if (region.founded == history.latest() || history.is_bystander(self)) continue;
    for (std::uint64_t i = 0; i < region.blocks; ++i) {
      const BlockId id{region.first.value + i};
      if (const Company members = history_.company(id, region.backups, region.founded); members.has(self))
        add_block(id, members, false);
    }
  }
}

void Core::map_region(BlockId first, std::uint64_t blocks, unsigned backups) {
  CHECK(backups <= kMaxBackups && region_of(first) == nullptr, first, backups);
  regions_.push_back({first, blocks, backups, epoch()});
  deliver_deferred();
}

const DurableRegion* Core::region_of(BlockId block) const {
  for (const DurableRegion& region : regions_) {
    if (block.value - region.first.value < region.blocks) return &region;
  }
  return nullptr;
}

Company Core::company(BlockId block) const {
  if (const Block* kept = this->block(block)) return kept->company;
  Cached& cached = companies_[block.value % companies_.size()];
  if (cached.block != block || cached.company.size() == 0) {
    const DurableRegion* region = region_of(block);
    if (region == nullptr) return {};
    cached = {block, history_.company(block, region->backups, region->founded)};
  }
  return cached.company;
}

const Block* Core::block(BlockId block) const {
  const auto place = places_.find(block);
  return place == places_.end() ? nullptr : &blocks_[place->second];
}

Block* Core::find_block(BlockId block) {
  const auto place = places_.find(block);
  return place == places_.end() ? nullptr : &blocks_[place->second];
}

Block& Core::add_block(BlockId block, const Company& company, bool complete) {
  places_.emplace(block, blocks_.size());
  blocks_.emplace_back();
  blocks_.back().id = block;
  blocks_.back().company = company;
  blocks_.back().complete = complete;
  note({.kind = NoteKind::kBegun, .block = block, .complete = complete, .id = {}, .part = {}});
  return blocks_.back();
}

// A block that this node has to restore was added with the epoch that brought it here.
Block* Core::kept_block(BlockId block) {
  if (Block* kept = find_block(block)) return kept;
  const Company members = company(block);
  return members.has(self_) ? &add_block(block, members, true) : nullptr;
}

Block* Core::led_block(BlockId block) {
  Block* kept = kept_block(block);
  return kept != nullptr && kept->company.primary() == self_ ? kept : nullptr;
}

void Core::send(NodeId to, Message message) {
  message.epoch = epoch();
  if (to == self_) return local_.push_back(std::move(message));
  send_put_off(to);
  effects_.messages.push_back({to, std::move(message)});
}

void Core::send_in_time(NodeId to, Message message) {
  if (to == self_) return send(to, std::move(message));
  auto found = std::ranges::find(put_off_, to, &PutOff::to);
  if (found == put_off_.end()) found = put_off_.insert(found, {.to = to, .messages = {}});
  message.epoch = epoch();
  found->messages.push_back(std::move(message));
  if (found->messages.size() >= options_.most_put_off) send_put_off(to);
}

void Core::send_put_off(NodeId to) {
  const auto found = std::ranges::find(put_off_, to, &PutOff::to);
  if (found == put_off_.end()) return;
  for (Message& message : found->messages) effects_.messages.push_back({to, std::move(message)});
  found->messages.clear();
}

void Core::send_to(Company::Members members, const Block& block, const Message& message) {
  for (unsigned i = 0; i < block.company.size(); ++i) {
    if ((members >> i & 1) != 0) send(block.company[i], message);
  }
}

bool Core::message(NodeId from, const Message& message) {
  if (expelled_ || (message.epoch < epoch() && !is(Mutant::kAcceptStale))) return true;
  if (is_early(message)) {
    deferred_.emplace_back(from, message);
    return true;
  }
  const bool right = dispatch(from, message);
  drain();
  return right;
}

// Its sender is further in the log.
bool Core::is_early(const Message& m) const {
  const auto unknown = [this](std::uint64_t block) { return region_of(BlockId{block}) == nullptr; };
  return m.epoch > epoch() || (m.verb != Verb::kForget && m.verb != Verb::kReleased && unknown(m.block.value)) ||
         (m.verb == Verb::kStatus && unknown(m.other.value)) ||
         (!m.part.empty() && std::ranges::any_of(m.part.blocks(), unknown));
}

bool Core::dispatch(NodeId from, const Message& m) {
  switch (m.verb) {
    case Verb::kRead:
      return on_read(from, m);
    case Verb::kReadReply:
      return on_read_reply(from, m);
    case Verb::kPrepare:
      return on_prepare(from, m);
    case Verb::kRefused:
      return on_refused(from, m);
    case Verb::kReplicate:
      return on_replicate(from, m);
    case Verb::kPrepared:
      return on_prepared(from, m);
    case Verb::kCommit:
      return on_commit(from, m);
    case Verb::kAbort:
      return on_abort(from, m);
    case Verb::kApply:
      return on_apply(from, m);
    case Verb::kDrop:
      return on_drop(from, m);
    case Verb::kResolved:
      return on_resolved(from, m);
    case Verb::kDone:
      return on_done(from, m);
    case Verb::kForget:
      return on_forget(from, m);
    case Verb::kSync:
      return on_sync(from, m);
    case Verb::kSynced:
      return on_synced(from, m);
    case Verb::kStatus:
      return on_status(from, m);
    case Verb::kPages:
      return on_pages(from, m);
    case Verb::kPagesTaken:
      return on_pages_taken(m);
    case Verb::kRestored:
      return on_restored(from, m);
    case Verb::kReleased:
      return on_released(from);
  }
  return false;
}

void Core::drain() {
  while (!local_.empty()) {
    const auto messages = std::exchange(local_, {});
    for (const Message& m : messages) CHECK(dispatch(self_, m), static_cast<int>(m.verb), m.block);
  }
}

void Core::epoch(Membership membership) {
  const Epoch before = epoch();
  history_.add(std::move(membership));
  if (expelled_ || !history_.is_member(self_)) {
    expelled_ = true;
    effects_ = {};
    return;
  }
  note({.kind = NoteKind::kEpoch, .epoch = epoch(), .id = {}, .part = {}});
  begin_epoch(before);
  drain();
  deliver_deferred();
}

// Everything that was under way in the epoch before is void. Who waits for something asks again.
void Core::begin_epoch(Epoch before) {
  std::ranges::fill(companies_, Cached{});
  restores_.clear();
  pages_in_flight_ = 0;
  put_off_.clear();
  released_by_.clear();
  released_ = false;
  for (Block& block : blocks_) {
    block.reads.clear();
    block.unsettled.clear();
    // The others drop it too when they have this node's records; or a new primary decides about it once more.
    erase_if(block, [](const Record& r) { return r.dropping; });
    for (Record& record : block.records) record.others.clear(), record.heard = false;
  }
  // A company of one is settled at once, and asks the companies of other blocks: those of now.
  std::vector<BlockId> unsettled;
  for (const DurableRegion& region : regions_) {
    if (history_.is_bystander(self_)) break;
    for (std::uint64_t i = 0; i < region.blocks; ++i) {
      if (Block* block = adopt(BlockId{region.first.value + i}, region, before)) unsettled.push_back(block->id);
    }
  }
  for (const BlockId id : unsettled) begin_sync(*find_block(id));
  std::erase_if(retained_, [this](const auto& r) {
    const Block* kept = block(r.second);
    return kept == nullptr ||
           std::ranges::none_of(kept->records, [&](const Record& record) { return record.id == r.first; });
  });
  begin_coordinator_epoch();
}

Block* Core::adopt(BlockId id, const DurableRegion& region, Epoch before) {
  Block* block = find_block(id);
  const Company was = block != nullptr ? block->company : history_.company(id, region.backups, region.founded, before);
  const Company now = history_.successor(was, id, region.backups);
  if (!now.has(self_)) {
    if (block != nullptr) give_up(id);
    return nullptr;
  }
  if (block == nullptr && now == was) return nullptr;
  if (block == nullptr) block = &add_block(id, now, was.has(self_));
  block->company = now;
  if (now.primary() != self_) {
    if (was.primary() == self_) follow_from_now_on(*block);
    return nullptr;
  }
  if (is(Mutant::kForgetPrepared) && was.primary() != self_)
    erase_if(*block, [](const Record& r) { return !r.committed; });
  return now != was || block->used || block->incomplete != 0 || !block->settled ? block : nullptr;
}

// As a member of the company no more. Others have it, as complete as this node.
void Core::give_up(BlockId id) {
  const std::size_t place = places_.at(id);
  places_.erase(id);
  if (place + 1 < blocks_.size()) {
    blocks_[place] = std::move(blocks_.back());
    places_[blocks_[place].id] = place;
  }
  blocks_.pop_back();
}

// Another is the primary, and says what comes of the records.
void Core::follow_from_now_on(Block& block) {
  block.settled = true;
  block.unsynced = block.incomplete = 0;
  for (Record& record : block.records) record.awaiting = 0;
}

void Core::deliver_deferred() {
  for (auto& [from, m] : std::exchange(deferred_, {})) (void)message(from, m);
}

void Core::flush() {
  say_released();
  send_forget();
  for (const PutOff& put_off : put_off_) send_put_off(put_off.to);
  drain();
}

Effects Core::take_effects() { return lease_ == Lease::kHeld ? std::exchange(effects_, {}) : Effects{}; }

}  // namespace gallocy::durable
