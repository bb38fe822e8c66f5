// ring_stress [swaps per thread]: threads of all nodes permute a ring of pointers in global memory, under several locks
// of which each swap needs up to three: first gallocy::mutex objects that live in global memory, then words of global
// memory that std::atomic_ref compares and swaps. Ends with 1 if what is left is not one ring of all links.
#include <algorithm>
#include <array>

#include "program.h"

namespace {

using program::Word;

constexpr unsigned kThreadsPerNode = 2;
constexpr std::size_t kLinks = 96;
constexpr std::size_t kStripes = 8;

struct alignas(512) Link {  // eight to a page
  Link* next;
  Word number;
  Word moves;
};

struct Mutexes {
  std::array<gallocy::mutex, kStripes> mutexes;
  void lock(std::size_t stripe) { mutexes[stripe].lock(); }
  void unlock(std::size_t stripe) { mutexes[stripe].unlock(); }
};

struct CasLocks {
  struct alignas(2048) Lock {  // two to a page
    Word held;
  };
  std::array<Lock, kStripes> locks{};
  void lock(std::size_t stripe) {
    for (;;) {
      Word free = 0;
      if (std::atomic_ref(locks[stripe].held).compare_exchange_strong(free, 1)) return;
      std::this_thread::yield();
    }
  }
  void unlock(std::size_t stripe) { std::atomic_ref(locks[stripe].held).store(0); }
};

Link* next_of(Link* link) { return std::atomic_ref(link->next).load(std::memory_order_relaxed); }

// The stripes of some links, each once and in ascending order, so that no two threads wait for each other.
template <typename Locks>
class Held {
 public:
  Held(Locks& locks, std::initializer_list<const Link*> links) : locks_(locks) {
    for (const Link* link : links) stripes_[count_++] = link->number % kStripes;
    std::sort(stripes_.begin(), stripes_.end());
    count_ = std::unique(stripes_.begin(), stripes_.end()) - stripes_.begin();
    for (std::size_t i = 0; i < count_; ++i) locks_.lock(stripes_[i]);
  }
  ~Held() {
    for (std::size_t i = count_; i > 0; --i) locks_.unlock(stripes_[i - 1]);
  }

 private:
  Locks& locks_;
  std::array<std::size_t, 3> stripes_{};
  std::size_t count_ = 0;
};

// a -> b -> c -> d becomes a -> c -> b -> d; false if another thread was here between the look and the locks.
template <typename Locks>
bool swap_successors(Link* a, Locks& locks) {
  Link* const b = next_of(a);
  Link* const c = next_of(b);
  const Held held(locks, {a, b, c});
  if (a->next != b || b->next != c) return false;
  b->next = c->next;
  c->next = b;
  a->next = c;
  ++a->moves, ++b->moves, ++c->moves;
  return true;
}

template <typename Locks>
void permute(gallocy::Node& node, const std::string& name, std::uint64_t swaps) {
  Link* const links = program::shared<Link>(name + ".links", kLinks, gallocy::Placement::interleave());
  Locks* const locks = program::shared<Locks>(name + ".locks", 1);
  if (node.id() == node.count() - 1) {
    new (locks) Locks;
    for (std::size_t i = 0; i < kLinks; ++i) links[i] = {&links[(i + 1) % kLinks], i, 0};
  }
  program::need(node.barrier());
  program::run_threads(kThreadsPerNode, [&](unsigned thread) {
    program::Random random(node.id() * kThreadsPerNode + thread);
    for (std::uint64_t done = 0; done < swaps;) done += swap_successors(&links[random.below(kLinks)], *locks);
  });
  program::need(node.barrier());

  std::vector<bool> seen(kLinks);
  const Link* link = links;
  std::uint64_t length = 0, moves = 0;
  for (; !seen[link->number]; link = link->next, ++length) seen[link->number] = true, moves += link->moves;
  const std::uint64_t expected = 3 * swaps * kThreadsPerNode * node.count();
  if (link != links || length != kLinks) program::wrong("%s: %lu links are left in the ring", name.c_str(), length);
  if (moves != expected) program::wrong("%s: %lu moves, not %lu", name.c_str(), moves, expected);
  program::need(node.barrier());
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t swaps = program::number(argc, argv, 1, 300);
  auto node = program::need(gallocy::Node::join());
  permute<Mutexes>(*node, "mutex", swaps);
  permute<CasLocks>(*node, "cas", swaps);
  if (node->id() == 0) std::printf("still one ring\n");
}
