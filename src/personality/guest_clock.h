// The program's clock: what its vDSO (vdso/guest_vdso.c) leads to on each node.
//
// Processors of different machines count time from different starts. A node's offset makes CLOCK_MONOTONIC and its kin
// the home's everywhere, so that time does not run backwards for a program that compares readings of two threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace gallocy::personality {

inline constexpr std::size_t kClockFunctions = 5;

// Addresses of clock_gettime, gettimeofday, time, getcpu, clock_getres; they use no thread-local data.
void fill_clock_functions(std::span<const void*, kClockFunctions> functions);
// Of this node: home's CLOCK_MONOTONIC minus ours, ns; and its number, and that of its first processor.
void set_clock_offset(std::int64_t ns);
std::int64_t clock_offset();
void set_processor_numbers(unsigned node, unsigned first_processor);

// The vDSO's image, one page at most.
std::span<const std::byte> vdso_image();

}  // namespace gallocy::personality
