// Sections: durable memory as the program of this node sees it: closed, but for the pages of the sections that are open
// here. Carries out what durable::Section decides: it fetches pages, opens them and closes them again, and commits.
//
// The lock of a section keeps other sections off its pages, on all nodes. That no update is lost and no half one is
// seen does not depend on it: a section is committed only if all pages that it fetched are as they were then.
//
// Threads: any. mu_ is taken in the fault path, by threads that touch durable memory: such a thread is in the midst of
// none of the C library's functions that use memory of their own, so this path, unlike Memory's, may allocate. Whoever
// holds mu_ must not touch global memory. Lock order: DurableService's, then mu_.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "durable/section.h"
#include "gallocy/sync.h"
#include "os/fault_engine.h"
#include "os/mutex.h"
#include "os/page_frames.h"
#include "runtime/durable_service.h"
#include "runtime/sync_service.h"

namespace gallocy::runtime {

// A section of the program, from enter() until it is committed or rolled back.
class OpenSection {
 public:
  explicit OpenSection(std::vector<durable::PageRange> ranges) : section_(std::move(ranges)) {}
  bool owner_died() const { return owner_died_; }

 private:
  friend class Sections;

  durable::Section section_;  // with mu_, until it is closed
  const std::thread::id opener_ = std::this_thread::get_id();
  std::size_t locks_held_ = 0;
  bool owner_died_ = false;
  std::optional<Error> error_;  // a page could not be fetched, and the program saw zeros; or what became of it
  unsigned fetching_ = 0;
  WaitFlag* closed_ = nullptr;  // whoever closes it waits for the pages that are on their way
};

class Sections final : public os::FaultHandler {
 public:
  // engine: null in a cluster of one, where there is no durable memory.
  Sections(NodeId self, os::FaultEngine* engine, DurableService& service, SyncService& sync)
      : self_(self), engine_(engine), service_(service), sync_(sync) {}
  ~Sections() override;
  void set_waiting(Waiting& waiting) { waiting_ = &waiting; }

  Result<> add_region(const std::string& name, std::uint64_t address, std::uint64_t bytes);

  // A durable lock: whole pages of one region.
  struct Lock {
    std::uint64_t address = 0, bytes = 0;
    auto operator<=>(const Lock&) const = default;
  };
  // Waits for all of the locks, in the order of their addresses. The section stays where it is until its end.
  Result<std::unique_ptr<OpenSection>> enter(std::vector<Lock> locks, Timeout timeout);
  // Both end the section and let go of its locks.
  Result<> commit(OpenSection& open);
  void roll_back(OpenSection& open);

  // False: no durable memory is there. If there is, but in no open section, it ends the node with a line.
  bool fault(std::uint64_t address, os::FaultKind kind, bool in_faulting_thread) override;

 private:
  struct Region {
    std::string name;
    std::uint64_t address = 0, bytes = 0;
    std::unique_ptr<os::PageFrames> frames;
  };
  struct Waiter {
    PageId page;
    WaitFlag flag{};
  };

  Result<> check(const std::vector<Lock>& locks);
  Result<bool> take(const durable::PageRange& range, Timeout timeout);
  void let_go(const OpenSection& open);
  Result<> open(OpenSection& open);
  void close(OpenSection& open);
  void end(OpenSection& open);
  const Region* find(std::uint64_t address) const REQUIRES(mu_);
  OpenSection* section_of(PageId page) const REQUIRES(mu_);
  std::span<std::byte> frame(PageId page) const REQUIRES(mu_);
  void protect(PageId first, std::uint64_t pages, Access from, Access to) REQUIRES(mu_);
  void fetch(OpenSection& open, PageId page);
  void arrived(OpenSection& open, PageId page, std::span<std::byte> bytes, const Result<DurableOutcome>& ended);
  void give_back_frames(const OpenSection& open) REQUIRES(mu_);
  [[noreturn]] void refuse(const Region& region, std::uint64_t address) const;

  const NodeId self_;
  os::FaultEngine* const engine_;
  DurableService& service_;
  SyncService& sync_;
  Waiting* waiting_ = nullptr;

  mutable os::Mutex mu_;
  std::vector<Region> regions_ GUARDED_BY(mu_);  // only grows
  std::vector<OpenSection*> open_ GUARDED_BY(mu_);
  std::vector<Waiter*> waiters_ GUARDED_BY(mu_);
  std::unordered_set<PageId> framed_ GUARDED_BY(mu_);  // pages that have frames
};

}  // namespace gallocy::runtime
