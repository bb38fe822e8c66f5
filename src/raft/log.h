// Log: the entries that a server has, after a prefix that a snapshot stands for (§5.1), with the configurations among
// them.
//
// Invariants
// 1. Indexes are contiguous: base() + 1 … last(). Terms never fall.
// 2. Neither base() nor the entries up to a committed one ever change, except that base() rises.
#pragma once

#include <cstdint>
#include <deque>

#include "raft/types.h"

namespace gallocy::raft {

class Log {
 public:
  Log() = default;
  Log(const Snapshot& snapshot, const std::vector<Entry>& entries);

  LogIndex base() const { return base_; }
  Term base_term() const { return base_term_; }
  LogIndex last() const { return LogIndex{base_.value + entries_.size()}; }
  Term last_term() const { return entries_.empty() ? base_term_ : entries_.back().term; }

  bool has(LogIndex index) const { return index > base_ && index <= last(); }
  const Entry& at(LogIndex index) const;
  // Of the entry, or of the last one that the prefix had.
  Term term_at(LogIndex index) const;
  bool matches(LogIndex index, Term term) const;

  // Whether a log that ends so has everything that this one may have committed (§3.6.1).
  bool as_up_to_date(LogIndex last_index, Term last_term) const;
  // The first index of the term that the entry at `index` has, as far as the log goes back.
  LogIndex first_of_term(LogIndex index) const;
  // The last index up to `most` whose term is at most `term`; base() if there is none.
  LogIndex last_up_to_term(LogIndex most, Term term) const;

  void append(Entry entry);
  void truncate_from(LogIndex index);
  void compact_to(LogIndex index);
  void reset(const Snapshot& snapshot);

  const ConfigurationHistory& configurations() const { return configurations_; }
  const std::deque<Entry>& entries() const { return entries_; }

 private:
  LogIndex base_{};
  Term base_term_{};
  std::deque<Entry> entries_;
  ConfigurationHistory configurations_;
};

}  // namespace gallocy::raft
