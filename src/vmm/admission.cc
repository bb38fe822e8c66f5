#include "vmm/admission.h"

#include "vmm/replication_body.h"

namespace gallocy::vmm {
namespace {

using wire::ByteReader;
using wire::ByteWriter;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

Frame refused(std::uint64_t newcomer, const Error& error) {
  const wire::VmmRefused head{.newcomer = newcomer, .code = static_cast<std::uint32_t>(error.code)};
  const auto reason = std::string_view(error.message).substr(0, wire::kMaxBodyBytes - sizeof head);
  return {wire::kVmmRefused, body_of(head, bytes_of(reason))};
}

// As many peers from `first` on as one frame holds.
Frame admitted_from(std::uint64_t newcomer, const Admitted& answer, std::size_t first) {
  wire::VmmAdmitted head{.newcomer = newcomer,
                         .life = answer.life,
                         .node = answer.node.value,
                         .first = static_cast<std::uint32_t>(first),
                         .total = static_cast<std::uint32_t>(answer.peers.size()),
                         .epoch = answer.epoch.value,
                         .cluster = answer.cluster,
                         .shards = answer.shards};
  Bytes tail;
  ByteWriter writer(tail);
  for (std::size_t i = first; i < answer.peers.size(); ++i) {
    const Peer& peer = answer.peers[i];
    if (sizeof head + tail.size() + sizeof(wire::VmmPeer) + peer.address.size() > wire::kMaxBodyBytes) break;
    writer.put(wire::VmmPeer{
        .life = peer.life, .node = peer.node.value, .address_bytes = static_cast<std::uint16_t>(peer.address.size())});
    writer.put_bytes(bytes_of(peer.address));
    ++head.count;
  }
  return {wire::kVmmAdmitted, body_of(head, tail)};
}

}  // namespace

Admitted admitted(const Machine& machine, const Outcome& outcome) {
  Admitted answer{.node = outcome.node, .life = outcome.life, .epoch = machine.epoch()};
  for (const NodeId node : machine.members()) {
    const Member& member = *machine.member(node);
    if (node != outcome.node) answer.peers.push_back({node, member.life, member.address});
  }
  return answer;
}

Frame encode(const Wish& wish) {
  return {wire::kVmmAdmit, body_of(wire::VmmAdmit{.newcomer = wish.newcomer,
                                                  .life = wish.life,
                                                  .node = wish.node.value,
                                                  .on_disk = wish.on_disk,
                                                  .kept = wish.kept.value},
                                   bytes_of(wish.address))};
}

Result<Wish> decode_wish(std::span<const std::byte> body) {
  ByteReader reader(body);
  const auto head = reader.get<wire::VmmAdmit>();
  Wish wish{head.newcomer, NodeId{head.node}, text_of(reader.get_bytes(reader.left())),
            head.life,     Epoch{head.kept},  head.on_disk != 0};
  if (!reader.done() || head.on_disk > 1 || wish.newcomer == 0 || !validate(entry_of(wish)))
    return garbled("a wish to join that is none");
  return wish;
}

std::vector<Frame> encode(std::uint64_t newcomer, const Result<Admitted>& answer) {
  if (!answer) return {refused(newcomer, answer.error())};
  std::vector<Frame> frames;
  std::size_t sent = 0;
  do {
    frames.push_back(admitted_from(newcomer, *answer, sent));
    sent += ByteReader(frames.back().body).get<wire::VmmAdmitted>().count;
  } while (sent < answer->peers.size());
  return frames;
}

Result<bool> AnswerReader::take(wire::MessageType type, std::span<const std::byte> body) {
  if (type == wire::kVmmAdmitted) return take_admitted(ByteReader(body));
  if (type == wire::kVmmRefused) return take_refused(ByteReader(body));
  return garbled("no answer to a wish to join");
}

Result<bool> AnswerReader::take_admitted(ByteReader reader) {
  const auto head = reader.get<wire::VmmAdmitted>();
  Admitted answer{NodeId{head.node}, head.life, Epoch{head.epoch}, head.cluster, head.shards, {}};
  if (head.first != 0 && answer_) answer.peers = answer_->peers;
  const bool continues = head.first == answer.peers.size();
  for (unsigned i = 0; i < head.count && reader.ok(); ++i) {
    const auto peer = reader.get<wire::VmmPeer>();
    answer.peers.push_back({NodeId{peer.node}, peer.life, text_of(reader.get_bytes(peer.address_bytes))});
  }
  if (!reader.done() || head.newcomer != newcomer_ || !continues || head.total >= kMaxNodes ||
      answer.peers.size() > head.total || answer.node.value >= kMaxNodes || head.shards == 0 ||
      head.shards > wire::kMaxShards)
    return garbled("an answer to a wish to join that makes no sense");
  answer_ = std::move(answer);
  return answer_->peers.size() == head.total;
}

Result<bool> AnswerReader::take_refused(ByteReader reader) {
  const auto head = reader.get<wire::VmmRefused>();
  std::string reason = text_of(reader.get_bytes(reader.left()));
  if (!reader.done() || head.newcomer != newcomer_ || head.code == 0)
    return garbled("a refusal of a wish to join that makes no sense");
  answer_ = fail(static_cast<ErrorCode>(head.code), std::move(reason));
  return true;
}

}  // namespace gallocy::vmm
