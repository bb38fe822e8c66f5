// random_access [operations per thread]: every way in which a program uses global memory, on all nodes at once, with
// results that are known exactly. Ends with 1 and a line if one is wrong.
#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <numeric>

#include "program.h"

namespace {

using gallocy::Node;
using program::load;
using program::Random;
using program::store;
using program::Word;
using program::wrong;

constexpr unsigned kThreadsPerNode = 2;

// Each word has one writer, which counts it up; all others see it grow.
void words_grow(Node& node, std::uint64_t operations) {
  constexpr std::size_t kWords = 6'000;  // 12 pages
  Word* const words = program::shared<Word>("words", kWords, gallocy::Placement::interleave());
  Word* const total = program::shared<Word>("words.total", 1);
  const unsigned writers = node.count() * kThreadsPerNode;
  program::run_threads(kThreadsPerNode, [&](unsigned thread) {
    const unsigned self = node.id() * kThreadsPerNode + thread;
    Random random(self);
    std::vector<Word> last(kWords);
    for (std::uint64_t i = 0; i < operations; ++i) {
      // Half of the time among few words of one page.
      const std::size_t at = i % 2 == 0 ? random.below(kWords) : random.below(64) * 8;
      if (at % writers == self && random.below(4) != 0) {
        store(words[at], ++last[at]);
        continue;
      }
      const Word seen = load(words[at]);
      const bool own = at % writers == self;
      if (seen < last[at] || (own && seen != last[at])) {
        wrong("word %zu went from %lu back to %lu (node %u)", at, last[at], seen, node.id());
      }
      last[at] = seen;
    }
    // What this thread wrote, all told.
    Word mine = 0;
    for (std::size_t at = self; at < kWords; at += writers) mine += last[at];
    std::atomic_ref(*total).fetch_add(mine);
  });
  program::need(node.barrier());
  const Word sum = std::accumulate(words, words + kWords, Word{0});
  if (sum != *total) wrong("the words add up to %lu, not to %lu", sum, *total);
}

void counters_are_exact(Node& node, std::uint64_t operations) {
  struct Counters {
    Word moved, at_home, mixed;
    std::uint32_t small;
  };
  Counters& counters = *program::shared<Counters>("counters", 1);
  const std::uint64_t rounds = operations / 8;
  program::run_threads(kThreadsPerNode, [&](unsigned thread) {
    Word last = 0;
    for (std::uint64_t i = 0; i < rounds; ++i) {
      std::atomic_ref(counters.moved).fetch_add(1);
      const Word before = gallocy::atomic_ref(counters.at_home).fetch_add(2);
      if (i > 0 && before <= last) wrong("an atomic_ref gave %lu after %lu", before, last);
      last = before;
      if ((i + thread) % 2 == 0) {
        std::atomic_ref(counters.mixed).fetch_add(3);
      } else {
        Word seen = gallocy::atomic_ref(counters.mixed).load();
        while (!gallocy::atomic_ref(counters.mixed).compare_exchange_strong(seen, seen + 3)) {
        }
      }
      gallocy::atomic_ref(counters.small).fetch_sub(1);
    }
  });
  program::need(node.barrier());
  const Word times = rounds * kThreadsPerNode * node.count();
  if (counters.moved != times) wrong("std::atomic_ref lost some of %lu: %lu", times, counters.moved);
  if (counters.at_home != 2 * times) wrong("gallocy::atomic_ref lost some of %lu: %lu", 2 * times, counters.at_home);
  if (counters.mixed != 3 * times) wrong("mixed operations lost some of %lu: %lu", 3 * times, counters.mixed);
  if (counters.small != static_cast<std::uint32_t>(-times)) wrong("the 4-byte counter is %u", counters.small);
}

Word pattern(unsigned node, std::size_t i) { return (Word{node} + 1) << 40 | i; }

void pinned_call(const void* start, std::size_t bytes, gallocy::Access access, const char* what,
                 const std::function<ssize_t()>& call) {
  ssize_t moved = 0;
  int error = 0;
  program::need(Node::current()->pinned(start, bytes, access, [&] {
    moved = call();
    error = errno;
  }));
  if (moved != static_cast<ssize_t>(bytes)) wrong("%s gave %zd: %s", what, moved, std::strerror(error));
}

// Each node moves its neighbour's part through a file into its own part of another array, while a thread of each node
// reads all parts.
void system_calls_reach_global_memory(Node& node) {
  constexpr std::size_t kWords = 20'000;  // 40 pages, not aligned with the parts
  Word* const source = program::shared<Word>("calls.source", kWords * node.count(), gallocy::Placement::blocked());
  Word* const copies = program::shared<Word>("calls.copies", kWords * node.count(), gallocy::Placement::on(0));
  const auto part = [&](Word* words, unsigned of) { return words + kWords * of; };
  const unsigned neighbour = (node.id() + 1) % node.count();
  for (std::size_t i = 0; i < kWords; ++i) part(source, node.id())[i] = pattern(node.id(), i);
  program::need(node.prefault(part(copies, node.id()), kWords * sizeof(Word), gallocy::Access::kWrite));
  program::need(node.barrier());

  std::atomic<bool> stop = false;
  std::thread reader([&] {
    Random random(node.id());
    while (!stop) {
      const unsigned of = random.below(node.count());
      const std::size_t i = random.below(kWords);
      if (part(source, of)[i] != pattern(of, i)) wrong("word %zu of node %u's part is wrong", i, of);
      if (const Word word = load(part(copies, of)[i]); word != 0 && word != pattern((of + 1) % node.count(), i)) {
        wrong("word %zu of node %u's copy is %#lx", i, of, word);
      }
    }
  });
  const int file = ::memfd_create("copy", MFD_CLOEXEC);
  constexpr std::size_t kBytes = kWords * sizeof(Word);
  pinned_call(part(source, neighbour), kBytes, gallocy::Access::kRead, "write(2) from a neighbour's memory",
              [&] { return ::write(file, part(source, neighbour), kBytes); });
  ::lseek(file, 0, SEEK_SET);
  pinned_call(part(copies, node.id()), kBytes, gallocy::Access::kWrite, "read(2) into global memory",
              [&] { return ::read(file, part(copies, node.id()), kBytes); });
  ::close(file);
  program::need(node.barrier());
  stop = true;
  reader.join();
  for (unsigned of = 0; of < node.count(); ++of) {
    for (std::size_t i = 0; i < kWords; ++i) {
      if (part(copies, of)[i] != pattern((of + 1) % node.count(), i))
        wrong("the copy of node %u differs at %zu", of, i);
    }
  }
}

struct Item {
  Item* next;
  Word size;
  Word* words;
};

// Lists of objects go from node to node; each frees what its predecessor made.
void heap_objects_travel(Node& node) {
  constexpr unsigned kRounds = 6, kItems = 60;
  Item** const heads = program::shared<Item*>("heads", node.count());
  Random random(node.id());
  for (unsigned round = 0; round < kRounds; ++round) {
    Item* head = nullptr;
    for (unsigned i = 0; i < kItems; ++i) {
      const Word size = 1 + random.below(i % 16 == 0 ? 3'000 : 40);
      auto* const words = static_cast<Word*>(gallocy::allocate(size * sizeof(Word)));
      if (words == nullptr) wrong("the global heap is full");
      std::fill_n(words, size, pattern(node.id(), size));
      head = gallocy::make<Item>(Item{head, size, words});
    }
    heads[node.id()] = head;
    program::need(node.barrier());
    const unsigned from = (node.id() + 1 + round % (node.count() - 1)) % node.count();
    unsigned items = 0;
    for (Item* item = heads[from]; item != nullptr; ++items) {
      for (Word i = 0; i < item->size; ++i) {
        if (item->words[i] != pattern(from, item->size)) wrong("an object of node %u is damaged", from);
      }
      Item* const next = item->next;
      gallocy::deallocate(item->words);
      gallocy::destroy(item);
      item = next;
    }
    if (items != kItems) wrong("a list of node %u has %u items", from, items);
    program::need(node.barrier());
  }
}

void add_here(Word* sums, Word value) { std::atomic_ref(sums[Node::current()->id()]).fetch_add(value); }
Word square_there(Word value, unsigned expected_node) {
  if (Node::current()->id() != expected_node)
    wrong("a call for node %u ran on %u", expected_node, Node::current()->id());
  return value * value;
}
// Calls that call on: 1 + 2 + … + value, each term on the next node.
Word sum_around(Word value) {
  if (value == 0) return 0;
  const unsigned next = (Node::current()->id() + 1) % Node::current()->count();
  return value + gallocy::async(gallocy::on_node(next), &sum_around, value - 1).get();
}

void threads_run_elsewhere(Node& node) {
  constexpr Word kCalls = 20;
  Word* const sums = program::shared<Word>("sums", node.count());
  std::vector<gallocy::thread> threads;
  for (Word i = 1; i <= kCalls; ++i) {
    const unsigned there = (node.id() + i) % node.count();
    threads.emplace_back(gallocy::on_node(there), &add_here, sums, i);
    auto square = gallocy::async(gallocy::on_node(there), &square_there, i, there);
    if (const Word value = square.get(); value != i * i) wrong("%lu squared is %lu there", i, value);
  }
  for (auto& thread : threads) thread.join();
  if (const Word sum = sum_around(10); sum != 55) wrong("1 + … + 10 is %lu around the cluster", sum);
  auto none = gallocy::thread::start(gallocy::on_node(node.count()), &add_here, sums, Word{1});
  if (none || none.error().code != gallocy::ErrorCode::kInvalidArgument) wrong("a thread started on no node");
  program::need(node.barrier());
  const Word all = std::accumulate(sums, sums + node.count(), Word{0});
  if (all != node.count() * kCalls * (kCalls + 1) / 2) wrong("the threads added %lu", all);
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t operations = program::number(argc, argv, 1, 2'000);
  auto node = program::need(Node::join());
  words_grow(*node, operations);
  counters_are_exact(*node, operations);
  system_calls_reach_global_memory(*node);
  heap_objects_travel(*node);
  threads_run_elsewhere(*node);
  if (node->id() == 0) std::printf("all as it should be\n");
}
