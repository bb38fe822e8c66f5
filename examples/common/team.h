// Team: the workers of an example and what they share. Each example is one template, run by two kinds of team:
//
//   ClusterTeam  one worker per node of the cluster; memory, locks and threads are gallocy's
//   ThreadTeam   one worker per std::thread of one process; memory, locks and threads are the ordinary ones
//
// so that the result on the cluster can be compared, bit by bit, with that of the same program on ordinary memory.
// Both have the same members. Every worker runs the same function; what a team offers together (shared, object,
// barrier) is called by all workers, in the same order.
#pragma once

#include <gallocy/gallocy.h>

#include <atomic>
#include <barrier>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace example {

inline constexpr std::size_t kPageBytes = 4096;

// The value, or the end of this process with the error's line and exit status. An example has nothing better to do; a
// program that must survive a lost node looks at the error.
template <typename T>
T or_exit(gallocy::Result<T> result) {
  if (!result) std::exit(gallocy::report(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class ClusterTeam {
 public:
  using mutex = gallocy::mutex;
  using condition_variable = gallocy::condition_variable;
  using thread = gallocy::thread;
  template <typename T>
  using atomic_ref = gallocy::atomic_ref<T>;
  template <typename T>
  using allocator = gallocy::allocator<T>;

  explicit ClusterTeam(gallocy::Node& node) : node_(&node) {}
  unsigned id() const { return node_->id(); }
  unsigned count() const { return node_->count(); }
  void barrier() { or_exit(node_->barrier()); }

  void* memory(const std::string& name, std::size_t bytes, gallocy::Placement placement) {
    return or_exit(node_->map({.name = name, .bytes = bytes, .placement = placement})).data();
  }
  template <typename Function, typename... Arguments>
  thread start(unsigned worker, Function function, Arguments... arguments) {
    return thread(gallocy::on_node(worker), function, arguments...);
  }

 private:
  gallocy::Node* node_;
};

class ThreadTeam {
 public:
  using mutex = std::mutex;
  using condition_variable = std::condition_variable;
  using thread = std::thread;
  template <typename T>
  using atomic_ref = std::atomic_ref<T>;
  template <typename T>
  using allocator = std::allocator<T>;

  // What the workers of a team have in common; outlives them.
  struct Common {
    explicit Common(unsigned count) : workers(count), meeting(count) {}
    const unsigned workers;
    std::barrier<> meeting;
    std::mutex guard;
    struct Free {
      void operator()(void* block) const { std::free(block); }
    };
    std::map<std::string, std::unique_ptr<void, Free>> memory;  // guarded by guard
  };

  ThreadTeam(Common& common, unsigned id) : common_(&common), id_(id) {}
  unsigned id() const { return id_; }
  unsigned count() const { return common_->workers; }
  void barrier() { common_->meeting.arrive_and_wait(); }

  void* memory(const std::string& name, std::size_t bytes, gallocy::Placement) {
    std::scoped_lock lock(common_->guard);
    auto& memory = common_->memory[name];
    if (!memory) {
      const std::size_t rounded = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
      memory.reset(std::aligned_alloc(kPageBytes, rounded));
      if (!memory) throw std::bad_alloc();
      std::fill_n(static_cast<std::byte*>(memory.get()), rounded, std::byte{0});
    }
    return memory.get();
  }
  template <typename Function, typename... Arguments>
  thread start(unsigned, Function function, Arguments... arguments) {
    return thread(function, arguments...);
  }

 private:
  Common* common_;
  unsigned id_;
};

// An array that all workers see; zero at first.
template <typename T, typename Team>
std::span<T> shared(Team& team, const std::string& name, std::size_t count, gallocy::Placement placement = {}) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {static_cast<T*>(team.memory(name, count * sizeof(T), placement)), count};
}

// One object that all workers see, constructed by worker 0. It may hold mutexes and condition variables of the team.
template <typename T, typename Team>
T& object(Team& team, const std::string& name) {
  void* place = team.memory(name, sizeof(T), gallocy::Placement::first_touch());
  if (team.id() == 0) new (place) T();
  team.barrier();
  return *std::launder(static_cast<T*>(place));
}

// A new object on the heap that all workers see.
template <typename T, typename Team>
T* make(Team&) {
  typename Team::template allocator<T> memory;
  return new (memory.allocate(1)) T();
}
template <typename T, typename Team>
void destroy(Team&, T* object) {
  typename Team::template allocator<T> memory;
  object->~T();
  memory.deallocate(object, 1);
}

// Runs body(team) on a team of threads of this process; the result is worker 0's.
template <typename Body>
auto run_on_threads(unsigned threads, Body body) {
  ThreadTeam::Common common(threads);
  std::vector<std::jthread> others;
  for (unsigned id = 1; id < threads; ++id) {
    others.emplace_back([&common, id, body] {
      ThreadTeam team(common, id);
      body(team);
    });
  }
  ThreadTeam team(common, 0);
  auto result = body(team);
  others.clear();  // joins them, before `common` goes
  return result;
}

}  // namespace example
