// Frames from a peer, cut into parts as a network might. The first eight bytes of the input are the seed of the cuts.
#include <cstdint>
#include <cstring>

#include "net/decoder_drive.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::uint64_t seed = 0;
  if (size < sizeof seed) return 0;
  std::memcpy(&seed, data, sizeof seed);
  gallocy::net::testing::drive_frame_reader(seed, std::as_bytes(std::span(data, size)).subspan(sizeof seed));
  return 0;
}
