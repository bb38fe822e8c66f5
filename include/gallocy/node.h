// Node: this process as a member of a cluster, and the regions of global memory it maps.
//
// A program written on the library runs once per node, each instance with its own main (`gallocy launch -n 4 -- prog`);
// an instance started without the launcher is a cluster of one. There is at most one Node in a process.
//
// Threads: every function may be called from any thread of the program. Unless said otherwise a call that waits for
// other nodes fails with kPeerLost when one of them dies, and never hangs.
//
// Example: each node fills its part of a shared array, then node 0 reads it all.
//
//   #include <gallocy/gallocy.h>
//   int main() {
//     auto node = gallocy::Node::join();
//     if (!node) return gallocy::report(node.error());
//     auto grid = (*node)->shared<double>("grid", 1 << 20);
//     if (!grid) return gallocy::report(grid.error());
//     auto [begin, end] = gallocy::share(grid->size(), (*node)->id(), (*node)->count());
//     for (auto i = begin; i < end; ++i) (*grid)[i] = 1.0;
//     if (auto met = (*node)->barrier(); !met) return gallocy::report(met.error());
//     if ((*node)->id() == 0) std::cout << std::accumulate(grid->begin(), grid->end(), 0.0) << '\n';
//   }
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "gallocy/access.h"
#include "gallocy/result.h"

namespace gallocy {

namespace runtime {
class Runtime;
}

// What a node does when another dies. kEnd: prints one line and exits with kPeerLost. kContinue: waits on the dead
// fail, its locks pass on marked "owner died"; touching a page that only it held still ends the node with one line.
enum class OnPeerLost : std::uint8_t { kEnd, kContinue };

// Every field left empty takes the launcher's setting (environment GALLOCY_*), else the default given here.
struct NodeOptions {
  std::uint64_t memory_bytes = 0;  // frames this node may hold; default: 3/4 of the machine's memory / local nodes
  std::string fault_engine;        // uffd-sigbus, uffd-thread, sigsegv; default: the fastest this machine permits
  OnPeerLost on_peer_lost = OnPeerLost::kEnd;
  // A cluster that outlives this program (`gallocy node`): the address of any member (host:port), through whom this
  // process joins as one more node, and the file with the cluster's secret. When a node of such a cluster dies the
  // others go on, as with OnPeerLost::kContinue.
  std::string join;         // environment: GALLOCY_JOIN
  std::string listen;       // where the others reach it; GALLOCY_LISTEN; default: any port towards `join`
  std::string secret_file;  // GALLOCY_SECRET_FILE
  bool insecure_network = false;
  std::chrono::milliseconds join_timeout{30'000};
};

// Where the home of a page is: the node that keeps its directory entry and backing copy.
struct Placement {
  enum class Kind : std::uint8_t { kFirstTouch, kInterleave, kNode, kBlocked };
  Kind kind = Kind::kFirstTouch;
  unsigned node = 0;  // kNode

  static constexpr Placement first_touch() { return {}; }                       // where it is first used
  static constexpr Placement interleave() { return {Kind::kInterleave, 0}; }    // 256 KiB blocks, in turn
  static constexpr Placement on(unsigned node) { return {Kind::kNode, node}; }  // all on one node
  static constexpr Placement blocked() { return {Kind::kBlocked, 0}; }          // n equal parts, in order
};

inline constexpr unsigned kMaxDurableBackups = 3;

struct RegionOptions {
  std::string name;         // 1 … 255 bytes; every node that maps the same name sees the same memory
  std::uint64_t bytes = 0;  // 1 … 8 TiB, rounded up to 256 KiB; may exceed all memory there is (sparse)
  Placement placement{};
  // k > 0: durable memory. What was committed to it survives the loss of any k nodes at once, and of more one after the
  // other. It is read and written by transactions (transaction.h), and by plain loads and stores in sections of durable
  // locks (section.h); where it lies is not the program's to choose.
  // At most kMaxDurableBackups, and fewer than there are nodes.
  unsigned durable_backups = 0;
};

// A mapped region: sequentially coherent memory at the same address on every node. Reads as zero until written.
// A plain value: it stays valid until the Node is destroyed.
class Region {
 public:
  Region() = default;
  Region(void* data, std::uint64_t bytes) : data_(data), bytes_(bytes) {}
  void* data() const { return data_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

// Counters of this node since join. All are totals.
struct Statistics {
  std::uint64_t read_faults = 0, write_faults = 0;   // taken by program threads
  std::uint64_t local_faults = 0;                    // of these, resolved without a message
  std::uint64_t pages_received = 0, pages_sent = 0;  // with their bytes
  std::uint64_t invalidations = 0;                   // pages taken away from this node
  std::uint64_t prefetched = 0;                      // pages asked for before they were needed
  std::uint64_t evicted = 0, spilled = 0;            // pages given up for the memory budget
  std::uint64_t frames_sent = 0, bytes_sent = 0;     // messages of all layers
  std::uint64_t lock_acquires = 0, lock_cached = 0;  // of these, without a message
  std::uint64_t barriers = 0;
  std::uint64_t durable_commits = 0, durable_conflicts = 0;  // transactions that happened, and that did not
  std::uint64_t durable_epoch = 0;                           // changes of membership that durable memory knows of
  std::uint64_t durable_unrestored = 0;  // blocks that this node leads and that have fewer copies than they should
  std::uint64_t resident_bytes = 0;      // frames held now
  std::uint64_t metadata_bytes = 0;      // page and directory state held now
  std::uint64_t fault_wait_ns = 0;       // time program threads spent in faults
};

// Calls f(name, value) for each counter, in the order above.
template <typename F>
void for_each_counter(const Statistics& s, F&& f) {
  f("read_faults", s.read_faults), f("write_faults", s.write_faults), f("local_faults", s.local_faults);
  f("pages_received", s.pages_received), f("pages_sent", s.pages_sent), f("invalidations", s.invalidations);
  f("prefetched", s.prefetched), f("evicted", s.evicted), f("spilled", s.spilled);
  f("frames_sent", s.frames_sent), f("bytes_sent", s.bytes_sent);
  f("lock_acquires", s.lock_acquires), f("lock_cached", s.lock_cached), f("barriers", s.barriers);
  f("durable_commits", s.durable_commits), f("durable_conflicts", s.durable_conflicts);
  f("durable_epoch", s.durable_epoch), f("durable_unrestored", s.durable_unrestored);
  f("resident_bytes", s.resident_bytes), f("metadata_bytes", s.metadata_bytes), f("fault_wait_ns", s.fault_wait_ns);
}

class Node {
 public:
  // Joins the cluster that the launcher described in the environment; returns when all nodes have joined. Or joins the
  // running cluster of which `join` is a member.
  static Result<std::unique_ptr<Node>> join(NodeOptions options = {});
  // Waits for all nodes to come to this point (as MPI_Finalize does), then leaves. A node that joined a running cluster
  // waits for nobody: what it keeps for others moves to them, then it leaves.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // The Node of this process; null before join and after leave.
  static Node* current();

  unsigned id() const;     // 0 … count() - 1; in a running cluster that was joined: a number that nobody had before
  unsigned count() const;  // nodes of the cluster; in one whose nodes come and go: those that are there now

  // Maps the region of that name, creating it if it does not exist. Size and placement are those of its creation;
  // kInvalidArgument if `bytes` differs from it, kOutOfMemory if the window has no room.
  Result<Region> map(const RegionOptions& options);
  // Maps an existing region, waiting up to `timeout` for it to be created.
  Result<Region> attach(std::string_view name, std::chrono::milliseconds timeout = std::chrono::seconds(10));

  // A region seen as an array of `count` elements.
  template <typename T>
  requires std::is_trivially_copyable_v<T> Result<std::span<T>> shared(std::string name, std::size_t count,
                                                                       Placement placement = {}) {
    auto region = map({.name = std::move(name), .bytes = count * sizeof(T), .placement = placement});
    if (!region) return tl::unexpected(region.error());
    return std::span<T>(static_cast<T*>(region->data()), count);
  }

  // Waits until every node has called it. One thread per node at a time. kUnsupported where nodes come and go: a
  // gallocy::barrier says how many it waits for.
  Result<> barrier();

  // System calls cannot fault remote pages in, unless the fault engine is uffd-thread with privilege: read(fd, p, n) on
  // a page that is not here fails with EFAULT. prefault brings a range here with that access; other nodes may take it
  // away again at any time, so use pinned() around system calls.
  Result<> prefault(const void* start, std::size_t bytes, Access access);
  // Runs f while the range is here with that access and stays here. At most kMaxPinnedBytes at a time; other nodes wait
  // for the pages meanwhile, so keep f short. f must not wait for another node.
  Result<> pinned(const void* start, std::size_t bytes, Access access, const std::function<void()>& f);
  static constexpr std::size_t kMaxPinnedBytes = 64 << 20;

  // The node that keeps the page of this address, as this node knows it; a number that no node has if nobody touched it
  // yet (count(), where nodes do not come and go).
  unsigned home_of(const void* address) const;

  Statistics statistics() const;
  // Pages written by several nodes, hottest first: one line each with address, region, hand-overs and the words that
  // each node wrote, if they are apart (false sharing).
  std::string sharing_report(std::size_t most_pages = 20) const;

  runtime::Runtime& runtime() { return *runtime_; }  // for the library itself

 private:
  explicit Node(std::unique_ptr<runtime::Runtime> runtime);
  std::unique_ptr<runtime::Runtime> runtime_;
};

// The half-open part [begin, end) of `total` items that is node `id`'s of `count`; parts differ by at most one item.
constexpr std::pair<std::size_t, std::size_t> share(std::size_t total, unsigned id, unsigned count) {
  const std::size_t base = total / count, rest = total % count;
  const std::size_t begin = base * id + (id < rest ? id : rest);
  return {begin, begin + base + (id < rest ? 1 : 0)};
}

// Prints "gallocy: <message>" to standard error; returns the exit status.
int report(const Error& error);

}  // namespace gallocy
