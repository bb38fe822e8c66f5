// Operations on a word of global memory, carried out at the home of its page.
#pragma once

#include <cstdint>

namespace gallocy::wire {

struct AtomicRequest {
  std::uint64_t address = 0;  // aligned to `width`
  std::uint64_t operand = 0;
  std::uint64_t expected = 0;   // compare-exchange
  std::uint64_t ticket = 0;     // of the requester, given back in the reply
  std::uint16_t requester = 0;  // a former home passes requests on
  std::uint8_t width = 0;       // 4 or 8
  std::uint8_t operation = 0;   // sync_detail::AtomicOperation
  std::uint32_t reserved = 0;
};
static_assert(sizeof(AtomicRequest) == 40);

struct AtomicReply {
  std::uint64_t ticket = 0;
  std::uint64_t before = 0;
};
static_assert(sizeof(AtomicReply) == 16);

}  // namespace gallocy::wire
