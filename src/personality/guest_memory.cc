#include "personality/guest_memory.h"

#include <algorithm>
#include <cstring>

#include "base/ids.h"

// `rep movs` and `rep stos` keep their state in registers: a fault that is resolved goes on where it was, one that is
// not leaves at the instruction behind with rcx not 0.
asm(R"(
.text
.globl gallocy_copy, gallocy_copy_at, gallocy_copy_end, gallocy_zero, gallocy_zero_at, gallocy_zero_end
gallocy_copy:                      # rdi: to, rsi: from, rdx: bytes; returns the bytes that are left
  mov %rdx, %rcx
gallocy_copy_at:
  rep movsb
gallocy_copy_end:
  mov %rcx, %rax
  ret
gallocy_zero:                      # rdi: to, rsi: bytes
  mov %rsi, %rcx
  xor %eax, %eax
gallocy_zero_at:
  rep stosb
gallocy_zero_end:
  mov %rcx, %rax
  ret
)");

extern "C" {
std::size_t gallocy_copy(void* to, const void* from, std::size_t bytes);
std::size_t gallocy_zero(void* to, std::size_t bytes);
extern const char gallocy_copy_at[], gallocy_copy_end[], gallocy_zero_at[], gallocy_zero_end[];
}

namespace gallocy::personality {
namespace {

void* pointer(std::uint64_t address) { return reinterpret_cast<void*>(address); }

}  // namespace

bool copy_in(void* to, std::uint64_t from, std::size_t bytes) { return gallocy_copy(to, pointer(from), bytes) == 0; }
bool copy_out(std::uint64_t to, const void* from, std::size_t bytes) {
  return gallocy_copy(pointer(to), from, bytes) == 0;
}
bool copy_within(std::uint64_t to, std::uint64_t from, std::size_t bytes) {
  return gallocy_copy(pointer(to), pointer(from), bytes) == 0;
}
bool fill_zero(std::uint64_t to, std::size_t bytes) { return gallocy_zero(pointer(to), bytes) == 0; }

std::optional<std::string> copy_string(std::uint64_t from, std::size_t most) {
  std::string text;
  char piece[256];
  while (text.size() < most) {
    // Not over the end of a page: what is behind the string may not be readable.
    const std::size_t length = std::min<std::size_t>(sizeof piece, kPageBytes - from % kPageBytes);
    if (!copy_in(piece, from, length)) return std::nullopt;
    const void* const end = std::memchr(piece, 0, length);
    if (end != nullptr) return text.append(piece, static_cast<std::size_t>(static_cast<const char*>(end) - piece));
    text.append(piece, length);
    from += length;
  }
  return std::nullopt;
}

bool end_failed_copy(ucontext_t& context) {
  greg_t& rip = context.uc_mcontext.gregs[REG_RIP];
  const auto* const at = reinterpret_cast<const char*>(rip);
  if (at == gallocy_copy_at) return rip = reinterpret_cast<greg_t>(gallocy_copy_end), true;
  if (at == gallocy_zero_at) return rip = reinterpret_cast<greg_t>(gallocy_zero_end), true;
  return false;
}

std::optional<CopyUnderWay> copy_under_way(const ucontext_t& context) {
  const greg_t* const r = context.uc_mcontext.gregs;
  const auto* const at = reinterpret_cast<const char*>(r[REG_RIP]);
  if (at != gallocy_copy_at && at != gallocy_zero_at) return std::nullopt;
  CopyUnderWay copy{.to = static_cast<std::uint64_t>(r[REG_RDI]), .bytes = static_cast<std::size_t>(r[REG_RCX])};
  copy.bytes = std::min<std::size_t>(copy.bytes, kPageBytes - copy.to % kPageBytes);
  if (at == gallocy_zero_at) return copy;
  copy.from = static_cast<std::uint64_t>(r[REG_RSI]);
  copy.bytes = std::min<std::size_t>(copy.bytes, kPageBytes - copy.from % kPageBytes);
  return copy;
}

void finish_copy(ucontext_t& context, std::size_t bytes) {
  greg_t* const r = context.uc_mcontext.gregs;
  const auto done = static_cast<greg_t>(bytes);
  if (reinterpret_cast<const char*>(r[REG_RIP]) == gallocy_copy_at) r[REG_RSI] += done;
  r[REG_RDI] += done;
  r[REG_RCX] -= done;
}

}  // namespace gallocy::personality
