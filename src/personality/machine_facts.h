// MachineFacts: what one node's machine gives to the huge machine that a program sees in process mode. A node reads its
// own facts once when it joins (machine_facts), sends them in the join (encode), and the program's home builds the view
// of all (MachineView). Plain values; any thread.
//
//   auto bytes = personality::encode(personality::machine_facts(budget_bytes));   // on every node
//   auto facts = personality::decode(bytes);                                      // at home
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "wire/bytes.h"

namespace gallocy::personality {

// Bounds of what a decoder accepts of one machine. Linux on x86-64 has at most 8192 processors; an x86 processor shows
// at most five caches.
inline constexpr unsigned kMaxNodeProcessors = 8192;
inline constexpr unsigned kMaxNodeCaches = 8;

enum class CacheType : std::uint8_t { kData, kInstruction, kUnified };

// One cache as a processor sees it. Sharing is by whole cores: cores 0 … n-1 of the node share one, n … 2n-1 the next.
struct CacheFacts {
  std::uint8_t level = 1;  // 1 … 4
  CacheType type = CacheType::kUnified;
  std::uint64_t bytes = 0;
  std::uint32_t line_bytes = 64;
  std::uint32_t sets = 0;
  std::uint32_t ways = 0;
  std::uint32_t sharing_cores = 1;  // at least 1
  bool operator==(const CacheFacts&) const = default;
};

struct MachineFacts {
  // How many processors it contributes: those the process may run on. Processor k is the k-th of its affinity.
  std::uint32_t processors = 1;
  // The core of each processor, numbered from 0 within the node without holes; two hardware threads have the same one.
  // Empty: a core each.
  std::vector<std::uint16_t> cores{};
  std::uint64_t memory_bytes = 0;       // that it contributes
  std::uint64_t free_bytes = 0;         // of memory_bytes, when it was asked
  std::uint64_t boot_unix_seconds = 0;  // when the machine was booted
  std::uint64_t up_seconds = 0;         // since then, when it was asked
  std::string cpuinfo{};                // the block of its first processor in /proc/cpuinfo, without the empty line
  std::string kernel_release{};         // "6.1.0-18-amd64"
  std::vector<CacheFacts> caches{};     // of its first processor, in the order of the kernel's indexes
  bool operator==(const MachineFacts&) const = default;

  std::uint32_t core_of(std::uint32_t processor) const { return cores.empty() ? processor : cores[processor]; }
  std::uint32_t core_count() const;
};

// This process's machine. What cannot be read keeps its default (a bare cpuinfo block, no caches): programs manage with
// less, so nothing of it is an error. `memory_bytes` is the node's budget; free_bytes is no more than it. `root` is
// where proc and sys are mounted; tests give a made-up one.
MachineFacts machine_facts(std::uint64_t memory_bytes, const std::filesystem::path& root = "/");

// The bytes of a message. Texts beyond 65 535 bytes are cut.
wire::Bytes encode(const MachineFacts& facts);

// Nothing for what encode() cannot have made: cut off, too long, or numbers out of their bounds. Safe for any bytes.
std::optional<MachineFacts> decode(std::span<const std::byte> bytes);

}  // namespace gallocy::personality
