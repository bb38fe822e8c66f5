// Threads and asynchronous calls on any node of the cluster.
//
// A function is named by its offset in the program, which is the same binary on every node (the build-id is compared at
// join). The callable and its arguments are copied to the other node: they must be trivially copyable (function
// pointers, capture-less lambdas, lambdas that capture values or pointers into global memory) and together at most
// kMaxClosureBytes. Pointers to private memory mean nothing there.
//
// Example
//   gallocy::thread worker(gallocy::on_node(2), [](Queue* queue) { queue->drain(); }, queue);   // queue: global memory
//   worker.join();
//   auto sum = gallocy::async(gallocy::any_node, [](const double* x, std::size_t n) { return std::accumulate(x, x + n,
//   0.0); }, x, n); sum.get();
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "gallocy/result.h"
#include "gallocy/sync.h"

namespace gallocy {

// Where a thread is to run. any_node: the nodes in turn, beginning after the caller's.
struct ThreadPlace {
  static constexpr unsigned kAny = ~0u;
  unsigned node = kAny;
};
inline constexpr ThreadPlace any_node{};
constexpr ThreadPlace on_node(unsigned node) { return {node}; }

inline constexpr std::size_t kMaxClosureBytes = 4096;
inline constexpr std::size_t kMaxThreadResultBytes = 1024;

namespace thread_detail {
// Runs the closure at `closure` and leaves its result at `result`.
using Entry = void (*)(const void* closure, void* result);
Result<std::uint64_t> start(ThreadPlace place, Entry entry, const void* closure, std::size_t closure_bytes);
Result<> join(std::uint64_t thread, void* result, std::size_t result_bytes, Timeout timeout);
void detach(std::uint64_t thread);

// The program's load address differs from node to node, so a pointer to a function travels as its offset.
std::uint64_t program_base() noexcept;

template <typename T>
struct Portable {
  T value;
  explicit Portable(const T& v) : value(v) {}
  const T& get() const { return value; }
};
template <typename R, typename... A>
struct Portable<R (*)(A...)> {
  std::uint64_t offset;
  explicit Portable(R (*f)(A...)) : offset(reinterpret_cast<std::uint64_t>(f) - program_base()) {}
  auto get() const { return reinterpret_cast<R (*)(A...)>(program_base() + offset); }
};

template <typename Function, typename... Arguments>
struct Closure {
  using Result = std::invoke_result_t<Function, Arguments...>;
  Portable<Function> function;
  std::tuple<Portable<Arguments>...> arguments;

  explicit Closure(const Function& f, const Arguments&... a) : function(f), arguments(Portable<Arguments>(a)...) {}

  static void run(const void* closure, void* result) {
    const auto& self = *static_cast<const Closure*>(closure);
    const auto call = [&](const auto&... argument) { return self.function.get()(argument.get()...); };
    if constexpr (std::is_void_v<Result>) {
      std::apply(call, self.arguments);
    } else {
      const Result value = std::apply(call, self.arguments);
      std::memcpy(result, &value, sizeof value);
    }
  }
};

template <typename Function, typename... Arguments>
gallocy::Result<std::uint64_t> launch(ThreadPlace place, const Function& function, const Arguments&... arguments) {
  using Body = Closure<Function, Arguments...>;
  static_assert((std::is_trivially_copyable_v<Function> && ... && std::is_trivially_copyable_v<Arguments>),
                "what is sent to another node must be trivially copyable");
  static_assert(sizeof(Body) <= kMaxClosureBytes, "pass a pointer to global memory instead");
  const Body body(function, arguments...);
  return start(place, &Body::run, &body, sizeof body);
}
}  // namespace thread_detail

// As std::thread: joinable until join() or detach(); destroying a joinable one ends the process.
class thread {
 public:
  thread() = default;
  template <typename Function, typename... Arguments>
  explicit thread(ThreadPlace place, Function function, Arguments... arguments) {
    adopt(thread_detail::launch(place, function, arguments...));
  }
  // The same with an error to return: kInvalidArgument (no such node), kPeerLost, kOutOfMemory (no more threads there).
  template <typename Function, typename... Arguments>
  static Result<thread> start(ThreadPlace place, Function function, Arguments... arguments) {
    auto id = thread_detail::launch(place, function, arguments...);
    if (!id) return tl::unexpected(id.error());
    thread started;
    started.id_ = *id;
    return started;
  }
  ~thread();
  thread(thread&& other) noexcept : id_(std::exchange(other.id_, 0)) {}
  thread& operator=(thread&& other) noexcept;

  bool joinable() const { return id_ != 0; }
  void join();                         // ends the process with one line if the thread's node died
  Result<> join_for(Timeout timeout);  // kTimeout (still joinable), kPeerLost
  void detach();

 private:
  void adopt(Result<std::uint64_t> id);
  std::uint64_t id_ = 0;
};

// The result of async(): trivially copyable, at most kMaxThreadResultBytes. Destroying a future that was not waited for
// waits.
template <typename T>
class future {
 public:
  explicit future(std::uint64_t id) : id_(id) {}
  future(future&& other) noexcept : id_(std::exchange(other.id_, 0)) {}
  future& operator=(future&&) = delete;
  ~future() {
    if (id_ != 0) (void)get_for(kForever);
  }

  bool valid() const { return id_ != 0; }
  Result<T> get_for(Timeout timeout) {
    if constexpr (std::is_void_v<T>) {
      auto done = thread_detail::join(id_, nullptr, 0, timeout);
      if (done || done.error().code != ErrorCode::kTimeout) id_ = 0;
      return done;
    } else {
      alignas(T) std::byte value[sizeof(T)];
      auto done = thread_detail::join(id_, value, sizeof value, timeout);
      if (done || done.error().code != ErrorCode::kTimeout) id_ = 0;
      if (!done) return tl::unexpected(done.error());
      return *reinterpret_cast<T*>(value);
    }
  }
  T get();

 private:
  std::uint64_t id_;
};

namespace thread_detail {
[[noreturn]] void lost(const Error& error);
}

template <typename T>
T future<T>::get() {
  auto value = get_for(kForever);
  if (!value) thread_detail::lost(value.error());
  if constexpr (!std::is_void_v<T>) return *value;
}

template <typename Function, typename... Arguments>
auto async(ThreadPlace place, Function function, Arguments... arguments)
    -> future<std::invoke_result_t<Function, Arguments...>> {
  using T = std::invoke_result_t<Function, Arguments...>;
  if constexpr (!std::is_void_v<T>) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kMaxThreadResultBytes);
  }
  auto id = thread_detail::launch(place, function, arguments...);
  if (!id) thread_detail::lost(id.error());
  return future<T>(*id);
}

}  // namespace gallocy
