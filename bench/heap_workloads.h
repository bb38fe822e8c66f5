// Two multi-threaded allocator workloads, over any allocator that has
//   static void* allocate(std::size_t bytes);
//   static void deallocate(void* pointer);
// The work is a function of the parameters alone; its digest must be the same for every allocator.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/prng.h"

namespace gallocy::bench {

struct HeapRun {
  double operations_per_second = 0;  // an operation: one allocation and one free
  std::uint64_t digest = 0;
};

inline std::uint64_t mix(std::uint64_t digest, std::uint64_t value) {
  return (digest ^ value) * 0x9e3779b97f4a7c15 + (digest >> 29);
}

// A block of memory with a pattern that shows whether two blocks overlapped: its size and a number in the first words,
// and the number again in one word of each further page and in the last.
struct Item {
  std::uint64_t* words = nullptr;

  static Item fill(void* memory, std::size_t word_count, std::uint64_t number) {
    if (memory == nullptr) {
      std::fprintf(stderr, "heap bench: out of memory at %zu bytes\n", word_count * 8);
      std::exit(1);
    }
    auto* words = static_cast<std::uint64_t*>(memory);
    words[0] = word_count << 32 | (number & 0xffff'ffff);
    for (std::size_t i = kPageWords; i < word_count; i += kPageWords) words[i] = words[0];
    words[word_count - 1] = words[0];
    return {words};
  }
  void check() const {
    const std::size_t word_count = words[0] >> 32;
    bool intact = word_count > 0 && words[word_count - 1] == words[0];
    for (std::size_t i = kPageWords; intact && i < word_count; i += kPageWords) intact = words[i] == words[0];
    if (intact) return;
    std::fprintf(stderr, "heap bench: block at %p was overwritten\n", static_cast<void*>(words));
    std::exit(1);
  }

 private:
  static constexpr std::size_t kPageWords = 512;
};

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// A server with long-lived sessions (Larson, Krishnan: "Memory allocation for long-running server applications", ISMM
// 1998), with the parameters that allocator comparisons use. Each worker holds `blocks` blocks and replaces one at
// random by one of random size; after `rounds` replacements per block it ends and a new thread goes on with its blocks,
// which thus are freed by others than allocated them.
struct LarsonParameters {
  unsigned threads = 2;
  unsigned generations = 30;
  unsigned rounds = 100;
  std::size_t blocks = 5000;
  std::size_t least_bytes = 8, most_bytes = 1000;
  std::uint64_t seed = 4141;
};

template <typename Allocator>
class Larson {
 public:
  explicit Larson(const LarsonParameters& parameters) : p_(parameters) {}

  HeapRun run() {
    std::vector<Worker> workers;
    for (unsigned t = 0; t < p_.threads; ++t) workers.push_back({std::vector<char*>(p_.blocks), Prng(p_.seed + t), 0});
    for (Worker& worker : workers) {
      for (char*& block : worker.blocks) block = make(worker);
    }
    const Stopwatch watch;
    std::vector<std::thread> threads;
    for (Worker& worker : workers) threads.emplace_back([this, &worker] { generations(worker, p_.generations); });
    for (std::thread& thread : threads) thread.join();
    const double seconds = watch.seconds();
    std::uint64_t digest = 0;
    for (Worker& worker : workers) {
      for (char* block : worker.blocks) Allocator::deallocate(block);
      digest = mix(digest, worker.digest);
    }
    const double operations =
        static_cast<double>(p_.threads) * p_.generations * p_.rounds * static_cast<double>(p_.blocks);
    return {operations / seconds, digest};
  }

 private:
  struct Worker {
    std::vector<char*> blocks;
    Prng random;
    std::uint64_t digest;
  };

  char* make(Worker& worker) {
    const std::size_t bytes = p_.least_bytes + worker.random.below(p_.most_bytes - p_.least_bytes + 1);
    auto* block = static_cast<char*>(Allocator::allocate(bytes));
    if (block == nullptr) std::abort();
    block[0] = static_cast<char>(bytes);
    block[bytes - 1] = block[0];
    worker.digest = mix(worker.digest, bytes);
    return block;
  }

  void generation(Worker& worker) {
    for (std::size_t i = p_.rounds * p_.blocks; i != 0; --i) {
      char*& block = worker.blocks[worker.random.below(p_.blocks)];
      worker.digest += static_cast<unsigned char>(block[0]);
      Allocator::deallocate(block);
      block = make(worker);
    }
  }

  void generations(Worker& worker, unsigned count) {
    for (; count != 0; --count) std::thread([this, &worker] { generation(worker); }).join();
  }

  const LarsonParameters p_;
};

// Mixed sizes with a few very large ones, some kept to the end of the thread, others passed between threads through a
// shared table; the threads begin anew in each iteration. After the idea of mimalloc-bench's mstress and with its
// proportions.
struct MstressParameters {
  unsigned threads = 2;
  unsigned iterations = 200;       // a quarter of a second: one descheduled thread must not decide a run
  std::size_t allocations = 5000;  // of thread 0 in an iteration; thread t makes t % 8 + 1 times as many
  std::size_t transfers = 1000;
  std::uint64_t seed = 43;
};

template <typename Allocator>
class Mstress {
 public:
  explicit Mstress(const MstressParameters& parameters) : p_(parameters), table_(parameters.transfers) {}

  HeapRun run() {
    std::atomic<std::uint64_t> made = 0, digest = 0;
    const Stopwatch watch;
    for (unsigned iteration = 0; iteration < p_.iterations; ++iteration) {
      std::vector<std::thread> threads;
      for (unsigned t = 0; t < p_.threads; ++t) {
        threads.emplace_back([&, t] {
          Worker worker{Prng(p_.seed + std::uint64_t{iteration} * p_.threads + t), 0, 0};
          work(worker, p_.allocations * (t % 8 + 1));
          made += worker.made;
          digest += worker.digest;  // threads end in any order
        });
      }
      for (std::thread& thread : threads) thread.join();
      if (iteration % 10 == 9) clear_table();
    }
    clear_table();
    const double seconds = watch.seconds();
    return {static_cast<double>(made) / seconds, mix(made, digest)};
  }

 private:
  struct Worker {
    Prng random;
    std::uint64_t made, digest;
  };

  static bool chance(Worker& worker, unsigned percent) { return worker.random.below(100) < percent; }

  static Item make(Worker& worker, unsigned most_shift) {
    std::size_t words = std::size_t{1} << worker.random.below(most_shift);
    if (chance(worker, 1)) {
      words *= chance(worker, 1) ? 10'000 : chance(worker, 10) ? 1000 : 100;
    }
    ++worker.made;
    worker.digest = mix(worker.digest, words);
    return Item::fill(Allocator::allocate(words * 8), words, worker.made);
  }
  static void release(Item item) {
    if (item.words == nullptr) return;
    item.check();
    Allocator::deallocate(item.words);
  }

  void work(Worker& worker, std::size_t allocations) {
    constexpr unsigned kShift = 5, kKeptShift = 7;  // up to 128 and 512 bytes
    std::vector<Item> items, kept;
    items.reserve(allocations);
    std::size_t to_keep = allocations / 2;
    kept.reserve(to_keep);
    while (allocations > 0 || to_keep > 0) {
      if (to_keep == 0 || (allocations > 0 && chance(worker, 50))) {
        --allocations;
        items.push_back(make(worker, kShift));
      } else {
        --to_keep;
        kept.push_back(make(worker, kKeptShift));
      }
      if (chance(worker, 66) && !items.empty())
        release(std::exchange(items[worker.random.below(items.size())], Item{}));
      if (chance(worker, 25) && !items.empty()) {
        Item& mine = items[worker.random.below(items.size())];
        mine.words = table_[worker.random.below(table_.size())].exchange(mine.words);
      }
    }
    for (const Item& item : kept) release(item);
    for (const Item& item : items) release(item);
  }

  void clear_table() {
    for (auto& slot : table_) release({slot.exchange(nullptr)});
  }

  const MstressParameters p_;
  std::vector<std::atomic<std::uint64_t*>> table_;
};

}  // namespace gallocy::bench
