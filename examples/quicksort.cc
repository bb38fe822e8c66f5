// quicksort: sorts an array in shared memory. Ranges still to be sorted wait in a shared queue; a worker takes one,
// splits it again and again, queues the right parts and sorts the left one when it has become short.
//
//   gallocy launch -n 4 -- quicksort --count 4000000
//
// Shows: node 0 alone runs the program and starts a gallocy::thread on every node, handing it a pointer into global
// memory; a queue with a mutex and a condition variable inside shared memory.
#include <algorithm>
#include <cstdio>

#include "common/example.h"

namespace {

struct Options {
  std::size_t count = 50000;
  std::size_t shortest = 4096;  // ranges up to this length are sorted at once: 8 pages
};

struct Range {
  std::uint64_t* begin;
  std::uint64_t* end;
};

template <typename Team>
class RangeQueue {
 public:
  // False if the queue is full: the caller keeps the range.
  bool push(Range range) {
    std::scoped_lock lock(mutex_);
    if (waiting_ == kCapacity) return false;
    ranges_[waiting_++] = range;
    ++unfinished_;
    changed_.notify_one();
    return true;
  }
  // Waits for a range; false when everything is sorted.
  bool pop(Range& range) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ > 0 || unfinished_ == 0; });
    if (waiting_ == 0) return false;
    range = ranges_[--waiting_];
    return true;
  }
  // A range taken by pop is sorted.
  void finished() {
    std::scoped_lock lock(mutex_);
    if (--unfinished_ == 0) changed_.notify_all();
  }

 private:
  static constexpr std::size_t kCapacity = 1024;  // more than any number of workers can use at a time
  typename Team::mutex mutex_;
  typename Team::condition_variable changed_;
  std::size_t waiting_ = 0;     // ranges in ranges_
  std::size_t unfinished_ = 0;  // and those that workers have taken
  Range ranges_[kCapacity];
};

template <typename Team>
struct Sorting {
  RangeQueue<Team> queue;
  std::size_t shortest = 0;
};

// Hoare's partition around the middle of three; both parts are shorter than the whole. noinline: both teams run the
// very same instructions.
[[gnu::noinline]] std::uint64_t* split(Range range) {
  std::uint64_t* middle = range.begin + (range.end - range.begin) / 2;
  const std::uint64_t first = *range.begin, last = range.end[-1];
  const std::uint64_t pivot = std::max(std::min(first, last), std::min(std::max(first, last), *middle));
  std::uint64_t* left = range.begin - 1;
  std::uint64_t* right = range.end;
  for (;;) {
    do ++left;
    while (*left < pivot);
    do --right;
    while (*right > pivot);
    if (left >= right) return left == range.begin ? left + 1 : left;
    std::swap(*left, *right);
  }
}

// What each worker thread runs.
template <typename Team>
void sort_ranges(Sorting<Team>* sorting) {
  Range range;
  while (sorting->queue.pop(range)) {
    while (static_cast<std::size_t>(range.end - range.begin) > sorting->shortest) {
      std::uint64_t* border = split(range);
      if (!sorting->queue.push({border, range.end})) std::sort(border, range.end);
      range.end = border;
    }
    std::sort(range.begin, range.end);
    sorting->queue.finished();
  }
}

template <typename Team>
example::Outcome sort(Team& team, const Options& options) {
  auto numbers = example::shared<std::uint64_t>(team, "quicksort.numbers", options.count);
  auto& sorting = example::object<Sorting<Team>>(team, "quicksort.queue");
  example::Outcome outcome;
  if (team.id() != 0) return team.barrier(), outcome;  // this node only lends its processor to node 0's threads

  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = example::random_word(6, i);
  sorting.shortest = options.shortest;

  const auto start = std::chrono::steady_clock::now();
  sorting.queue.push({numbers.data(), numbers.data() + numbers.size()});
  std::vector<typename Team::thread> workers;
  for (unsigned w = 0; w < team.count(); ++w) workers.push_back(team.start(w, &sort_ranges<Team>, &sorting));
  for (auto& worker : workers) worker.join();
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  example::Digest digest;
  for (const std::uint64_t number : numbers) digest.add(number);
  outcome.digest = digest.value();
  if (!std::is_sorted(numbers.begin(), numbers.end())) outcome.wrong = "the numbers are not in order";
  std::printf("%zu numbers, %u workers: smallest %016llx\n", numbers.size(), team.count(),
              static_cast<unsigned long long>(numbers.front()));
  team.barrier();
  return outcome;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  example::CommandLine line("Sorts random numbers with a queue of ranges that all workers share.");
  line.add("--count", options.count, 1, std::size_t{1} << 36, "numbers");
  line.add("--shortest", options.shortest, 16, std::size_t{1} << 30, "ranges up to this length are sorted at once");
  return example::run(line, argc, argv, [&](auto& team) { return sort(team, options); });
}
