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
// Of this node: home's CLOCK_MONOTONIC minus ours, ns.
void set_clock_offset(std::int64_t ns);
std::int64_t clock_offset();
// Whether the clock counts from the machine's start, so that the offset is to be added to its readings.
bool counts_from_start(long clock);
// Processors of this node are numbered from `first` on in the order of `processors`, which are the kernel's numbers.
// Until this is called, processors and nodes are the kernel's.
void set_processor_numbers(unsigned node, unsigned first, std::span<const unsigned> processors);
unsigned processor_number(unsigned of_kernel);

// The vDSO's image, one page at most.
std::span<const std::byte> vdso_image();

}  // namespace gallocy::personality
