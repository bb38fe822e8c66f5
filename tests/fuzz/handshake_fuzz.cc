// The handshake with a stranger, as dialer and as acceptor; the first byte of the input chooses.
#include <cstdint>

#include "net/decoder_drive.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  gallocy::net::testing::drive_handshake(data[0] % 2 == 0, std::as_bytes(std::span(data, size)).subspan(1));
  return 0;
}
