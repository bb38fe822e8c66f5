// Access to the program's memory from the runtime. The address may be anything: where the program could not read or
// write, the functions fail as system calls do (EFAULT). Pages that are elsewhere are fetched, so no lock that the
// fault path takes may be held (runtime/memory.h).
//
// Threads: any, in which SIGSEGV and SIGBUS are not blocked.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace gallocy::personality {

bool copy_in(void* to, std::uint64_t from, std::size_t bytes);
bool copy_out(std::uint64_t to, const void* from, std::size_t bytes);
bool copy_within(std::uint64_t to, std::uint64_t from, std::size_t bytes);  // ranges do not overlap
bool fill_zero(std::uint64_t to, std::size_t bytes);
// Up to the zero byte; nothing if there is none within `most` bytes or it cannot be read.
std::optional<std::string> copy_string(std::uint64_t from, std::size_t most = 1 << 20);

template <typename T>
std::optional<T> load(std::uint64_t from) {
  T value;
  if (!copy_in(&value, from, sizeof value)) return std::nullopt;
  return value;
}
template <typename T>
bool store(std::uint64_t to, const T& value) {
  return copy_out(to, &value, sizeof value);
}

// For the signal handler: if the fault happened in one of the functions above, makes it return false.
bool end_failed_copy(ucontext_t& context);
// The same for a fault that is served by copying elsewhere: what is still to be copied, as far as neither end leaves
// its page; `from` is 0 in fill_zero(). finish_copy(): so many bytes of it are done.
struct CopyUnderWay {
  std::uint64_t to = 0, from = 0;
  std::size_t bytes = 0;
};
std::optional<CopyUnderWay> copy_under_way(const ucontext_t& context);
void finish_copy(ucontext_t& context, std::size_t bytes);

}  // namespace gallocy::personality
