// Sending, for the files of Core.
#pragma once

#include <utility>

#include "raft/core.h"

namespace gallocy::raft {

// What depends on term and vote only.
template <typename What>
void Core::send(ServerId to, What what, std::uint64_t now) {
  hold({options_.self, to, term_, std::move(what)}, hard_sequence_, now);
}

// What promises that the log is here.
template <typename What>
void Core::send_when_durable(ServerId to, What what, std::uint64_t now) {
  hold({options_.self, to, term_, std::move(what)}, is(Mutant::kAcknowledgeEarly) ? 0 : latest_write(), now);
}

}  // namespace gallocy::raft
