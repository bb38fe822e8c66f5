#include "hosts.h"

#include <gmock/gmock.h>

#include <cstdlib>

namespace gallocy::command {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::size_t> sizes(const LaunchOptions& options) {
  const auto plans = plan_hosts(options);
  EXPECT_TRUE(plans) << plans.error().message;
  std::vector<std::size_t> result;
  unsigned next = 0;
  for (const auto& plan : plans.value_or(std::vector<HostPlan>{})) {
    result.push_back(plan.nodes.size());
    for (const auto node : plan.nodes) EXPECT_EQ(node.value, next++);
  }
  return result;
}

TEST(PlanHosts, one_node_per_host_by_default) {
  EXPECT_THAT(sizes({.hosts = {"a", "b", "c"}}), ElementsAre(1, 1, 1));
  EXPECT_THAT(sizes({.hosts = {"a:3", "b"}}), ElementsAre(3, 1));
}

TEST(PlanHosts, a_total_is_spread_evenly) {
  EXPECT_THAT(sizes({.nodes = 8, .hosts = {"a", "b", "c"}}), ElementsAre(3, 3, 2));
  EXPECT_THAT(sizes({.nodes = 2, .hosts = {"a", "b", "c"}}), ElementsAre(1, 1));
}

TEST(PlanHosts, counts_are_filled_in_order) {
  EXPECT_THAT(sizes({.nodes = 5, .hosts = {"a:4", "b:4"}}), ElementsAre(4, 1));
  EXPECT_THAT(plan_hosts({.nodes = 9, .hosts = {"a:4", "b:4"}}).error().message, HasSubstr("8 nodes"));
}

TEST(PlanHosts, names_that_a_shell_could_misread_are_refused) {
  for (const char* name : {"-l", "a b", "a;b", "$(x)", "a'b", "", "a:0", "a:1001", "a:1x"}) {
    EXPECT_FALSE(plan_hosts({.hosts = {name}})) << name;
  }
  for (const char* name : {"node-1.example.org", "user@host", "fe80::1%eth0", "10.0.0.1"}) {
    EXPECT_TRUE(plan_hosts({.hosts = {name}})) << name;
  }
}

TEST(PlanHosts, the_job_of_slurm_is_the_default) {
  ::setenv("SLURM_JOB_NODELIST", "n[1-2],m", 1);
  EXPECT_THAT(sizes({.nodes = 4}), ElementsAre(2, 1, 1));
  EXPECT_THAT(sizes({.hosts = {"a"}}), ElementsAre(1));
  ::unsetenv("SLURM_JOB_NODELIST");
  EXPECT_THAT(sizes({.nodes = 4}), ElementsAre());
}

TEST(ExpandSlurmNodes, ranges_and_leading_zeros) {
  EXPECT_THAT(expand_slurm_nodes("n[1-3,07],m").value(), ElementsAre("n1", "n2", "n3", "n07", "m"));
  EXPECT_THAT(expand_slurm_nodes("gpu[008-010]").value(), ElementsAre("gpu008", "gpu009", "gpu010"));
  EXPECT_THAT(expand_slurm_nodes("a,b").value(), ElementsAre("a", "b"));
  for (const char* wrong : {"n[1-", "n[3-1]", "n[x]", "n[1]m", ",", "n[1-99999999]"}) {
    EXPECT_FALSE(expand_slurm_nodes(wrong)) << wrong;
  }
}

TEST(FillTemplate, quotes_what_needs_it) {
  EXPECT_EQ(fill_template("ssh {host} {command}", "h", {"/opt/my tools/gallocy", "agent"}),
            "exec ssh h '/opt/my tools/gallocy' agent");
  EXPECT_EQ(fill_template("x {command} --on {host} {host}", "h", {"it's"}), "exec x 'it'\\''s' --on h h");
  EXPECT_EQ(fill_template("x {command}", "h", {"{host}"}), "exec x '{host}'");
  EXPECT_EQ(fill_template("if a; then {command}; fi", "h", {"c"}), "if a; then c; fi");
  EXPECT_EQ(fill_template("A=1 {command}", "h", {"c"}), "A=1 c");
}

}  // namespace
}  // namespace gallocy::command
