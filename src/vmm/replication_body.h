// What the replications share: bodies of their messages, and the error of one that makes no sense.
#pragma once

#include <fmt/format.h>

#include <span>
#include <string_view>

#include "base/result.h"
#include "vmm/record.h"

namespace gallocy::vmm {

inline tl::unexpected<Error> garbled(std::string_view what) {
  return fail(ErrorCode::kProtocol, fmt::format("VMM log: {}", what));
}

template <typename Body>
Bytes body_of(const Body& fixed, std::span<const std::byte> tail = {}) {
  Bytes body;
  body.reserve(sizeof fixed + tail.size());
  wire::ByteWriter writer(body);
  writer.put(fixed);
  writer.put_bytes(tail);
  return body;
}

}  // namespace gallocy::vmm
