#include "net/rendezvous_frames.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace gallocy::net::rendezvous {
namespace {

struct Header {
  std::uint32_t body_bytes = 0;
  std::uint16_t type = 0;
  std::uint16_t zero = 0;
};
static_assert(sizeof(Header) == kHeaderBytes);

// Of one length, so that no input under one label is an input under another.
constexpr std::string_view kNodeLabel = "gallocy link: node     ";
constexpr std::string_view kLauncherLabel = "gallocy link: launcher ";
constexpr std::string_view kKeyLabel = "gallocy link: frame key";
static_assert(kNodeLabel.size() == kLauncherLabel.size() && kNodeLabel.size() == kKeyLabel.size());

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

tl::unexpected<Error> broken(std::string_view what) {
  return fail(ErrorCode::kProtocol, fmt::format("broken launcher link: {}", what));
}

}  // namespace

Proof prove(std::string_view secret, Side side, const Hello& hello, const Nonce& challenge) {
  const auto label = side == Side::kNode ? kNodeLabel : kLauncherLabel;
  return hmac_sha256(secret, {bytes_of(label), bytes_of(hello), bytes_of(challenge)});
}

void SealedStream::seal(std::string_view secret, const Hello& hello, const Nonce& challenge) {
  CHECK(!sealed_);
  key_ = hmac_sha256(secret, {bytes_of(kKeyLabel), bytes_of(hello), bytes_of(challenge)});
  sealed_ = true;
}

SealedStream::Tag SealedStream::tag(Side from, std::uint64_t sequence,
                                    std::span<const std::byte> header_and_body) const {
  const std::string_view key(reinterpret_cast<const char*>(key_.data()), key_.size());
  const auto full = hmac_sha256(key, {bytes_of(from), bytes_of(sequence), header_and_body});
  Tag tag;
  std::copy_n(full.begin(), tag.size(), tag.begin());
  return tag;
}

void SealedStream::encode(FrameType type, std::span<const std::byte> body, wire::Bytes& out) {
  CHECK(body.size() <= kMaxBodyBytes, body.size());
  const std::size_t start = out.size();
  wire::ByteWriter writer(out);
  writer.put(Header{.body_bytes = static_cast<std::uint32_t>(body.size()), .type = static_cast<std::uint16_t>(type)});
  writer.put_bytes(body);
  if (sealed_) writer.put(tag(self_, sent_++, std::span(out).subspan(start)));
}

Result<std::optional<Frame>> SealedStream::next() {
  Header header;
  if (in_.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, in_.data(), sizeof header);
  if (header.body_bytes > (sealed_ ? kMaxBodyBytes : kMaxStrangerBodyBytes)) return broken("frame too long");
  if (header.zero != 0 || header.type < static_cast<std::uint16_t>(FrameType::kHello) ||
      header.type > static_cast<std::uint16_t>(FrameType::kFarewell)) {
    return broken("unknown frame");
  }
  const std::size_t plain_bytes = sizeof header + header.body_bytes;
  const std::size_t bytes = plain_bytes + (sealed_ ? kTagBytes : 0);
  if (in_.size() < bytes) return std::nullopt;

  const std::span whole(in_);
  if (sealed_) {
    const Side other = self_ == Side::kNode ? Side::kLauncher : Side::kNode;
    if (!equal_macs(tag(other, received_++, whole.first(plain_bytes)), whole.subspan(plain_bytes, kTagBytes))) {
      return broken("a frame was changed on its way");
    }
  }
  const auto body = whole.subspan(sizeof header, header.body_bytes);
  Frame frame{static_cast<FrameType>(header.type), {body.begin(), body.end()}};
  in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(bytes));
  return frame;
}

wire::Bytes encode_addresses(const std::vector<PeerAddress>& addresses) {
  wire::Bytes body;
  wire::ByteWriter writer(body);
  writer.put(static_cast<std::uint16_t>(addresses.size()));
  for (const auto& address : addresses) {
    CHECK(address.host.size() <= kMaxHostBytes, address.host.size());
    writer.put_text(address.host);
    writer.put(address.port);
  }
  return body;
}

Result<std::vector<PeerAddress>> decode_addresses(std::span<const std::byte> body) {
  wire::ByteReader reader(body);
  std::vector<PeerAddress> addresses(std::min<std::size_t>(reader.get<std::uint16_t>(), kMaxNodes));
  for (auto& address : addresses) {
    address.host = reader.get_text();
    address.port = reader.get<std::uint16_t>();
    if (address.host.size() > kMaxHostBytes) return broken("host name too long");
  }
  if (!reader.done()) return broken("bad list of addresses");
  return addresses;
}

wire::Bytes encode_nodes(const std::vector<NodeId>& nodes) {
  wire::Bytes body;
  wire::ByteWriter writer(body);
  for (const auto node : nodes) writer.put(node.value);
  return body;
}

Result<std::vector<NodeId>> decode_nodes(std::span<const std::byte> body) {
  wire::ByteReader reader(body);
  if (body.size() % sizeof(NodeId::value_type) != 0 || body.size() > kMaxNodes * sizeof(NodeId::value_type)) {
    return broken("bad list of nodes");
  }
  std::vector<NodeId> nodes(body.size() / sizeof(NodeId::value_type));
  for (auto& node : nodes) node.value = reader.get<std::uint16_t>();
  return nodes;
}

wire::Bytes encode_loss(const Loss& loss) {
  wire::Bytes body;
  wire::ByteWriter writer(body);
  writer.put(loss.peer.value);
  writer.put_text(std::string_view(loss.reason).substr(0, 1024));
  return body;
}

Result<Loss> decode_loss(std::span<const std::byte> body) {
  wire::ByteReader reader(body);
  Loss loss{.peer = NodeId{reader.get<std::uint16_t>()}, .reason = reader.get_text()};
  if (!reader.done()) return broken("bad report of a lost peer");
  return loss;
}

std::string name_nodes(const std::vector<NodeId>& nodes) {
  constexpr std::size_t kMostNamed = 8;
  std::string text = nodes.size() == 1 ? "node " : "nodes ";
  const std::size_t named = nodes.size() > kMostNamed + 1 ? kMostNamed : nodes.size();
  for (std::size_t i = 0; i < named; ++i) {
    if (i > 0) text += i + 1 == nodes.size() ? " and " : ", ";
    text += fmt::format("{}", nodes[i]);
  }
  if (named < nodes.size()) text += fmt::format(" and {} more", nodes.size() - named);
  return text;
}

}  // namespace gallocy::net::rendezvous
