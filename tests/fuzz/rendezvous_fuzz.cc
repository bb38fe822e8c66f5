// What a stranger, and what a node, may say on the launcher link: frames before and after the handshake, cut into
// parts, and the bodies of frames. The first byte of the input chooses; the second says how long the parts are.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "net/rendezvous_frames.h"

namespace gallocy::net::rendezvous {
namespace {

using Input = std::span<const std::byte>;

bool same(Input a, const wire::Bytes& b) { return std::ranges::equal(a, b); }

// What is accepted comes out as it was said.
void fuzz_stranger(Input bytes, std::size_t part) {
  SealedStream stream(Side::kLauncher), twin(Side::kNode);
  wire::Bytes said;
  std::size_t taken = 0;
  for (Input left = bytes; !left.empty(); left = left.subspan(std::min(part, left.size()))) {
    stream.feed(left.first(std::min(part, left.size())));
    for (;;) {
      const auto frame = stream.next();
      if (!frame) return;
      if (!*frame) break;
      CHECK((*frame)->body.size() <= kMaxStrangerBodyBytes, (*frame)->body.size());
      said.clear();
      twin.encode((*frame)->type, (*frame)->body, said);
      CHECK(same(bytes.subspan(taken, said.size()), said), taken);
      taken += said.size();
    }
  }
}

// Without the key of the connection nothing is accepted.
void fuzz_sealed(Input bytes) {
  SealedStream stream(Side::kLauncher);
  stream.seal("the secret of this cluster", Hello{}, Nonce{});
  stream.feed(bytes);
  const auto frame = stream.next();
  CHECK(!frame || !*frame);
}

void fuzz_bodies(Input bytes) {
  if (const auto addresses = decode_addresses(bytes); addresses && addresses->size() <= kMaxNodes) {
    const wire::Bytes again = encode_addresses(*addresses);
    CHECK(same(bytes, again), bytes.size(), again.size());
  }
  if (const auto nodes = decode_nodes(bytes)) {
    CHECK(same(bytes, encode_nodes(*nodes)));
    (void)name_nodes(*nodes);
  }
  if (const auto loss = decode_loss(bytes); loss && loss->reason.size() <= 1024) CHECK(same(bytes, encode_loss(*loss)));
}

}  // namespace
}  // namespace gallocy::net::rendezvous

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gallocy::net::rendezvous;
  if (size < 2) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(2);
  switch (data[0] % 3) {
    case 0:
      fuzz_stranger(bytes, 1u + data[1]);
      break;
    case 1:
      fuzz_sealed(bytes);
      break;
    default:
      fuzz_bodies(bytes);
  }
  return 0;
}
