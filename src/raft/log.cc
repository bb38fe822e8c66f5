#include "raft/log.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace gallocy::raft {

PersistentState PersistentState::founding(const Configuration& founders, ServerId leader) {
  CHECK(leader == kNoServer || founders.voters.contains(leader), leader);
  PersistentState state;
  state.term = Term{1};
  state.vote = leader;
  state.entries = {{Term{1}, EntryKind::kConfiguration, std::make_shared<const Bytes>(founders.encode())}};
  return state;
}

Log::Log(const Snapshot& snapshot, const std::vector<Entry>& entries) {
  reset(snapshot);
  for (const Entry& entry : entries) append(entry);
}

const Entry& Log::at(LogIndex index) const {
  CHECK(has(index), index, base_, last());
  return entries_[index.value - base_.value - 1];
}

Term Log::term_at(LogIndex index) const { return index == base_ ? base_term_ : at(index).term; }

bool Log::matches(LogIndex index, Term term) const {
  return index >= base_ && index <= last() && term_at(index) == term;
}

bool Log::as_up_to_date(LogIndex last_index, Term last_term) const {
  return last_term != this->last_term() ? last_term > this->last_term() : last_index >= last();
}

LogIndex Log::first_of_term(LogIndex index) const {
  const Term term = at(index).term;
  const auto first =
      std::partition_point(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.term < term; });
  return LogIndex{base_.value + 1 + static_cast<std::uint64_t>(first - entries_.begin())};
}

LogIndex Log::last_up_to_term(LogIndex most, Term term) const {
  const auto end =
      std::partition_point(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.term <= term; });
  return std::min(most, LogIndex{base_.value + static_cast<std::uint64_t>(end - entries_.begin())});
}

void Log::append(Entry entry) {
  CHECK(entry.term >= last_term(), entry.term, last_term());
  if (entry.kind == EntryKind::kConfiguration) {
    auto configuration = Configuration::decode(entry.bytes());
    CHECK(configuration.has_value(), "a configuration that cannot be read", last());
    configurations_.append(LogIndex{last().value + 1}, *std::move(configuration));
  }
  entries_.push_back(std::move(entry));
}

void Log::truncate_from(LogIndex index) {
  CHECK(index > base_, index, base_);
  if (index > last()) return;
  entries_.resize(index.value - base_.value - 1);
  configurations_.truncate_from(index);
}

void Log::compact_to(LogIndex index) {
  if (index <= base_) return;
  base_term_ = term_at(index);
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(index.value - base_.value));
  base_ = index;
  configurations_.forget_before(index);
}

void Log::reset(const Snapshot& snapshot) {
  entries_.clear();
  base_ = snapshot.index;
  base_term_ = snapshot.term;
  configurations_.reset(snapshot.index, snapshot.configuration);
}

}  // namespace gallocy::raft
