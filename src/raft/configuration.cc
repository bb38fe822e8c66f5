#include "raft/configuration.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace gallocy::raft {

wire::Bytes Configuration::encode() const {
  wire::Bytes bytes;
  wire::ByteWriter writer(bytes);
  for (const auto* servers : {&voters, &learners}) {
    writer.put(static_cast<std::uint16_t>(servers->size()));
    for (const ServerId server : *servers) writer.put(server.value);
  }
  return bytes;
}

std::optional<Configuration> Configuration::decode(wire::ByteReader& reader) {
  Configuration result;
  for (auto* servers : {&result.voters, &result.learners}) {
    const auto count = reader.get<std::uint16_t>();
    ServerId before = kNoServer;
    for (std::uint16_t i = 0; i < count; ++i) {
      const ServerId server{reader.get<std::uint64_t>()};
      // Ascending, so that there is one encoding of each configuration.
      if (!reader.ok() || server <= before) return std::nullopt;
      servers->insert(before = server);
    }
  }
  const bool both = std::any_of(result.learners.begin(), result.learners.end(),
                                [&](ServerId server) { return result.voters.contains(server); });
  if (!reader.ok() || both || result.voters.empty() || result.voters.size() > kMaxVoters) return std::nullopt;
  return result;
}

std::optional<Configuration> Configuration::decode(std::span<const std::byte> bytes) {
  wire::ByteReader reader(bytes);
  auto result = decode(reader);
  return reader.done() ? result : std::nullopt;
}

std::optional<Configuration> changed(const Configuration& configuration, const Change& change) {
  if (change.server == kNoServer) return std::nullopt;
  Configuration result = configuration;
  const bool voter = result.voters.erase(change.server) != 0;
  const bool learner = result.learners.erase(change.server) != 0;
  bool sensible = false;
  switch (change.kind) {
    case Change::Kind::kAddLearner:
      sensible = !voter && !learner;
      result.learners.insert(change.server);
      break;
    case Change::Kind::kPromote:
      sensible = learner;
      result.voters.insert(change.server);
      break;
    case Change::Kind::kDemote:
      sensible = voter;
      result.learners.insert(change.server);
      break;
    case Change::Kind::kRemove:
      sensible = voter || learner;
      break;
  }
  if (!sensible || result.voters.empty() || result.voters.size() > kMaxVoters || result.learners.size() > kMaxNodes)
    return std::nullopt;
  return result;
}

void ConfigurationHistory::reset(LogIndex index, Configuration configuration) {
  steps_.clear();
  steps_.push_back({index, std::move(configuration)});
}

void ConfigurationHistory::append(LogIndex index, Configuration configuration) {
  CHECK(index > latest_index() || steps_.size() == 1, index, latest_index());
  steps_.push_back({index, std::move(configuration)});
}

void ConfigurationHistory::truncate_from(LogIndex index) {
  while (steps_.size() > 1 && steps_.back().index >= index) steps_.pop_back();
}

void ConfigurationHistory::forget_before(LogIndex index) {
  while (steps_.size() > 1 && steps_[1].index <= index) steps_.erase(steps_.begin());
}

const Configuration& ConfigurationHistory::at(LogIndex index) const {
  auto step = steps_.rbegin();
  while (step != std::prev(steps_.rend()) && step->index > index) ++step;
  return step->configuration;
}

}  // namespace gallocy::raft
