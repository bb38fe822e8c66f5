#include "durable_rows.h"

#include "child.h"
#include "disk.h"
#include "references.h"

namespace gallocy::bench {
namespace {

using Words = std::vector<std::string>;

constexpr std::size_t kNoted = 290;  // bytes that a member of a company writes, in all, for a commit of two words

Result<Measured> figure_of(Words command, const std::string& figure) {
  const auto output = run_child(command);
  if (!output) return tl::unexpected(output.error());
  const auto value = output->number(figure);
  if (!value) return tl::unexpected(value.error());
  return Measured{.value = *value, .digest = output->value("digest").value_or("")};
}

}  // namespace

std::vector<Plan> durable_plans(const Programs& programs, Scale scale) {
  const auto on_three = [&programs, scale](const char* transport, const char* measurement, const char* figure) {
    return [=, &programs] { return on_nodes(programs, 3, transport, measurement, figure, scale); };
  };
  const auto trip = [scale] { return raw_round_trip_us(Link::kTcp, Waiting::kSleep, scale); };
  const auto bank = [&programs, scale](const char* backups, const char* sections = "0") {
    const char* const transfers = scale == Scale::kSmall ? "2000" : "40000";
    const Words command{programs.gallocy, "launch",  "-n",        "3",     "--",         programs.examples / "bank",
                        "--transfers",    transfers, "--durable", backups, "--sections", sections};
    return [command] { return figure_of(command, "time"); };
  };
  // With all three journals, and logs, on the disk of this machine.
  const auto on_disk = [&programs, scale](const char* transport, const char* measurement, const char* figure) {
    return [=, &programs] {
      return in_disk_folder([&](const std::string& folder) {
        return on_nodes(programs, 3, transport, measurement, figure, scale, {{"GALLOCY_LOG_DIR", folder}});
      });
    };
  };
  const auto restore = [&programs, scale]() -> Result<Measured> {
    Words command{
        programs.gallocy,   "launch",         "-n", "4", "--transport", "tcp", "--on-peer-lost", "continue", "--",
        programs.core_node, "durable.restore"};
    if (scale == Scale::kSmall) command.push_back("--small");
    return figure_of(std::move(command), "mb_per_s");
  };
  return {
      {"durable.commit.1home", "us", Goal::kAtMost, 1.5,
       "Three messages one after the other, coordinator to primary to backup and back, none of which is the caller's "
       "node; beside a round trip whose ends sleep, as three nodes on two processors do.",
       on_three("tcp", "durable.commit.1home", "us"), trip},
      {"durable.commit.2homes", "us", Goal::kAtMost, 2.5, "The same in two companies at once, in any order.",
       on_three("tcp", "durable.commit.2homes", "us"), trip},
      {"durable.section", "us", Goal::kReport, 0,
       "A section of one page, whose lock the node has: one round trip to fetch the page and one and a half to commit; "
       "beside a round trip whose ends sleep.",
       on_three("tcp", "durable.section", "us"), trip},
      {"durable.commits", "1/s", Goal::kAtLeast, 100'000,
       "Seven messages for each, on the processors of all three nodes; of each of the eight threads sixteen "
       "transactions "
       "are under way at a time.",
       on_three("shm", "durable.commits", "per_s"), nullptr},
      {"durable.commit.1home.disk", "us", Goal::kReport, 0,
       "Two writes to disk one after the other, at the primary and at the backup, which begin when what was written "
       "before is durable; beside two such writes and nothing else.",
       on_disk("tcp", "durable.commit.1home", "us"), [scale] { return raw_two_writes_us(kNoted, scale); }},
      {"durable.commits.disk", "1/s", Goal::kReport, 0,
       "The disk: the 128 transactions that are under way at a time wait for the same two writes, of which each makes "
       "durable what came during the one before; beside the same in memory only.",
       on_disk("shm", "durable.commits", "per_s"), on_three("shm", "durable.commits", "per_s")},
      {"durable.overhead", "s", Goal::kAtMost, 1.10,
       "The example bank with transactions, beside itself with locks on shared memory.", bank("1"), bank("0")},
      {"durable.overhead.sections", "s", Goal::kReport, 0,
       "The same with sections: of two pages each, which are fetched, compared and committed in whole, under two locks "
       "that go from node to node as those of the reference do.",
       bank("1", "1"), bank("0")},
      {"durable.restore", "MB/s", Goal::kAtLeast, 0.5,
       "Copies out of and into the sockets and the images; the survivors share the machine's processors.", restore,
       [scale] { return raw_stream_mb_per_s(Link::kTcp, scale); }},
  };
}

}  // namespace gallocy::bench
