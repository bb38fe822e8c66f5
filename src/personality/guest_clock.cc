#include "personality/guest_clock.h"

#include <elf.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "personality/affinity.h"
#include "personality/guest_entry.h"

asm(".section .rodata\n"
    "gallocy_vdso: .incbin \"" GALLOCY_VDSO
    "\"\n"
    "gallocy_vdso_end:\n"
    ".text\n");
extern "C" const std::byte gallocy_vdso[], gallocy_vdso_end[];

namespace gallocy::personality {
namespace {

using ClockGettime = int (*)(clockid_t, timespec*);
using Gettimeofday = int (*)(timeval*, void*);
using Time = time_t (*)(time_t*);
using Getcpu = int (*)(unsigned*, unsigned*, void*);
using ClockGetres = int (*)(clockid_t, timespec*);

// The kernel's own vDSO of this node.
struct Kernel {
  ClockGettime clock_gettime = nullptr;
  Gettimeofday gettimeofday = nullptr;
  Time time = nullptr;
  Getcpu getcpu = nullptr;
  ClockGetres clock_getres = nullptr;
};
Kernel g_kernel;  // constant once the program runs, as all below
std::int64_t g_offset_ns = 0;
bool g_has_numbers = false;
unsigned g_node = 0;
unsigned g_numbers[ProcessorMask::kMost];  // by the kernel's number

// The entries of the ELF symbol table of the image that the kernel mapped (System V ABI, chapter 5).
void find_kernel_functions() {
  const std::uint64_t base = ::getauxval(AT_SYSINFO_EHDR);
  if (base == 0) return;
  const auto* const header = reinterpret_cast<const Elf64_Ehdr*>(base);
  const auto* const segments = reinterpret_cast<const Elf64_Phdr*>(base + header->e_phoff);
  std::uint64_t bias = base;
  const Elf64_Dyn* dynamic = nullptr;
  for (int i = 0; i < header->e_phnum; ++i) {
    if (segments[i].p_type == PT_LOAD) bias = base + segments[i].p_offset - segments[i].p_vaddr;
    if (segments[i].p_type == PT_DYNAMIC) dynamic = reinterpret_cast<const Elf64_Dyn*>(base + segments[i].p_offset);
  }
  const Elf64_Sym* symbols = nullptr;
  const char* names = nullptr;
  const std::uint32_t* hash = nullptr;
  for (; dynamic != nullptr && dynamic->d_tag != DT_NULL; ++dynamic) {
    const std::uint64_t at = bias + dynamic->d_un.d_ptr;
    if (dynamic->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const Elf64_Sym*>(at);
    if (dynamic->d_tag == DT_STRTAB) names = reinterpret_cast<const char*>(at);
    if (dynamic->d_tag == DT_HASH) hash = reinterpret_cast<const std::uint32_t*>(at);
  }
  if (symbols == nullptr || names == nullptr || hash == nullptr) return;
  for (std::uint32_t i = 0; i < hash[1]; ++i) {
    const char* const name = names + symbols[i].st_name;
    const std::uint64_t at = bias + symbols[i].st_value;
    if (std::strcmp(name, "__vdso_clock_gettime") == 0) g_kernel.clock_gettime = reinterpret_cast<ClockGettime>(at);
    if (std::strcmp(name, "__vdso_gettimeofday") == 0) g_kernel.gettimeofday = reinterpret_cast<Gettimeofday>(at);
    if (std::strcmp(name, "__vdso_time") == 0) g_kernel.time = reinterpret_cast<Time>(at);
    if (std::strcmp(name, "__vdso_getcpu") == 0) g_kernel.getcpu = reinterpret_cast<Getcpu>(at);
    if (std::strcmp(name, "__vdso_clock_getres") == 0) g_kernel.clock_getres = reinterpret_cast<ClockGetres>(at);
  }
}

// These run as the program's code, with its fs register. Where the kernel has no such function, the system call traps.
#define AS_PROGRAM __attribute__((optimize("no-stack-protector")))

}  // namespace

AS_PROGRAM bool counts_from_start(long clock) {
  return clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_MONOTONIC_COARSE ||
         clock == CLOCK_BOOTTIME;
}

namespace {

AS_PROGRAM int guest_clock_gettime(clockid_t clock, timespec* time) {
  const int failed = g_kernel.clock_gettime != nullptr
                         ? g_kernel.clock_gettime(clock, time)
                         : static_cast<int>(raw_system_call(SYS_clock_gettime, clock, reinterpret_cast<long>(time)));
  if (failed != 0 || g_offset_ns == 0 || !counts_from_start(clock)) return failed;
  const std::int64_t ns = time->tv_sec * 1'000'000'000 + time->tv_nsec + g_offset_ns;
  time->tv_sec = ns / 1'000'000'000;
  time->tv_nsec = ns % 1'000'000'000;
  return 0;
}

AS_PROGRAM int guest_gettimeofday(timeval* time, void* zone) {
  if (g_kernel.gettimeofday != nullptr) return g_kernel.gettimeofday(time, zone);
  return static_cast<int>(
      raw_system_call(SYS_gettimeofday, reinterpret_cast<long>(time), reinterpret_cast<long>(zone)));
}

AS_PROGRAM time_t guest_time(time_t* time) {
  if (g_kernel.time != nullptr) return g_kernel.time(time);
  return raw_system_call(SYS_time, reinterpret_cast<long>(time));
}

AS_PROGRAM int guest_getcpu(unsigned* processor, unsigned* node, void*) {
  if (g_kernel.getcpu == nullptr) {
    return static_cast<int>(
        raw_system_call(SYS_getcpu, reinterpret_cast<long>(processor), reinterpret_cast<long>(node)));
  }
  if (!g_has_numbers) return g_kernel.getcpu(processor, node, nullptr);
  unsigned own = 0;
  (void)g_kernel.getcpu(&own, nullptr, nullptr);
  if (processor != nullptr) *processor = g_numbers[own % ProcessorMask::kMost];
  if (node != nullptr) *node = g_node;
  return 0;
}

AS_PROGRAM int guest_clock_getres(clockid_t clock, timespec* time) {
  if (g_kernel.clock_getres != nullptr) return g_kernel.clock_getres(clock, time);
  return static_cast<int>(raw_system_call(SYS_clock_getres, clock, reinterpret_cast<long>(time)));
}

}  // namespace

void fill_clock_functions(std::span<const void*, kClockFunctions> functions) {
  static const bool found = (find_kernel_functions(), true);
  (void)found;
  functions[0] = reinterpret_cast<const void*>(guest_clock_gettime);
  functions[1] = reinterpret_cast<const void*>(guest_gettimeofday);
  functions[2] = reinterpret_cast<const void*>(guest_time);
  functions[3] = reinterpret_cast<const void*>(guest_getcpu);
  functions[4] = reinterpret_cast<const void*>(guest_clock_getres);
}

void set_clock_offset(std::int64_t ns) { g_offset_ns = ns; }
std::int64_t clock_offset() { return g_offset_ns; }

void set_processor_numbers(unsigned node, unsigned first, std::span<const unsigned> processors) {
  g_node = node;
  std::ranges::fill(g_numbers, first);  // for one that came on line later
  for (unsigned k = 0; k < processors.size(); ++k) g_numbers[processors[k]] = first + k;
  g_has_numbers = true;
}

unsigned processor_number(unsigned of_kernel) { return g_numbers[of_kernel % ProcessorMask::kMost]; }

std::span<const std::byte> vdso_image() { return {gallocy_vdso, gallocy_vdso_end}; }

}  // namespace gallocy::personality
