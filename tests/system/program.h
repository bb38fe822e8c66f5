// What the programs of nodes_test share: each runs on real nodes, checks what it sees, and says in one line what was
// wrong.
#pragma once

#include <gallocy/gallocy.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace program {

// Ends this node; the launcher ends the others. (_exit: threads of the program may still run.)
[[noreturn]] [[gnu::format(printf, 1, 2)]] inline void wrong(const char* format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(text, sizeof text - 1, format, arguments);
  va_end(arguments);
  std::string line(text, std::min<std::size_t>(length, sizeof text - 1));
  line += '\n';
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
  ::_exit(1);
}

[[noreturn]] inline void end(const gallocy::Error& error) {
  std::fflush(nullptr);
  ::_exit(gallocy::report(error));
}

inline void need(const gallocy::Result<>& done) {
  if (!done) end(done.error());
}
template <typename T>
T need(gallocy::Result<T> value) {
  if (!value) end(value.error());
  return std::move(*value);
}

// Zeroed objects of T that all nodes see under this name.
template <typename T>
T* shared(const std::string& name, std::size_t count, gallocy::Placement placement = {}) {
  const auto region =
      need(gallocy::Node::current()->map({.name = name, .bytes = count * sizeof(T), .placement = placement}));
  return static_cast<T*>(region.data());
}

class Random {  // SplitMix64
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t word() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t bound) { return word() % bound; }
  // From nothing to some microseconds; now and then the processor goes to another thread.
  void delay() {
    const std::uint64_t choice = below(16);
    if (choice == 0) return std::this_thread::yield();
    for (std::uint64_t i = below(choice < 8 ? 8 : 512); i > 0; --i) __builtin_ia32_pause();
  }

 private:
  std::uint64_t state_;
};

using Word = std::uint64_t;
inline Word load(Word& word) { return std::atomic_ref(word).load(); }
inline void store(Word& word, Word value) { std::atomic_ref(word).store(value); }

inline constexpr std::size_t kPageBytes = 4096;

// `count` threads of this node, all ended on return.
template <typename F>
void run_threads(unsigned count, const F& f) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < count; ++i) threads.emplace_back(f, i);
  for (auto& thread : threads) thread.join();
}

inline std::uint64_t number(int argc, char** argv, int index, std::uint64_t otherwise) {
  return index < argc ? std::strtoull(argv[index], nullptr, 10) : otherwise;
}

}  // namespace program
