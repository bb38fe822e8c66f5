#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"
#include "durable/core.h"

namespace gallocy::durable {

std::size_t Core::records() const {
  std::size_t count = 0;
  for (const Block& block : blocks_) count += block.records.size();
  return count;
}

std::size_t Core::unrestored() const {
  std::size_t count = 0;
  for (const Block& block : blocks_)
    count += block.company.primary() == self_ && block.complete && (!block.settled || block.incomplete != 0);
  return count;
}

void Core::check_invariants() const {
  CHECK(pages_in_flight_ <= options_.pages_in_flight, pages_in_flight_);
  CHECK(blocks_.empty() || !history_.is_bystander(self_), blocks_.size());
  for (const Block& block : blocks_) {
    CHECK(block.company.has(self_), block.id);
    CHECK((block.unsynced & ~block.company.backups()) == 0, block.id, block.unsynced);
    CHECK(block.company.primary() == self_ || block.reads.empty(), block.id);
    if (block.company.primary() != self_) continue;
    CHECK(block.settled == (block.unsynced == 0), block.id, block.unsynced);
    CHECK(block.used || block.records.empty(), block.id);
    for (const Record& a : block.records) {
      CHECK(!a.committed || !holds_locks(a), a.id.sequence);
      for (const Record& b : block.records) {
        CHECK(&a == &b || !holds_locks(a) || !holds_locks(b) || !a.part.conflicts(b.part), block.id, a.id.sequence,
              b.id.sequence);
      }
    }
  }
}

namespace {

class Digest {
 public:
  void add(std::uint64_t value) { sum_ = XXH3_64bits_withSeed(&value, sizeof value, sum_); }
  void add(std::span<const std::byte> bytes) { sum_ = XXH3_64bits_withSeed(bytes.data(), bytes.size(), sum_); }
  void add(const TransactionId& id) {
    add(id.coordinator.value);
    add(id.life.value);
    add(id.sequence);
  }
  void add(NodeId from, const Message& m) {
    add(from.value);
    add(static_cast<std::uint64_t>(m.verb));
    add(encode(m));
  }
  std::uint64_t sum() const { return sum_; }

 private:
  std::uint64_t sum_ = 0;
};

void add_to(Digest& digest, const Block& block) {
  digest.add(block.id.value << 3 | std::uint64_t{block.used} << 2 | std::uint64_t{block.complete} << 1 |
             std::uint64_t{block.settled});
  digest.add(std::uint64_t{block.unsynced} << 8 | block.incomplete);
  for (std::uint32_t page = block.image.next_page(0); page < kBlockPages; page = block.image.next_page(page + 1)) {
    digest.add(page);
    digest.add(block.image.page(page));
  }
  for (const Record& record : block.records) {
    digest.add(record.id);
    digest.add(record.confirmed.value);
    digest.add(std::uint64_t{record.heard} << 10 | std::uint64_t{record.committed} << 9 |
               std::uint64_t{record.dropping} << 8 | record.awaiting);
    for (const Record::Other& other : record.others)
      digest.add(other.block.value << 2 | static_cast<std::uint64_t>(other.status));
  }
  for (const auto* waiting : {&block.reads, &block.unsettled}) {
    for (const auto& [from, m] : *waiting) digest.add(from, m);
  }
}

}  // namespace

std::uint64_t Core::digest() const {
  Digest digest;
  digest.add(epoch().value);
  digest.add(std::uint64_t{expelled_} << 1 | static_cast<std::uint64_t>(lease_));
  for (const Block& block : blocks_) add_to(digest, block);
  digest.add(transactions_.first());
  for (std::uint64_t i = transactions_.first(); i < transactions_.next(); ++i) {
    const Transaction* transaction = transactions_.find(i);
    if (transaction == nullptr) continue;
    digest.add(i << 2 | static_cast<std::uint64_t>(transaction->decision));
    for (const Participant& p : transaction->participants)
      digest.add(p.block.value << 9 | std::uint64_t{p.done} << 8 | p.awaiting);
  }
  for (std::uint64_t i = reads_.first(); i < reads_.next(); ++i) digest.add(reads_.find(i) == nullptr ? 0 : i);
  for (const Owed& owed : owed_) digest.add(std::uint64_t{owed.node.value} << 48 ^ owed.last);
  digest.add(forgotten_);
  for (const Restore& r : restores_)
    digest.add(r.block.value << 32 ^ std::uint64_t{r.member.value} << 16 ^ r.next_page);
  digest.add(pages_in_flight_);
  digest.add(std::uint64_t{released_by_.size()} << 1 | static_cast<std::uint64_t>(released_));
  for (const Forgotten& f : forgotten_by_) digest.add(f.below << 32 ^ f.life.value);
  for (const auto& [from, m] : deferred_) digest.add(from, m);
  for (const PutOff& put_off : put_off_) {
    for (const Message& m : put_off.messages) digest.add(put_off.to, m);
  }
  return digest.sum();
}

}  // namespace gallocy::durable
