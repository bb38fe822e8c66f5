// What visitors of an open cluster and members say to each other, and the addresses of members. The first byte of the
// input chooses.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "net/open_cluster.h"
#include "wire/visit.h"

namespace {

using Input = std::span<const std::byte>;

template <typename T>
void fuzz_message(Input bytes) {
  T message;
  if (gallocy::wire::decode(bytes, message)) CHECK(std::ranges::equal(bytes, gallocy::wire::encode(message)));
}

void fuzz_address(std::string_view text) {
  const auto address = gallocy::net::parse_address("it", text);
  if (!address) return;
  const auto again = gallocy::net::parse_address("it", gallocy::net::to_string(*address));
  CHECK(again && again->host == address->host && again->port == address->port, text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  switch (data[0] % 5) {
    case 0:
      fuzz_message<gallocy::wire::LeaveRequest>(bytes);
      break;
    case 1:
      fuzz_message<gallocy::wire::Refusal>(bytes);
      break;
    case 2:
      fuzz_message<gallocy::wire::Returning>(bytes);
      break;
    case 3:
      fuzz_message<gallocy::wire::GoesOn>(bytes);
      break;
    default:
      fuzz_address({reinterpret_cast<const char*>(data) + 1, size - 1});
  }
  return 0;
}
