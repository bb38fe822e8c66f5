// The words of Raft: who, when, and what stands in the log. Sections (§) here and in the whole layer are those of
// Ongaro, "Consensus: bridging theory and practice", Stanford 2014.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "raft/configuration.h"
#include "wire/bytes.h"

namespace gallocy::raft {

using Term = Id<struct TermTag, std::uint64_t>;
using wire::Bytes;

enum class EntryKind : std::uint8_t {
  kNormal,         // opaque to Raft
  kConfiguration,  // a Configuration, encoded; in force as soon as it stands in a log (§4.1)
  kNoOp,           // the first entry of a leader's term (§6.4)
};

struct Entry {
  Term term{};
  EntryKind kind = EntryKind::kNoOp;
  std::shared_ptr<const Bytes> data;  // shared by log, messages and storage; null: no bytes

  std::span<const std::byte> bytes() const {
    return data ? std::span<const std::byte>(*data) : std::span<const std::byte>();
  }
};

// The state of the machine after `index`; index 0: none.
struct Snapshot {
  LogIndex index{};
  Term term{};
  Configuration configuration;
  std::shared_ptr<const Bytes> state;
};

// What a server with durable storage finds when it starts. The entries follow the snapshot.
struct PersistentState {
  Term term{};
  ServerId vote{};
  Snapshot snapshot;
  std::vector<Entry> entries;

  // The state in which every founder of a company begins: the log has one entry, which all of them have, the
  // configuration (§4.4). Whoever comes later begins with nothing and is added as a learner.
  // With `leader`: as after an election in which all of them voted for it, so that it may take office at once
  // (Core::take_office).
  static PersistentState founding(const Configuration& founders, ServerId leader = kNoServer);
};

}  // namespace gallocy::raft
