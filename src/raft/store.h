// Store: a server's PersistentState on disk. Writes what Core asks to persist (Effects::persist), many such at once
// (group commit), and finds it again.
//
// In its directory: segments of records `log-NNNNNNNNNNNNNNNN`, numbered from 1, of which the last is written to, and
// the snapshot `snapshot-NNNNNNNNNNNNNNNN`, named by its index. See store_format.h.
//
// Invariants
// 1. When write() has returned, what was written is found after any crash; when open() has, what it has found.
// 2. After a crash the state is the one after some prefix of the writes that were begun, with all that had returned.
// 3. A failed write() changes nothing that open() would find but for a part of its own batch, and may be repeated:
//    after kNoSpace when there is room again. After any other failure nobody knows what the disk has, so the store
//    refuses all further writes.
//
// Threads: none; one at a time. Pure but for StoreFiles.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "raft/effects.h"
#include "raft/store_format.h"

namespace gallocy::raft {

// What the store needs of a directory. Names have no slash. kNoSpace: the disk is full.
class StoreFiles {
 public:
  virtual ~StoreFiles() = default;
  virtual Result<std::vector<std::string>> list() = 0;
  virtual Result<Bytes> read(const std::string& name) = 0;
  virtual Result<> append(const std::string& name, std::span<const std::byte> bytes) = 0;  // creates it
  virtual Result<> truncate(const std::string& name, std::size_t bytes) = 0;
  virtual Result<> sync(const std::string& name) = 0;  // of its bytes; sync_names: which files there are
  virtual Result<> sync_names() = 0;
  virtual Result<> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<> remove(const std::string& name) = 0;  // or there is none
};

struct StoreOptions {
  std::size_t segment_bytes = 8 << 20;
#ifdef GALLOCY_RAFT_MUTANTS
  StoreMutant mutant = StoreMutant::kNone;
#endif
};

class Store {
 public:
  // `found`: as the last writes left it. `said`: what a person should know, one line each (a torn end was cut off).
  // kProtocol: something that was durable is damaged; the line says what and where.
  static Result<Store> open(StoreFiles& files, const StoreOptions& options, PersistentState& found,
                            std::vector<std::string>& said);

  Result<> write(std::span<const Persist> writes);

 private:
  struct Segment {
    std::uint64_t number = 0;
    LogIndex base{};
    std::size_t bytes = 0;
  };
  explicit Store(StoreFiles& files, const StoreOptions& options) : files_(&files), options_(options) {}

  Result<> load(PersistentState& found, std::vector<std::string>& said);
  Result<> load_snapshot(std::vector<std::string>& names, PersistentState& found);
  Result<> load_segment(std::uint64_t number, bool last, PersistentState& found, std::vector<std::string>& said);
  Result<> take(const StoreRecord& record, std::uint64_t number, PersistentState& found);
  Result<> join_snapshot_and_entries(PersistentState& found);

  // What a failed batch has changed here.
  struct Undo {
    LogIndex base{};
    Term base_term{};
    HardState hard;
    std::size_t terms = 0;
    std::optional<std::deque<Term>> cut{};  // as they were before the first that was cut off
  };
  Result<> write_batch(std::span<const Persist> writes);
  void undo();
  void before_cut();
  void begin_at(const Snapshot& snapshot);
  Result<> write_snapshot(const Snapshot& snapshot);
  void put(Bytes& out, std::size_t& last_record, const Persist& persist);
  Result<> begin_segment();
  Result<> append(const Bytes& bytes);
  Result<> sync_names();
  Result<> forget_before(LogIndex index);
  Term term_at(LogIndex index) const;

#ifdef GALLOCY_RAFT_MUTANTS
  StoreMutant mutant() const { return options_.mutant; }
#else
  static constexpr StoreMutant mutant() { return StoreMutant::kNone; }
#endif
  bool is(StoreMutant bug) const { return kHasMutants && mutant() == bug; }

  StoreFiles* files_;
  StoreOptions options_;
  std::vector<Segment> segments_;
  HardState hard_;
  std::uint64_t batch_ = 0;  // the last that is durable
  std::optional<StoreRecord> last_good_;
  // Terms of the entries after base_: what the next segment's head needs.
  LogIndex base_{};
  Term base_term_{};
  std::deque<Term> terms_;
  LogIndex snapshot_index_{};
  Undo undo_;
  std::optional<Error> failed_;
};

}  // namespace gallocy::raft
