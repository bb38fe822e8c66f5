#include "log_rows.h"

#include "child.h"
#include "etcd.h"
#include "references.h"

namespace gallocy::bench {

using gallocy::Result;

namespace {

// What node 0 of three prints, with the digest of what all of them hold in the end.
Result<Measured> on_log(const Programs& programs, const char* measurement, const char* figure, Scale scale) {
  std::vector<std::string> command = {programs.gallocy,   "launch",   "-n", "3", "--transport", "tcp", "--",
                                      programs.core_node, measurement};
  if (scale == Scale::kSmall) command.push_back("--small");
  const auto output = run_child(command);
  if (!output) return tl::unexpected(output.error());
  const auto value = output->number(figure);
  if (!value) return tl::unexpected(value.error());
  return Measured{.value = *value, .digest = output->value("digest").value_or("none")};
}

std::vector<Plan> commit_plans(const Programs& programs, Scale scale) {
  const auto commits = [&programs, scale] { return on_log(programs, "log.commits", "per_s", scale); };
  const auto latency = [&programs, scale] { return on_log(programs, "log.latency", "us", scale); };
  const std::string missing = etcd_missing();
  return {
      {"log.commits.3", "1/s", Goal::kAtLeast, 200'000,
       "The processors: every node decodes, checks and applies each entry; all three share two processors.", commits,
       nullptr},
      {"log.latency.3", "us", Goal::kAtMost, 2,
       "The round trip to the first follower; the leader writes two messages before it can read the answer, and one "
       "that tells of the commit before its caller goes on.",
       [latency] { return latency().map([](Measured m) { return Measured{.value = m.value}; }); },
       [scale] { return raw_round_trip_us(Link::kTcp, Waiting::kSpin, scale); }},
      {"log.vs_etcd.throughput", "1/s", Goal::kAtLeast, 10,
       "Ours: the processors, by the work on each entry. etcd's: the same, by gRPC, its store on disk and Go's "
       "runtime.",
       commits, [scale] { return etcd_puts_per_s(scale); }, missing},
      {"log.vs_etcd.latency", "us", Goal::kAtMost, 0.2,
       "Ours: the round trip to a follower. etcd's: a write to its log at each member, and four hand-overs between "
       "threads.",
       latency, [scale] { return etcd_put_us(scale); }, missing},
  };
}

}  // namespace

std::vector<Plan> log_plans(const Programs& programs, Scale scale) {
  const auto figure = [&programs](const char* measurement) {
    return [&programs, measurement]() -> Result<Measured> {
      const auto output = run_child({programs.gallocy, "launch", "-n", "3", "--transport", "tcp", "--on-peer-lost",
                                     "continue", "--", programs.core_node, measurement});
      if (!output) return tl::unexpected(output.error());
      const auto value = output->number("ms");
      if (!value) return tl::unexpected(value.error());
      return Measured{.value = *value};
    };
  };
  std::vector<Plan> plans = commit_plans(programs, scale);
  const std::vector<Plan> failover = {
      {"failover.leader_ms", "ms", Goal::kAtMost, 300,
       "The new leader may not vote before 150 ms have passed since the old one's last heartbeat.",
       figure("failover.leader"), nullptr},
      {"failover.worker_ms", "ms", Goal::kAtMost, 1000,
       "The closed connection tells of the death; then the locks are rebuilt in two rounds of messages.",
       figure("failover.worker"), nullptr},
  };
  plans.insert(plans.end(), failover.begin(), failover.end());
  return plans;
}

}  // namespace gallocy::bench
