// What became of a read or a commit of durable memory, for the service and for those who tell the program.
#pragma once

#include <optional>

#include "base/result.h"
#include "durable/types.h"

namespace gallocy::runtime {

struct DurableOutcome {
  durable::Outcome outcome = durable::Outcome::kDone;
  BlockId block{};  // of which the outcome speaks
};

// Nothing: it is done.
std::optional<Error> error_of(const DurableOutcome& ended);
std::optional<Error> error_of(const Result<DurableOutcome>& ended);

}  // namespace gallocy::runtime
