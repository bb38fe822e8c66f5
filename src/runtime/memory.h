// Memory: the regions of this node. Joins the page frames and the fault engine to the coherence core: it takes the
// program's faults, feeds the core and carries out what it asks for. The life of a fault, step by step, is in
// docs/architecture.md.
//
// Files: memory.cc (regions and faults), memory_messages.cc (the core's effects, other nodes' messages),
// memory_program.cc (what system calls and process mode ask), memory_lent.cc, memory_atomics.cc, memory_report.cc,
// memory_leave.cc.
//
// Threads: any thread. mu_ is taken in signal handlers, so whoever holds it must not touch global memory. Under it
// effects are carried out (protection changes, sends), which gives them the order that the core demands.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "coherence/core.h"
#include "gallocy/node.h"
#include "gallocy/sync.h"
#include "net/mesh.h"
#include "os/clock.h"
#include "os/fault_engine.h"
#include "os/mutex.h"
#include "os/page_frames.h"
#include "runtime/waiting.h"
#include "runtime/zeroed_pages.h"
#include "wire/atomic.h"

namespace gallocy::runtime {

inline constexpr std::size_t kLineBytes = 64;

constexpr os::Protection protection(Access access) { return static_cast<os::Protection>(access); }
static_assert(protection(Access::kWrite) == os::Protection::kReadWrite);

struct MemoryOptions {
  coherence::Options coherence;
  os::FaultEngineKind engine = os::FaultEngineKind::kUffdSigbus;
  net::Mesh* mesh = nullptr;  // null in a cluster of one
};

class Memory final : public os::FaultHandler, private coherence::Frames {
 public:
  static Result<std::unique_ptr<Memory>> create(const MemoryOptions& options);
  ~Memory() override;
  void set_waiting(Waiting& waiting) { waiting_ = &waiting; }

  // Every node calls this for every region, whether its program maps it or not: it may be the home of some of it.
  // `members`: those of the time when the region was made, which is in the log.
  Result<> add_region(const std::string& name, std::uint64_t address, std::uint64_t bytes, Placement placement,
                      std::vector<NodeId> members);
  // Who gets the faults at other addresses of the window than these regions'. Set before there are any.
  void set_other_memory(os::FaultHandler& other) { other_memory_ = &other; }
  os::FaultEngine* fault_engine() { return engine_.get(); }  // null in a cluster of one
  void home_hint(BlockId first, std::uint64_t count, NodeId home);

  // The fault path.
  bool fault(std::uint64_t address, os::FaultKind kind, bool in_faulting_thread) override;

  // What the poller brings.
  std::size_t payload_target(NodeId from, const wire::FrameHeader& header, std::span<const std::byte> body,
                             std::span<iovec, 64> target);
  // False: the sender breaks the protocol.
  bool frame_arrived(NodeId from, wire::MessageType type, std::span<const std::byte> body);
  void node_joined(NodeId node);
  void node_leaves(NodeId node, bool leaves);  // soon
  void node_died(NodeId node);                 // or has left in order
  void set_room(NodeId node, std::uint64_t pages);

  // Leaving. What is to be given up; the next step with each of these blocks, of which those remain in the list of
  // which something is still here; no more untouched blocks are given out, until another node is their anchor; where
  // blocks went. See coherence::Core.
  std::vector<BlockId> blocks_kept();
  std::string why_kept(BlockId block);
  void give_up(std::vector<BlockId>& blocks, const std::vector<NodeId>& heirs);
  void keep_untouched();
  void give_untouched();  // again: it stays
  std::vector<std::pair<BlockId, NodeId>> given_homes();
  void home_given(BlockId first, std::uint64_t count, NodeId from, NodeId to);
  void anchors_are(std::uint64_t address, const std::vector<NodeId>& anchors);

  // Timers. Returns in how many microseconds to call again.
  std::int64_t housekeeping();

  Result<> prefault(std::uint64_t address, std::uint64_t bytes, Access access);
  Result<> pinned(std::uint64_t address, std::uint64_t bytes, Access access, const std::function<void()>& f);
  // Whole pages, whose bytes f may change in their frames; they are here for writing and stay meanwhile.
  void overwrite(std::uint64_t address, std::uint64_t bytes, const std::function<void(std::byte* frames)>& f);
  std::uint64_t atomic(std::uint64_t address, unsigned width, sync_detail::AtomicOperation operation,
                       std::uint64_t operand, std::uint64_t expected);
  void release_pages(std::uint64_t address, std::uint64_t bytes);
  // Lets the program reach the memory at [window, + bytes), part of a region, at [low, + bytes), outside the window,
  // and no more at its own place: an executable that is linked to fixed addresses. Multiples of kBlockBytes; once,
  // before anybody uses either.
  Result<> place_outside(std::uint64_t low, std::uint64_t window, std::uint64_t bytes);
  // What the program itself allows (os/fault_engine.h); executable where readable.
  void limit_here(std::uint64_t address, std::uint64_t bytes, os::Protection most);
  // Whether an access that failed is forbidden by the program's own limit.
  bool is_beyond_limit(std::uint64_t address, bool write) const;
  // Locks that lie in memory. keeps: whether a thread of this node has a lock on the page with that number (of the
  // program's address), and will call unlocked(). Until then the page stays here, for a short time
  // (coherence::Options::lock_hold_us), which spares it the way to a node that could not use it. Called with mu_ held.
  void set_lock_test(std::function<bool(std::uint64_t page)> keeps) { keeps_page_ = std::move(keeps); }
  void unlocked(std::uint64_t address);
  // The memory file behind the region at the address, and the region's address; -1: the region is plain memory.
  std::pair<int, std::uint64_t> file_behind(std::uint64_t address);
  // The bytes that this node has of these pages become zero, whatever it may do with them. If all nodes do it, none
  // uses the pages meanwhile and no bytes of them are on their way, they read as zero everywhere. For the latter all
  // nodes first freeze the pages, whose bytes then do not leave them until they thaw them, and wait until what they had
  // sent has arrived.
  void zero_here(std::uint64_t address, std::uint64_t bytes);
  // Whole pages of a region over which the caller puts mappings of its own (MAP_FIXED), on this node. Until take_back()
  // the fault engine does not know them, limit_here() is mprotect, and what the protocol does has no effect on them: so
  // no thread of any node may use them as pages of the region meanwhile, and to be that again they have to be zeroed,
  // unless nobody could touch them before either. After take_back() the program may do nothing there, until
  // limit_here().
  void lend(std::uint64_t address, std::uint64_t bytes);
  void take_back(std::uint64_t address, std::uint64_t bytes);
  void freeze_here(std::uint64_t address, std::uint64_t bytes);
  void thaw_here(std::uint64_t address, std::uint64_t bytes);

  // Blocks that have become this node's since the last call, for the VMM log.
  std::vector<BlockId> take_new_homes();

  NodeId home_of(std::uint64_t address);  // kNoNode: nobody touched it yet
  // If this node is the home of the address's block, `to` becomes that. False: something of the block is under way.
  bool give_home(std::uint64_t address, NodeId to);
  void reserve(std::uint64_t pages);  // of the budget, for other things than frames
  std::uint64_t room_pages();
  struct Summary {
    std::uint64_t budget_pages = 0, used_pages = 0;
    std::uint64_t home_blocks = 0;  // of those of which pages are here
  };
  Summary summary();
  std::uint64_t kept_pages();                               // of the used ones: others have at most copies
  std::uint64_t room_of(const std::vector<NodeId>& nodes);  // in pages, as they said last
  void add_statistics(Statistics& statistics);
  // The processor time that threads have spent in faults of the engines that handle them in the faulting thread; about.
  std::uint64_t fault_processor_ns() const { return fault_processor_ns_.load(std::memory_order_relaxed); }
  std::vector<coherence::Core::SharedPage> most_handed_over(std::size_t most_pages);  // of those whose home is here
  std::string sharing_report(std::size_t most_pages);
  os::FaultEngineKind engine() const { return options_.engine; }

 private:
  struct Region {
    std::string name;
    std::uint64_t address = 0, bytes = 0;
    std::unique_ptr<os::PageFrames> frames{};  // null in a cluster of one
  };
  // See place_outside().
  struct Outside {
    std::uint64_t low = 0, window = 0, bytes = 0;
  };
  std::byte* program_address(PageId page) const;
  std::uint64_t window_address(std::uint64_t address) const;

  struct Waiter {
    PageId page;
    WaitFlag flag{};
  };
  // An operation of another node that waits until the home may write the page.
  struct PendingAtomic {
    wire::AtomicRequest request;
  };
  struct AtomicWait {
    WaitFlag flag;
    std::uint64_t before = 0;
    NodeId home = kNoNode;
    bool lost = false;
  };

  explicit Memory(const MemoryOptions& options);
  std::uint64_t checksum(PageId page) override;
  bool locked(PageId page) override;

  static std::uint64_t now_us() { return static_cast<std::uint64_t>(os::monotonic_us()); }  // the core's clock
  Region* find(std::uint64_t address) REQUIRES(mu_);
  std::byte* runtime_view(PageId page) REQUIRES(mu_);
  bool prefault_other(PageId page, Access access);
  void fault_of_handler(PageId page, Access want, unsigned line) REQUIRES(mu_);
  void protect_again(PageId page, Access mapped) REQUIRES(mu_);
  bool wait_for_page(PageId page, Access want, unsigned line, bool pin_it);
  bool ask(PageId page, Access want, unsigned line) REQUIRES(mu_);
  void take_page(PageId page, bool pin_it) REQUIRES(mu_);
  void carry_out() REQUIRES(mu_);
  void carry_out(const coherence::Effect& effect) REQUIRES(mu_);
  void by_lent(std::uint64_t begin, std::uint64_t end,
               const std::function<void(std::uint64_t begin, std::uint64_t end, bool lent)>& f) const REQUIRES(mu_);
  void protect_here(std::byte* start, std::size_t bytes, os::Protection from, os::Protection to) REQUIRES(mu_);
  void for_each_mapped(std::uint64_t address, std::uint64_t bytes, const std::function<void(PageId, Access)>& f)
      REQUIRES(mu_);
  void send_pages(const coherence::Effect& effect) REQUIRES(mu_);
  void wake(BlockId block, coherence::PageSet pages) REQUIRES(mu_);
  void retry_woken() REQUIRES(mu_);
  bool page_message(NodeId from, wire::MessageType type, std::span<const std::byte> body) REQUIRES(mu_);
  [[noreturn]] void die_of_loss(PageId page) REQUIRES(mu_);
  bool must_wait_for_room() REQUIRES(mu_);
  bool wait_for_room();

  // memory_atomics.cc
  bool atomic_request(const wire::AtomicRequest& request) REQUIRES(mu_);
  bool try_atomic(const wire::AtomicRequest& request) REQUIRES(mu_);
  void finish_atomic(std::uint64_t ticket, std::uint64_t before, bool lost) REQUIRES(mu_);

  // Constant after construction.
  const MemoryOptions options_;
  Waiting* waiting_ = nullptr;
  os::FaultHandler* other_memory_ = nullptr;
  std::unique_ptr<os::Window> window_;
  Outside outside_;  // constant once the program runs
  std::unique_ptr<os::FaultEngine> engine_;

  mutable os::Mutex mu_;
  coherence::Core core_ GUARDED_BY(mu_);
  std::unordered_map<BlockId, NodeId> lost_with_ GUARDED_BY(mu_);  // whom pages of the block were lost with
  coherence::Effects effects_ GUARDED_BY(mu_);
  std::vector<Region> regions_ GUARDED_BY(mu_);
  std::size_t last_region_ GUARDED_BY(mu_) = 0;
  ZeroedPages zeroed_ GUARDED_BY(mu_);
  std::vector<Waiter*> waiters_ GUARDED_BY(mu_);  // until they have come back for their page
  // uffd-thread: faults whose threads sleep in the kernel. They are asked again when their page wakes.
  std::unordered_map<PageId, Access> kernel_waiters_ GUARDED_BY(mu_);
  std::vector<PageId> woken_ GUARDED_BY(mu_);
  // About regions that this node's log has not reached yet.
  struct Parked {
    NodeId from;
    wire::MessageType type;
    wire::PageMessage message;
  };
  std::vector<Parked> parked_ GUARDED_BY(mu_);
  std::vector<PendingAtomic> atomics_ GUARDED_BY(mu_);
  std::unordered_map<std::uint64_t, AtomicWait*> atomic_waits_ GUARDED_BY(mu_);
  std::uint64_t next_ticket_ GUARDED_BY(mu_) = 1;
  std::vector<BlockId> new_homes_ GUARDED_BY(mu_);
  std::vector<bool> dead_ GUARDED_BY(mu_);
  std::map<std::uint64_t, std::uint64_t> lent_ GUARDED_BY(mu_);  // begin to end, of the program's addresses
  std::int64_t exhausted_since_us_ GUARDED_BY(mu_) = 0;
  std::function<bool(std::uint64_t)> keeps_page_;  // constant once the program runs
  std::unique_ptr<std::byte[]> scratch_;           // of the poller: payload that nobody wants
  std::atomic<std::uint64_t> faults_{0}, fault_wait_ns_{0}, fault_processor_ns_{0};
};

}  // namespace gallocy::runtime
