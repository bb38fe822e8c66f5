// Sections: durable memory (RegionOptions::durable_backups) by plain loads and stores, all of which happen at one
// moment or not at all. docs/durable.md has the protocol.
//
// A durable lock is a range of whole pages of a durable region. A thread that has entered a section of some locks may
// load and store anywhere in their pages. Nobody sees its stores until commit(): then all of them happen at one moment,
// on however many nodes the pages lie, and when commit() has returned without an error they survive the death of as
// many nodes at once as the region has backups, this one included. A node that dies before that leaves nothing of the
// section behind; the lock passes on, and the next who enters is told (owner_died()).
//
// What to know
// * Outside of sections, a load or store of durable memory ends the process with a line that says so.
// * A page belongs to one lock, and all nodes mean the same lock by the same first page. While a section is open, all
//   threads of this node can reach its pages.
// * Sections and transactions (transaction.h) are strictly serializable together. Sections of one lock wait for each
//   other, so they have no conflicts. A section conflicts with a transaction, or with one whose lock overlaps, that
//   wrote to a page which it has read or written: then it did not happen, and is to be done again.
// * Several locks are taken in the order of their addresses. A thread that enters a section within a section has two,
//   which commit apart, and may find itself waiting for somebody who waits for it.
// * A section may read any number of pages, and change some 250 KiB in each block of 256 KiB.
// * System calls cannot fetch pages (Node::prefault()). Process mode (`gallocy run`) has no durable memory.
//
// Errors
//   kConflict         see above; from the beginning of the section again
//   kLost             more nodes died at once than the region has backups, and took some of these pages with them. The
//                     section has seen zeros there
//   kInvalidArgument  not whole pages of durable memory; a lock that this thread has; too much was changed in one block
//   kTimeout          the locks could not be had in time
//   kPeerLost         this node was cut off from the others. Of commit(): whether it happened is not known here
//
// Example: money goes from one account to another, if it is there.
//
//   auto region = node.map({.name = "accounts", .bytes = n * sizeof(long), .durable_backups = 1});
//   auto* const balance = static_cast<long*>(region->data());
//   const gallocy::DurableLock accounts(balance, n * sizeof(long));
//   auto moved = gallocy::in_section({accounts}, [&] {
//     if (balance[from] < amount) return false;
//     balance[from] -= amount;
//     balance[to] += amount;
//     return true;
//   });
//   if (!moved) return gallocy::report(moved.error());
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "gallocy/result.h"
#include "gallocy/transaction.h"

namespace gallocy {

// A name for the lock and its pages: a plain value, made by any node, that takes nothing.
struct DurableLock {
  // start: of a page. bytes: rounded up to whole pages.
  DurableLock(const void* start_, std::size_t bytes_) : start(start_), bytes(bytes_) {}
  const void* start;
  std::size_t bytes;
};

class Section {
 public:
  // Waits for the locks. This node must have joined.
  static Result<Section> enter(std::span<const DurableLock> locks, Timeout timeout = kForever);
  static Result<Section> enter(std::initializer_list<DurableLock> locks, Timeout timeout = kForever) {
    return enter(std::span(locks.begin(), locks.size()), timeout);
  }
  ~Section();  // what was not committed never happened
  Section(Section&&) noexcept;
  Section& operator=(Section&&) = delete;

  // Whoever had one of the locks last died, perhaps within a section: of that nothing, or all that it committed, is
  // there.
  bool owner_died() const;
  // The end of the section, whatever became of it: its memory is closed, and its locks pass on. Once.
  Result<> commit();

 private:
  struct State;
  explicit Section(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Enters a section, calls f and commits, again and again until there is no conflict; returns what the last call of f
// returned. f may be called several times. kConflict if the time is over.
template <typename F>
auto in_section(std::initializer_list<DurableLock> locks, F&& f, Timeout timeout = kForever)
    -> Result<std::invoke_result_t<F&>> {
  using Value = std::invoke_result_t<F&>;
  const std::int64_t started_ns = transaction_detail::now_ns();
  for (unsigned attempt = 0;; ++attempt) {
    auto section = Section::enter(locks, timeout);
    if (!section) return tl::unexpected(section.error());
    Result<Value> value = [&]() -> Result<Value> {
      if constexpr (std::is_void_v<Value>) {
        f();
        return {};
      } else {
        return f();
      }
    }();
    const Result<> done = section->commit();
    if (done) return value;
    if (done.error().code != ErrorCode::kConflict || !transaction_detail::back_off(attempt, timeout, started_ns))
      return tl::unexpected(done.error());
  }
}

}  // namespace gallocy
