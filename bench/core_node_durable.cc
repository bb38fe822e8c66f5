// Transactions on durable memory: latency of one thread, throughput of many, and how fast the copies that died with a
// node are made again.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <thread>
#include <utility>

#include "core_node.h"

namespace gallocy::bench {
namespace {

using Word = std::uint64_t;
constexpr std::size_t kBlockBytes = 256 << 10;
constexpr std::size_t kBlockWords = kBlockBytes / sizeof(Word);

Word* durable(gallocy::Node& node, std::size_t blocks) {
  return static_cast<Word*>(
      or_exit(node.map({.name = "durable", .bytes = blocks * kBlockBytes, .durable_backups = 1})).data());
}

constexpr std::size_t kBlocksTimed = 12;

// `change(block, i)` makes the i-th change (from 1 on) and returns the microseconds that it took; `wrong_after(block,
// n)` says what is wrong after n of them. The median, of the blocks where it is slowest, which are those that this node
// keeps no copy of.
Figures slowest_block(gallocy::Node& node, Size size, auto change, auto wrong_after) {
  const std::size_t changes = size(20, 500);
  Figures figures;
  or_exit(node.barrier());
  for (std::size_t block = 0; block < kBlocksTimed && node.id() == 0; ++block) {
    std::vector<double> times;
    for (std::size_t i = 1; i <= changes; ++i) times.push_back(change(block, i));
    figures.values["us"] = std::max(figures.values["us"], median_of(times));
    if (std::string wrong = wrong_after(block, changes); !wrong.empty()) figures.wrong = std::move(wrong);
  }
  or_exit(node.barrier());
  return figures;
}

// Commits that write a word in each of two blocks, or twice in one.
Figures commit_latency(gallocy::Node& node, Size size, std::size_t apart) {
  Word* const words = durable(node, kBlocksTimed);
  const auto second = [&](std::size_t block) { return words + (block + apart) % kBlocksTimed * kBlockWords + 1; };
  const auto change = [&](std::size_t block, std::size_t i) {
    gallocy::Transaction t;
    t.write(words + block * kBlockWords, i);
    t.write(second(block), i);
    const double before = now_us();
    or_exit(t.commit());
    return now_us() - before;
  };
  return slowest_block(node, size, change, [&](std::size_t block, std::size_t commits) -> std::string {
    const auto read = [&](gallocy::Transaction& t) { return t.read(second(block)); };
    return or_exit(gallocy::transact(read)) == commits ? "" : "a commit was lost";
  });
}

}  // namespace

// Sections that change a word of a page, whose lock this node has.
Figures measure_section(gallocy::Node& node, Size size) {
  constexpr std::size_t kPageBytes = 4096;
  Word* const words = durable(node, kBlocksTimed);
  std::size_t lost = 0;
  std::deque<gallocy::DurableLock> locks;
  for (std::size_t block = 0; block < kBlocksTimed; ++block)
    locks.emplace_back(words + block * kBlockWords, kPageBytes);
  const auto change = [&](std::size_t block, std::size_t i) {
    Word* const word = words + block * kBlockWords;
    const double before = now_us();
    const auto was = gallocy::in_section({locks[block]}, [&] { return std::exchange(*word, i); });
    const double after = now_us();
    lost += !was || *was != i - 1;
    return after - before;
  };
  return slowest_block(node, size, change,
                       [&](std::size_t, std::size_t) { return lost == 0 ? "" : "a section was lost"; });
}

Figures measure_commit_in_one(gallocy::Node& node, Size size) { return commit_latency(node, size, 0); }
Figures measure_commit_in_two(gallocy::Node& node, Size size) { return commit_latency(node, size, 1); }

// Each thread increments words of its own, in turn in all blocks; some of its transactions are under way at a time.
Figures measure_commits(gallocy::Node& node, Size size) {
  constexpr std::size_t kThreads = 8, kBlocks = 24, kWindow = 16;
  const std::size_t commits = size(200, 40'000);
  Word* const words = durable(node, kBlocks);
  or_exit(node.barrier());
  Figures figures;
  if (node.id() == 0) {
    const double before = now_us();
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([=] {
        std::deque<gallocy::Commitment> under_way;
        gallocy::Transaction t;
        for (std::size_t i = 0; i < commits; ++i) {
          t.write(words + (thread + i) % kBlocks * kBlockWords + thread * kWindow + i % kWindow, i);
          if (under_way.size() == kWindow) or_exit(under_way.front().wait()), under_way.pop_front();
          under_way.push_back(t.submit());
        }
        for (gallocy::Commitment& commitment : under_way) or_exit(commitment.wait());
      });
    }
    for (auto& thread : threads) thread.join();
    figures.values["per_s"] = static_cast<double>(kThreads * commits) / (now_us() - before) * 1e6;
  }
  or_exit(node.barrier());
  return figures;
}

// Node 1 kills node 3 and measures; of each block that node 3 had one copy was lost.
Figures measure_restore(gallocy::Node& node, Size size) {
  constexpr unsigned kMeasurer = 1, kVictim = 3;
  const std::size_t blocks = size(64, 8192);
  Word* const words = durable(node, blocks);
  const auto region =
      or_exit(node.map({.name = "survivors", .bytes = 64 << 10, .placement = Placement::on(kMeasurer)}));
  auto* const shared = static_cast<Word*>(region.data());
  const auto report = [&](unsigned id) { return std::atomic_ref(shared[id * 512]); };
  std::vector<Word> block(kBlockWords - 1024);
  const auto [begin, end] = gallocy::share(blocks, node.id(), node.count());
  for (std::size_t i = begin; i < end; ++i) {
    std::ranges::fill(block, i + 1);
    gallocy::Transaction t;
    t.write(words + i * kBlockWords, block.data(), block.size() * sizeof(Word));
    or_exit(t.commit());
  }
  report(node.id()) = static_cast<Word>(::getpid());
  or_exit(node.barrier());
  const Word epoch = node.statistics().durable_epoch;
  Figures figures;
  if (node.id() == kVictim) {
    for (;;) ::pause();
  }
  const auto pid = static_cast<pid_t>(report(kVictim).load());
  ::usleep(300'000);  // the victim has heard of the barrier, too
  const double before = now_us();
  if (node.id() == kMeasurer) ::kill(pid, SIGKILL);
  // Each survivor leads a third of the blocks, and is the measure of their restoring.
  for (;;) {
    const gallocy::Statistics s = node.statistics();
    if (s.durable_epoch > epoch && s.durable_unrestored == 0) break;
    ::usleep(10'000);  // it looks at all blocks
  }
  report(node.id()) = ~Word{0};
  if (node.id() == kMeasurer) {
    while (report(0) != ~Word{0} || report(2) != ~Word{0}) ::usleep(1'000);
    const double lost = static_cast<double>(blocks * block.size() * sizeof(Word)) * 2 / node.count();
    figures.values["mb_per_s"] = lost / (now_us() - before);
    figures.values["ms"] = (now_us() - before) / 1000;
    for (std::size_t i = 0; i < blocks; i += 37) {
      if (or_exit(gallocy::transact([&](gallocy::Transaction& t) { return t.read(words + i * kBlockWords + 7); })) !=
          i + 1)
        figures.wrong = "a block is not as it was";
    }
  }
  (void)node.barrier();  // ends with the news of the death
  return figures;
}

}  // namespace gallocy::bench
