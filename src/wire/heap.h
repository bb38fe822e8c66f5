// The body of kHeapRemoteFree, from a node that freed objects to the node that owns them: the objects' addresses, and
// nothing else. It is not answered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "wire/frame.h"

namespace gallocy::wire {

inline constexpr std::size_t kMaxRemoteFrees = 256;
static_assert(kMaxRemoteFrees * sizeof(std::uint64_t) <= kMaxBodyBytes);

inline std::span<const std::byte> encode_remote_frees(std::span<const std::uint64_t> addresses) {
  return std::as_bytes(addresses);
}

// Copies the addresses to `out` and returns their number; nothing if the body is not one. The addresses may be
// anything.
inline std::optional<std::size_t> decode_remote_frees(std::span<const std::byte> body,
                                                      std::span<std::uint64_t, kMaxRemoteFrees> out) {
  if (body.empty() || body.size() % sizeof(std::uint64_t) != 0 || body.size() > out.size_bytes()) return {};
  std::memcpy(out.data(), body.data(), body.size());
  return body.size() / sizeof(std::uint64_t);
}

}  // namespace gallocy::wire
