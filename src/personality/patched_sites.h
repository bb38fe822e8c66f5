// PatchedSites: which of the program's system call instructions are replaced by a jump, and by which. Pure.
//
// A system call that traps costs a signal. Where the instruction before `syscall` is one of two known ones of five
// bytes, both together can become a jump of seven bytes through a pointer at a fixed low address:
//
//     b8 NN NN NN NN  0f 05      mov $number, %eax; syscall            (nearly all sites of C libraries)
//     4c 8b 4c 24 08  0f 05      mov 8(%rsp), %r9; syscall             (glibc's syscall(3): the number is in rax)
//     ff 24 25 SS SS  0f 05      jmp *0x050fSSSS
//
// The last two bytes stay: a thread that is between the two instructions, or comes back to repeat the call, executes
// `syscall` and traps. The idea of patching at the first trap is lazypoline's (Jacobs et al., DSN 2024); the shape of
// the jump needs neither page zero (zpoline) nor relocated code.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>

namespace gallocy::personality {

inline constexpr std::size_t kSiteBytes = 7;
inline constexpr std::size_t kCallBytes = 2;  // of `syscall`
inline constexpr std::uint64_t kSlotTable = 0x050f'0000;
inline constexpr std::uint32_t kNumberedSlots = 1008, kOpenSlots = 16, kSlots = kNumberedSlots + kOpenSlots;
inline constexpr int kNumberInRax = -1;

struct PatchedSite {
  std::uint64_t call_at = 0;  // of the two bytes of `syscall`; 0: the slot is not known yet
  std::int32_t number = 0;    // of the system call, or kNumberInRax
  std::int32_t reserved = 0;
  friend bool operator==(const PatchedSite&, const PatchedSite&) = default;
};

// The site whose `syscall` is at call_at and has trapped with this number; nothing if it cannot be patched. `bytes`:
// those at call_at - 5.
std::optional<PatchedSite> recognize_site(std::uint64_t call_at, long number,
                                          std::span<const std::byte, kSiteBytes> bytes);
// What replaces the site's bytes.
std::array<std::byte, kSiteBytes> patched_bytes(std::uint32_t slot);

// The home's: slots are never given back, so that a stale copy of a page leads nowhere wrong.
class PatchedSites {
 public:
  // The same for the same site; nothing when all are taken.
  std::optional<std::uint32_t> slot_for(const PatchedSite& site);

 private:
  struct Hash {
    std::size_t operator()(const PatchedSite& s) const {
      return s.call_at * 0x9e3779b97f4a7c15u + static_cast<std::uint32_t>(s.number);
    }
  };
  std::unordered_map<PatchedSite, std::uint32_t, Hash> slots_;
  std::uint32_t next_numbered_ = 0, next_open_ = kNumberedSlots;
};

}  // namespace gallocy::personality
