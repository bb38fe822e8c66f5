// Program: what a simulated thread does, written as a coroutine that awaits its accesses to shared memory.
//
//   Program count_up(Address counter) {
//     for (int i = 0; i < 10; ++i) co_await add(counter, 1);
//   }
//
// A result with `lost` set says that the page died with a node; programs then end.
#pragma once

#include <coroutine>
#include <cstdint>
#include <exception>
#include <utility>

#include "base/ids.h"
#include "gallocy/access.h"

namespace gallocy::sim {

struct Address {
  PageId page;
  unsigned word = 0;
};

struct Operation {
  enum class Kind : std::uint8_t { kRead, kWrite, kAdd, kCompareSwap, kPin, kUnpin, kPause };
  Kind kind = Kind::kPause;
  Address address{};
  std::uint64_t value = 0;     // written, added; microseconds of a pause
  std::uint64_t expected = 0;  // kCompareSwap
  Access access = Access::kNone;
};

inline Operation read(Address a) { return {Operation::Kind::kRead, a, 0, 0, Access::kRead}; }
inline Operation write(Address a, std::uint64_t v) { return {Operation::Kind::kWrite, a, v, 0, Access::kWrite}; }
// Atomic read-modify-write, as one instruction; the result is the value before.
inline Operation add(Address a, std::uint64_t v) { return {Operation::Kind::kAdd, a, v, 0, Access::kWrite}; }
inline Operation compare_swap(Address a, std::uint64_t expected, std::uint64_t desired) {
  return {Operation::Kind::kCompareSwap, a, desired, expected, Access::kWrite};
}
// Threads that pin several pages pin them in ascending order, so that no two wait for each other.
inline Operation pin(PageId page, Access access) { return {Operation::Kind::kPin, {page, 0}, 0, 0, access}; }
inline Operation unpin(PageId page) { return {Operation::Kind::kUnpin, {page, 0}, 0, 0, Access::kNone}; }
inline Operation pause(std::uint64_t us) { return {Operation::Kind::kPause, {}, us, 0, Access::kNone}; }

struct OperationResult {
  std::uint64_t value = 0;
  bool lost = false;
};

class Program {
 public:
  struct promise_type {
    Operation operation{};
    OperationResult result{};

    struct Step {
      promise_type* promise;
      bool await_ready() const { return false; }
      void await_suspend(std::coroutine_handle<>) const {}
      OperationResult await_resume() const { return promise->result; }
    };
    Program get_return_object() { return Program(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    Step await_transform(const Operation& next) {
      operation = next;
      return {this};
    }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };

  Program(Program&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Program& operator=(Program&&) = delete;
  ~Program() {
    if (handle_) handle_.destroy();
  }

  // Goes on with the result of the last operation up to the next one. False: the program has ended.
  bool resume(OperationResult last) {
    handle_.promise().result = last;
    handle_.resume();
    return !handle_.done();
  }
  const Operation& operation() const { return handle_.promise().operation; }

 private:
  explicit Program(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace gallocy::sim
