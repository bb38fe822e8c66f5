// ring: links in shared memory, each pointing to the next, form one ring. Every worker picks links at random and swaps
// their two successors, under one lock. However the swaps of all workers interleave, one ring of the same length must
// remain: a lost update, a stale page or a lock held twice breaks it in two, or loses links.
//
//   gallocy launch -n 4 -- ring --links 4096 --swaps 20000
//
// Shows: raw pointers in global memory are good on every node; gallocy::mutex with std::scoped_lock; a shared object.
// (The test is FoundationDB's "Cycle" workload.)
#include <cstdio>

#include "common/example.h"

namespace {

struct Options {
  std::size_t links = 1024;
  std::size_t swaps = 2000;  // of all workers together
  std::size_t batch = 8;     // swaps per acquisition of the lock
};

struct Link {
  Link* next;
  std::uint64_t number;
};

template <typename Team>
struct Guard {
  typename Team::mutex mutex;
  std::uint64_t swaps = 0;
};

// a -> b -> c -> d becomes a -> c -> b -> d.
void swap_successors(Link* a) {
  Link* b = a->next;
  Link* c = b->next;
  Link* d = c->next;
  a->next = c;
  c->next = b;
  b->next = d;
}

template <typename Team>
example::Outcome permute(Team& team, const Options& options) {
  auto links = example::shared<Link>(team, "ring.links", options.links, gallocy::Placement::interleave());
  auto& guard = example::object<Guard<Team>>(team, "ring.guard");
  const auto [first, last] = gallocy::share(links.size(), team.id(), team.count());
  for (auto i = first; i < last; ++i) links[i] = {&links[(i + 1) % links.size()], i};

  example::Outcome outcome;
  outcome.seconds = example::seconds_of(team, [&] {
    const auto [begin, end] = gallocy::share(options.swaps, team.id(), team.count());
    for (auto i = begin; i < end; i += options.batch) {
      const auto stop = std::min(end, i + options.batch);
      std::scoped_lock lock(guard.mutex);
      for (auto j = i; j < stop; ++j) swap_successors(&links[example::random_word(1, j) % links.size()]);
      guard.swaps += stop - i;
    }
  });

  if (team.id() == 0) {
    // Which links are where depends on who came first; that there is one ring of all of them does not.
    std::vector<bool> seen(links.size());
    std::uint64_t length = 0, numbers = 0;
    const Link* link = &links[0];
    for (; !seen[link->number]; link = link->next, ++length) {
      seen[link->number] = true;
      numbers += example::mix(link->number);
    }
    example::Digest digest;
    for (const std::uint64_t word : {length, numbers, guard.swaps}) digest.add(word);
    outcome.digest = digest.value();
    if (length != links.size() || link != &links[0]) outcome.wrong = "the links do not form one ring";
    if (guard.swaps != options.swaps) outcome.wrong = "the lock lost swaps";
    std::printf("after %llu swaps by %u workers: a ring of %llu links\n", static_cast<unsigned long long>(guard.swaps),
                team.count(), static_cast<unsigned long long>(length));
  }
  team.barrier();
  return outcome;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  example::CommandLine line(
      "Permutes a ring of pointers in shared memory from all workers and checks that it is still one ring.");
  line.add("--links", options.links, 4, std::size_t{1} << 32, "links of the ring");
  line.add("--swaps", options.swaps, 1, std::size_t{1} << 40, "swaps of all workers together");
  line.add("--batch", options.batch, 1, 1 << 20, "swaps per acquisition of the lock");
  return example::run(line, argc, argv, [&](auto& team) { return permute(team, options); });
}
