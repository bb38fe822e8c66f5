// Admission: how a process that is not a member becomes one. It asks any member, its contact (VmmAdmit); the contact
// proposes its MemberJoined; what the log says goes back: the newcomer's number and life, and who its peers are
// (VmmAdmitted, in pieces), or why not (VmmRefused). docs/protocol.md, "Joining", tells the rest.
//
// Who gets no answer asks again, another contact if need be: the log knows it by Wish::newcomer.
#pragma once

#include <string>
#include <vector>

#include "vmm/machine.h"
#include "wire/vmm.h"

namespace gallocy::vmm {

struct Wish {
  std::uint64_t newcomer = 0;  // not 0, by chance: names this process
  NodeId node = kNoNode;       // the number that it had in an earlier life; kNoNode: a new one
  std::string address;         // where its peers reach it
  std::uint64_t life = 0;      // with a number: the life after that one
  Epoch kept{};                // MemberJoined
  bool on_disk = false;        // MemberJoined
  bool operator==(const Wish&) const = default;
};

struct Peer {
  NodeId node{};
  std::uint64_t life = 0;
  std::string address;
  bool operator==(const Peer&) const = default;
};

struct Admitted {
  NodeId node{};
  std::uint64_t life = 0;
  Epoch epoch{};
  std::uint64_t cluster = 0;  // the number of a cluster whose log is on disk; 0: it is in memory
  std::uint32_t shards = 1;   // of the address space
  std::vector<Peer> peers;    // the other members, ascending
  bool operator==(const Admitted&) const = default;
};

inline MemberJoined entry_of(const Wish& wish) {
  return {.node = wish.node,
          .address = wish.address,
          .life = wish.life,
          .newcomer = wish.newcomer,
          .kept = wish.kept,
          .on_disk = wish.on_disk};
}

// What the contact answers, once its log has the outcome of entry_of(wish); `cluster` and `shards` it knows itself.
Admitted admitted(const Machine& machine, const Outcome& outcome);

struct Frame {
  wire::MessageType type{};
  Bytes body;
};

Frame encode(const Wish& wish);
Result<Wish> decode_wish(std::span<const std::byte> body);
std::vector<Frame> encode(std::uint64_t newcomer, const Result<Admitted>& answer);

// Puts the frames of one answer together. They come in order; an answer that begins anew replaces what came before.
class AnswerReader {
 public:
  explicit AnswerReader(std::uint64_t newcomer) : newcomer_(newcomer) {}

  // Whether the answer is complete. kProtocol: this is no frame of an answer to this newcomer.
  Result<bool> take(wire::MessageType type, std::span<const std::byte> body);
  // When it is: the members, or why it was refused.
  const Result<Admitted>& answer() const { return answer_; }

 private:
  Result<bool> take_admitted(wire::ByteReader reader);
  Result<bool> take_refused(wire::ByteReader reader);

  const std::uint64_t newcomer_;
  Result<Admitted> answer_;
};

}  // namespace gallocy::vmm
