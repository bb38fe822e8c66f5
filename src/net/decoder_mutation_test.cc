// The decoders under random changes of valid input; tests/fuzz goes deeper, where there is clang and time.
#include <gtest/gtest.h>

#include "net/decoder_drive.h"

namespace gallocy::net::testing {
namespace {

using Bytes = std::vector<std::byte>;

Bytes random_frames(Prng& prng) {
  Bytes bytes;
  for (std::uint64_t i = prng.below(6); i > 0; --i) {
    wire::FrameHeader header{.type = static_cast<std::uint16_t>(prng())};
    header.body_bytes = static_cast<std::uint32_t>(prng.below(prng.one_in(8) ? wire::kMaxBodyBytes + 1 : 100));
    header.payload_bytes = static_cast<std::uint32_t>(prng.below(prng.one_in(8) ? wire::kMaxPayloadBytes + 1 : 5000));
    if (prng.one_in(3)) header.payload_bytes = 0;
    const auto head = std::as_bytes(std::span(&header, 1));
    bytes.insert(bytes.end(), head.begin(), head.end());
    for (std::size_t n = header.body_bytes + header.payload_bytes; n > 0; --n) bytes.push_back(std::byte(prng()));
  }
  return bytes;
}

void mutate(Bytes& bytes, Prng& prng) {
  for (std::uint64_t i = prng.below(4); i > 0 && !bytes.empty(); --i) {
    const auto at = static_cast<std::ptrdiff_t>(prng.below(bytes.size()));
    switch (prng.below(4)) {
      case 0:
        bytes[static_cast<std::size_t>(at)] ^= std::byte(1u << prng.below(8));
        break;
      case 1:
        bytes.resize(static_cast<std::size_t>(at));
        break;
      case 2:
        bytes.erase(bytes.begin() + at);
        break;
      default:
        bytes.insert(bytes.begin() + at, std::byte(prng()));
    }
  }
}

TEST(DecoderMutationTest, frame_reader_equals_its_plain_twin) {
  for (std::uint64_t seed = 0; seed < 1500; ++seed) {
    SCOPED_TRACE(seed);
    Prng prng(seed);
    Bytes bytes = random_frames(prng);
    if (!prng.one_in(4)) mutate(bytes, prng);
    drive_frame_reader(seed, bytes);
  }
}

Bytes to_bytes(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return Bytes(bytes.begin(), bytes.end());
}

// What each side says in a handshake that succeeds.
struct Transcript {
  Bytes dialer, acceptor;
};
Transcript transcript() {
  const HandshakePair pair;
  auto dialer = Handshake::dialer(pair.dialer_identity, NodeId{0}, HandshakePair::nonce(1));
  auto acceptor = Handshake::acceptor(pair.acceptor_identity, HandshakePair::nonce(2), nullptr);
  Transcript said;
  std::size_t heard_by_dialer = 0, heard_by_acceptor = 0;
  while (dialer.state() == Handshake::State::kRunning || acceptor.state() == Handshake::State::kRunning) {
    for (const std::byte b : to_bytes(dialer.take_output())) said.dialer.push_back(b);
    for (const std::byte b : to_bytes(acceptor.take_output())) said.acceptor.push_back(b);
    const auto feed = [](Handshake& to, const Bytes& from, std::size_t& heard) {
      const std::size_t wanted = to.wanted();
      if (wanted == 0 || from.size() - heard < wanted) return;
      to.receive(std::span(from).subspan(heard, wanted));
      heard += wanted;
    };
    feed(acceptor, said.dialer, heard_by_acceptor);
    feed(dialer, said.acceptor, heard_by_dialer);
  }
  CHECK(dialer.state() == Handshake::State::kDone && acceptor.state() == Handshake::State::kDone);
  return said;
}

TEST(DecoderMutationTest, a_changed_recording_never_gets_in) {
  const Transcript valid = transcript();
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    SCOPED_TRACE(seed);
    Prng prng(seed);
    const bool is_dialer = prng.one_in(2);
    Bytes bytes = is_dialer ? valid.acceptor : valid.dialer;
    const Bytes original = bytes;
    mutate(bytes, prng);
    const bool begins_alike =
        bytes.size() >= original.size() && std::equal(original.begin(), original.end(), bytes.begin());
    if (!begins_alike) drive_handshake(is_dialer, bytes);
  }
}

TEST(DecoderMutationTest, every_single_bit_of_the_handshake_matters) {
  const Transcript valid = transcript();
  for (const bool is_dialer : {false, true}) {
    Bytes bytes = is_dialer ? valid.acceptor : valid.dialer;
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      SCOPED_TRACE(bit);
      bytes[bit / 8] ^= std::byte(1u << bit % 8);
      drive_handshake(is_dialer, bytes);
      bytes[bit / 8] ^= std::byte(1u << bit % 8);
    }
  }
}

}  // namespace
}  // namespace gallocy::net::testing
