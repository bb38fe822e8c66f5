// Transactions on durable memory: regions mapped with RegionOptions::durable_backups. docs/durable.md has the protocol.
//
// All that a transaction read and wrote happens at one moment, or nothing of it. When commit() has returned without an
// error it has happened, and survives the death of as many nodes at once as the region has backups. Any number of
// threads on all nodes may have transactions at once; conflicts show at commit, and nobody waits for a lock. They are
// strictly serializable: as if they had happened one after the other, each between its first read and the end of
// commit().
//
// Durable memory can also be loaded and stored plainly, in sections (section.h). Outside of them that ends the process
// with a line that says so.
//
// What read() gives is what was committed at some moment since the last commit; two reads may be of different moments
// until commit() has said that they were not. So do not act on what was read (print it, index private memory by it,
// loop until it changes) before that, beyond deciding what to read and write next.
//
// Errors. read() and write() return nothing wrong: after an error read() gives zeros, and commit() returns it.
//   kConflict         it did not happen, as another transaction was in its way: once more from the reads
//   kLost             more nodes died at once than the region has backups, and took some of these bytes with them
//   kInvalidArgument  not durable memory; or it reads and writes more than some 250 KiB in one block of 256 KiB
//   kPeerLost         this node was cut off from the others. Whether the transaction happened is not known here
//
// Example: money goes from one account to another, if it is there.
//
//   auto accounts = node.map({.name = "accounts", .bytes = n * sizeof(long), .durable_backups = 1});
//   auto* const balance = static_cast<long*>(accounts->data());
//   auto moved = gallocy::transact([&](gallocy::Transaction& t) {
//     const long left = t.read(&balance[from]) - amount;
//     if (left < 0) return false;
//     t.write(&balance[from], left);
//     t.write(&balance[to], t.read(&balance[to]) + amount);
//     return true;
//   });
//   if (!moved) return gallocy::report(moved.error());
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#include "gallocy/result.h"
#include "gallocy/sync.h"

namespace gallocy {

// A transaction that was submitted. Of one thread at a time.
class Commitment {
 public:
  ~Commitment();  // waits
  Commitment(Commitment&&) noexcept;
  Commitment& operator=(Commitment&&) noexcept;  // waits for what it was

  // What became of it is known: wait() returns at once.
  bool is_decided() const;
  // As Transaction::commit(). Any number of times.
  Result<> wait();

 private:
  friend class Transaction;
  struct State;
  explicit Commitment(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Of one thread at a time. This node must have joined.
class Transaction {
 public:
  Transaction();
  ~Transaction();  // what was not committed never happened
  Transaction(Transaction&&) noexcept;
  Transaction& operator=(Transaction&&) noexcept;

  // What this transaction itself wrote there, or what was committed.
  template <typename T>
  requires std::is_trivially_copyable_v<T> T read(const T* at) {
    T value{};
    read(at, &value, sizeof value);
    return value;
  }
  void read(const void* at, void* to, std::size_t bytes);

  template <typename T>
  requires std::is_trivially_copyable_v<T>
  void write(T* at, const std::type_identity_t<T>& value) { write(at, &value, sizeof value); }
  void write(void* at, const void* from, std::size_t bytes);

  // The error of the first read that failed, as commit() will return it.
  Result<> so_far() const;
  // The transaction is empty afterwards, whatever became of it, and may be used for another.
  Result<> commit();
  // As commit(), without waiting: the thread may go on with others meanwhile, which travel together then. Of two
  // transactions of a thread that are submitted at the same time either may come first. After a conflict nothing that
  // was read is fetched again at once. kInvalidArgument with more than 65536 that are not decided yet.
  Commitment submit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

namespace transaction_detail {
// Waits a little, longer with each attempt and by chance; false: the time is over.
bool back_off(unsigned attempt, Timeout timeout, std::int64_t started_ns);
std::int64_t now_ns();
}  // namespace transaction_detail

// Calls f(transaction) and commits, again and again until there is no conflict; returns what the last call of f
// returned. f may be called several times. kConflict if the time is over.
template <typename F>
auto transact(F&& f, Timeout timeout = kForever) -> Result<std::invoke_result_t<F&, Transaction&>> {
  using Value = std::invoke_result_t<F&, Transaction&>;
  const std::int64_t started_ns = transaction_detail::now_ns();
  Transaction transaction;
  for (unsigned attempt = 0;; ++attempt) {
    Result<Value> value = [&]() -> Result<Value> {
      if constexpr (std::is_void_v<Value>) {
        f(transaction);
        return {};
      } else {
        return f(transaction);
      }
    }();
    const Result<> done = transaction.commit();
    if (done) return value;
    if (done.error().code != ErrorCode::kConflict || !transaction_detail::back_off(attempt, timeout, started_ns))
      return tl::unexpected(done.error());
  }
}

}  // namespace gallocy
