// Exceptions: thrown and caught in threads, carried by futures and exception_ptr, through frames with destructors.
#include <atomic>
#include <cstdio>
#include <exception>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <typeinfo>
#include <vector>

#include "check.h"

namespace {

std::atomic<int> unwound;

struct Guard {
  ~Guard() { ++unwound; }
};

[[gnu::noinline]] int deep(int depth) {
  const Guard guard;
  if (depth == 0) throw std::runtime_error("from the depth");
  return deep(depth - 1) + 1;
}

}  // namespace

int main() {
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([] {
        for (int j = 0; j < 20; ++j) {
          try {
            deep(10);
            CHECK(false);
          } catch (const std::exception& error) {
            CHECK(std::string(error.what()) == "from the depth");
          }
        }
      });
  }
  std::printf("unwound %d\n", unwound.load());

  auto future = std::async(std::launch::async, [] { return deep(3); });
  try {
    future.get();
    CHECK(false);
  } catch (const std::runtime_error& error) {
    std::printf("future: %s\n", error.what());
  }

  std::exception_ptr carried;
  std::thread([&carried] {
    try {
      throw std::out_of_range("carried");
    } catch (...) {
      carried = std::current_exception();
    }
  }).join();
  try {
    std::rethrow_exception(carried);
  } catch (const std::logic_error& error) {
    std::printf("pointer: %s %s\n", typeid(error).name(), error.what());
  }

  std::promise<int> broken;
  auto never = broken.get_future();
  std::thread([promise = std::move(broken)]() mutable { std::promise<int> gone = std::move(promise); }).join();
  try {
    never.get();
  } catch (const std::future_error& error) {
    std::printf("broken promise %d\n", error.code() == std::future_errc::broken_promise);
  }
  return 0;
}
