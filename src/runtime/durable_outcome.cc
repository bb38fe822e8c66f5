#include "runtime/durable_outcome.h"

#include <fmt/format.h>

namespace gallocy::runtime {

using durable::Outcome;

std::optional<Error> error_of(const DurableOutcome& ended) {
  const std::uint64_t block = address_of(first_page(ended.block));
  switch (ended.outcome) {
    case Outcome::kDone:
      return std::nullopt;
    case Outcome::kConflict:
      return Error{ErrorCode::kConflict, "a transaction did not happen: another was in its way; try again"};
    case Outcome::kLost:
      return Error{ErrorCode::kLost,
                   fmt::format("durable memory from {:#x} on is lost: more nodes died at once than its region has "
                               "backups",
                               block)};
    case Outcome::kNotDurable:
      return Error{ErrorCode::kInvalidArgument,
                   "a transaction reached beyond durable memory: map its region with durable_backups"};
    case Outcome::kTooLarge:
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("a transaction reads and writes too much in one block: at most some {} KiB in {}",
                               (wire::kMaxDurablePartBytes >> 10) - 6, kBlockBytes >> 10)};
    case Outcome::kTooMany:
      break;
  }
  return Error{ErrorCode::kOutOfMemory, fmt::format("{} transactions of this node have no answer", durable::kMaxOpen)};
}

std::optional<Error> error_of(const Result<DurableOutcome>& ended) {
  return ended ? error_of(*ended) : std::optional(ended.error());
}

}  // namespace gallocy::runtime
