#include "log_rows.h"

#include <fmt/format.h>

#include "child.h"
#include "disk.h"
#include "etcd.h"
#include "references.h"

namespace gallocy::bench {

using gallocy::Result;

namespace {

// What node 0 of three prints, with the digest of what all of them hold in the end.
Result<Measured> on_log(const Programs& programs, const char* measurement, const char* figure, Scale scale,
                        const std::map<std::string, std::string>& settings = {}) {
  std::vector<std::string> command = {programs.gallocy,   "launch",   "-n", "3", "--transport", "tcp", "--",
                                      programs.core_node, measurement};
  if (scale == Scale::kSmall) command.push_back("--small");
  const auto output = run_child(command, settings);
  if (!output) return tl::unexpected(output.error());
  const auto value = output->number(figure);
  if (!value) return tl::unexpected(value.error());
  return Measured{.value = *value, .digest = output->value("digest").value_or("none")};
}

// All three logs on the disk of this machine.
Result<Measured> commits_on_disk(const Programs& programs, Scale scale) {
  return in_disk_folder([&](const std::string& folder) {
    return on_log(programs, "log.commits", "per_s", scale, {{"GALLOCY_LOG_DIR", folder}});
  });
}

std::vector<Plan> commit_plans(const Programs& programs, Scale scale) {
  const auto commits = [&programs, scale] { return on_log(programs, "log.commits", "per_s", scale); };
  // Pinned (core_node) and spinning, as the reference: nobody else wants the processors.
  const auto latency = [&programs, scale] {
    return on_log(programs, "log.latency", "us", scale, {{"GALLOCY_SPIN_US", "50"}});
  };
  const std::string missing = etcd_missing();
  return {
      {"log.commits.3", "1/s", Goal::kAtLeast, 200'000,
       "The processors: every node decodes, checks and applies each entry; all three share two processors.", commits,
       nullptr},
      {"log.commits.3.disk", "1/s", Goal::kReport, 0,
       "The disk, on which three logs are made durable one batch after the other.",
       [&programs, scale] { return commits_on_disk(programs, scale); }, nullptr},
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

// A simulation that always prints the same: run once for all rows that are made of it.
Result<double> scale_figure(const Programs& programs, unsigned nodes, const char* figure) {
  static std::map<unsigned, ChildOutput> outputs;
  if (!outputs.contains(nodes)) {
    auto output = run_child({programs.bench / "log_scale", std::to_string(nodes)}, {}, std::chrono::seconds(600));
    if (!output) return tl::unexpected(output.error());
    outputs[nodes] = *std::move(output);
  }
  return outputs[nodes].number(figure);
}

// Beside the number of nodes: a figure whose ratio stays the same grows with it.
std::vector<Plan> scale_plans(const Programs& programs, Scale scale) {
  const auto plan = [&programs](unsigned nodes, const char* name, const char* unit, const char* figure,
                                const char* bound) {
    return Plan{fmt::format("scale.{}.{}", nodes, name),
                unit,
                Goal::kReport,
                0,
                bound,
                [&programs, nodes, figure]() -> Result<Measured> {
                  return scale_figure(programs, nodes, figure).map([](double v) { return Measured{.value = v}; });
                },
                [nodes] { return Result<Measured>(Measured{.value = static_cast<double>(nodes)}); }};
  };
  std::vector<Plan> plans;
  const std::vector<unsigned> sizes =
      scale == Scale::kSmall ? std::vector<unsigned>{10} : std::vector{10u, 100u, 1000u};
  for (const unsigned nodes : sizes) {
    plans.push_back(plan(
        nodes, "death.messages", "messages", "death_messages",
        "All others propose the death, and each of these entries goes to all, gathered where the window is full."));
    plans.push_back(
        plan(nodes, "death.bytes", "B", "death_bytes", "The same: as many entries as nodes, for each node."));
    plans.push_back(
        plan(nodes, "death.ms", "ms", "death_ms",
             "From the end of the connections until all have it in their logs; what comes before is the "
             "mesh's: at once if the process ended, 0.7 s if the machine is silent, 5 s if the process is stopped."));
    plans.push_back(plan(nodes, "join.messages", "messages", "join_messages",
                         "The leader tells each node of four entries: a learner, a death, a member, commits."));
    plans.push_back(plan(nodes, "metadata", "B", "metadata_bytes",
                         "Of one node: the members, and the answers and entries that the log keeps."));
  }
  return plans;
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
      {"failover.stopped_ms", "ms", Goal::kReport, 0,
       "A process that is only stopped keeps its connections: it is missed when its heartbeats are, and dead "
       "when most of the others say so.",
       figure("failover.stopped"), nullptr},
  };
  plans.insert(plans.end(), failover.begin(), failover.end());
  for (Plan& plan : scale_plans(programs, scale)) plans.push_back(std::move(plan));
  return plans;
}

}  // namespace gallocy::bench
