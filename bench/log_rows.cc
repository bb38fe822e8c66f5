#include "log_rows.h"

#include "child.h"

namespace gallocy::bench {

std::vector<Plan> log_plans(const Programs& programs, Scale) {
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
  return {
      {"failover.leader_ms", "ms", Goal::kAtMost, 300,
       "The new leader may not vote before 150 ms have passed since the old one's last heartbeat.",
       figure("failover.leader"), nullptr},
      {"failover.worker_ms", "ms", Goal::kAtMost, 1000,
       "The closed connection tells of the death; then the locks are rebuilt in two rounds of messages.",
       figure("failover.worker"), nullptr},
  };
}

}  // namespace gallocy::bench
