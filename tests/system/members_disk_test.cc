// Clusters that live on with their log on disk (`gallocy node --log-dir`): nodes that end and start again, one by one
// and all at once (docs/decisions/0019).
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>

#include "members_fixture.h"

namespace gallocy::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// Nobody listens there now, and the kernel gives it to nobody who does not ask for it for a while.
std::uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length), 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

class MembersDisk : public MembersFixture {
 protected:
  MembersDisk() { memory_ = "64M"; }

  std::string folder_of(unsigned i) const { return folder_ + "/log-" + std::to_string(i); }
  void start_node(unsigned i, Arguments more = {}) {
    const std::string listen = addresses_[i];
    Arguments arguments{"node",      "--memory",   memory_,          "--listen", listen,
                        "--log-dir", folder_of(i), "--join-timeout", "60"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const std::string contact = std::exchange(contact_, i == 0 ? "" : addresses_[0]);
    nodes_[i] = tool(arguments);
    contact_ = contact;
  }
  void await(unsigned i) { EXPECT_EQ(address_of(*nodes_[i]), addresses_[i]) << nodes_[i]->error(); }
  void found_on_disk(unsigned count) {
    nodes_.resize(count);
    for (unsigned i = 0; i < count; ++i) addresses_.push_back("127.0.0.1:" + std::to_string(free_port()));
    contact_ = addresses_[0];
    for (unsigned i = 0; i < count; ++i) start_node(i), await(i);
  }
  void kill_nodes(std::vector<unsigned> which, int signal = SIGKILL) {
    for (const unsigned i : which) nodes_[i]->signal(signal);
    for (const unsigned i : which) nodes_[i]->wait(kSoon);
  }
  void start_nodes(std::vector<unsigned> which, Arguments more = {}) {
    for (const unsigned i : which) start_node(i, more);
    for (const unsigned i : which) await(i);
  }
  std::vector<unsigned> numbers() {
    std::vector<unsigned> numbers;
    const auto report = status();
    for (const auto& node : report.at("nodes")) {
      if (!node.contains("silent")) numbers.push_back(node.at("node"));
    }
    return numbers;
  }
  // All have come, and as many vote as can: any of them may die now.
  void await_voters(std::size_t nodes, std::size_t voters) {
    const auto begin = std::chrono::steady_clock::now();
    std::size_t there = 0, voting = 0;
    do {
      const auto report = status();
      there = voting = 0;
      for (const auto& node : report.at("nodes")) {
        if (!node.contains("silent")) ++there, voting += node.at("logs").at(0).at("role") != "learner";
      }
    } while ((there != nodes || voting != voters) && std::chrono::steady_clock::now() < begin + kSoon);
    EXPECT_EQ(there, nodes);
    EXPECT_EQ(voting, voters);
  }
  // The last that it said of what it has done; -1: nothing yet.
  static long progress(const Process& program, const std::string& word) {
    const std::string said = program.output();
    const auto at = said.rfind(word + " ");
    long count = -1;
    if (at != std::string::npos) std::from_chars(said.data() + at + word.size() + 1, said.data() + said.size(), count);
    return count;
  }
  static long number_of(const Process& program) { return progress(program, "node"); }
  void TearDown() override {
    for (const auto& node : nodes_) {
      if (node != nullptr) node->signal(SIGKILL);
    }
    MembersFixture::TearDown();
  }
};

TEST_F(MembersDisk, all_start_again_after_all_were_killed) {
  found_on_disk(3);
  expect_done(*tenant({"fill", "data", "4", "1"}));
  const auto before = status().at("cluster").at("regions");
  for (const std::vector<unsigned>& order : {std::vector{2u, 0u, 1u}, {0u, 1u, 2u}}) {
    kill_nodes({0, 1, 2});
    start_nodes(order);
    EXPECT_THAT(nodes_[1]->output(), HasSubstr("node 1 at " + addresses_[1] + ": the cluster has started again"));
    EXPECT_THAT(numbers(), ElementsAre(0, 1, 2));
    EXPECT_EQ(status().at("cluster").at("regions").size(), before.size());
  }
  expect_done(*tenant({"fill", "data", "4", "2", "check", "data", "4", "2", "turns", "counter", "20"}));
}

// Programs that work are killed with the nodes. What they had been told that it has happened has.
TEST_F(MembersDisk, durable_memory_survives_the_end_of_all) {
  found_on_disk(3);
  for (int round = 0; round < 3; ++round) {
    const auto one = tenant({"transfers", "money1", "0"}), other = tenant({"transfers", "money1", "0"});
    for (const auto* each : {&one, &other})
      EXPECT_TRUE((*each)->await_output("transfer 50\n", kSoon)) << (*each)->error();
    kill_nodes({0, 1, 2});
    for (const auto* each : {&one, &other}) (*each)->signal(SIGKILL), (*each)->wait(kSoon);
    start_nodes({1, 2, 0});
    Arguments audit{"audit", "money1"};
    for (const auto* each : {&one, &other}) {
      const Arguments more{"noted", "money1", std::to_string(number_of(**each)),
                           std::to_string(progress(**each, "transfer"))};
      audit.insert(audit.end(), more.begin(), more.end());
    }
    expect_done(*tenant(audit));
  }
}

TEST_F(MembersDisk, who_comes_back_to_a_cluster_that_goes_on_is_a_new_member) {
  found_on_disk(3);
  const auto busy = tenant({"transfers", "money1", "0"});
  ASSERT_TRUE(busy->await_output("transfer 10\n", kSoon)) << busy->error();
  for (unsigned victim = 0; victim < 3; ++victim) {
    await_voters(4, 3);
    kill_nodes({victim});
    contact_ = addresses_[(victim + 1) % 3];
    start_nodes({victim});
    EXPECT_THAT(nodes_[victim]->output(), HasSubstr("member of the cluster"));
    const long then = progress(*busy, "transfer");
    EXPECT_TRUE(busy->await_output("transfer " + std::to_string(then + 20) + "\n", kSoon)) << busy->error();
  }
  EXPECT_THAT(numbers(), SizeIs(4));
  busy->signal(SIGTERM);
  expect_done(*busy);
  expect_done(*tenant({"audit", "money1"}));
}

// SIGTERM is the end of a process, which may be that of its machine; `leave` is the end of a member.
TEST_F(MembersDisk, a_signal_keeps_its_place_and_leaving_gives_it_up) {
  found_on_disk(2);
  expect_done(*tenant({"transfers", "money1", "30"}));
  kill_nodes({0}, SIGTERM);  // it keeps the log alone, so the other one ends with it
  EXPECT_THAT(nodes_[0]->output(), HasSubstr("node 0 ends; its log stays in " + folder_of(0)));
  kill_nodes({1}, SIGTERM);
  start_nodes({1, 0});
  EXPECT_THAT(numbers(), ElementsAre(0, 1));
  expect_done(*tenant({"audit", "money1", "noted", "money1", "2", "29"}));
  expect_done(*tool({"leave", addresses_[1]}));
  EXPECT_EQ(nodes_[1]->wait(kSoon), 0) << nodes_[1]->error();
  kill_nodes({0});
  start_nodes({0});  // it waits for nobody
  start_nodes({1});
  EXPECT_THAT(nodes_[1]->output(), HasSubstr("member of the cluster"));
  expect_done(*tenant({"audit", "money1"}));
}

TEST_F(MembersDisk, all_but_one_that_is_lost_for_good_start_again) {
  found_on_disk(3);
  expect_done(*tenant({"transfers", "money1", "30"}));
  kill_nodes({0, 1, 2});
  start_nodes({0, 1}, {"--without", "2"});
  EXPECT_THAT(numbers(), ElementsAre(0, 1));
  expect_done(*tenant({"audit", "money1", "noted", "money1", "3", "29"}));
  start_nodes({2});  // it was found after all
  EXPECT_THAT(nodes_[2]->output(), HasSubstr("member of the cluster"));
}

TEST_F(MembersDisk, all_but_one_whose_journal_is_damaged_start_again) {
  found_on_disk(3);
  expect_done(*tenant({"transfers", "money1", "30"}));
  await_voters(3, 3);
  kill_nodes({0, 1, 2});
  damage(folder_of(1) + "/durable/log-0000000000000001");
  start_node(1);
  EXPECT_EQ(nodes_[1]->wait(kSoon), 76) << nodes_[1]->error();
  EXPECT_THAT(nodes_[1]->error(), HasSubstr(folder_of(1) + "/durable: the log on disk is damaged"));
  start_nodes({0, 2}, {"--without", "1"});
  EXPECT_THAT(numbers(), ElementsAre(0, 2));
  expect_done(*tenant({"audit", "money1", "noted", "money1", "3", "29"}));
  std::filesystem::remove_all(folder_of(1) + "/durable");
  start_nodes({1});
  EXPECT_THAT(nodes_[1]->output(), HasSubstr("member of the cluster"));
}

TEST_F(MembersDisk, who_waits_says_for_whom) {
  found_on_disk(2);
  kill_nodes({0, 1});
  const auto alone = tool({"node", "--listen", addresses_[0], "--log-dir", folder_of(0), "--join-timeout", "2"});
  EXPECT_EQ(alone->wait(kSoon), 75);
  EXPECT_THAT(alone->error(), HasSubstr("node 1 at " + addresses_[1] + " did not start again"));
  start_node(0);
  std::unique_ptr<Process> asked;
  const auto begin = std::chrono::steady_clock::now();
  do {
    asked = tool({"status", addresses_[0]});
    EXPECT_NE(asked->wait(kSoon), 0) << asked->output();
  } while (asked->error().find("starts again") == std::string::npos &&
           std::chrono::steady_clock::now() < begin + kSoon);
  EXPECT_THAT(asked->error(), HasSubstr("node 1 at " + addresses_[1]));
  start_nodes({1});
  await(0);
}

TEST_F(MembersDisk, wrong_use_is_one_clear_line) {
  const auto expect = [this](Arguments arguments, int status, const std::string& what) {
    const auto node = tool(arguments);
    EXPECT_EQ(node->wait(kSoon), status) << node->error();
    EXPECT_THAT(node->error(), HasSubstr(what));
  };
  expect({"node", "--listen", "127.0.0.1:0", "--log-dir", folder_of(7)}, 64, "give it a port");
  found(1);  // in memory
  const std::string elsewhere = "127.0.0.1:" + std::to_string(free_port());
  expect({"node", "--join", contact_, "--listen", elsewhere, "--log-dir", folder_of(7)}, 80,
         "this cluster has its log in memory");
  const std::string in_memory = std::exchange(contact_, "");
  addresses_.clear(), nodes_.clear();
  found_on_disk(1);
  expect({"node", "--listen", elsewhere, "--log-dir", folder_of(0)}, 78, "in use by process");
  kill_nodes({0});
  const std::string first = std::exchange(addresses_[0], elsewhere);
  contact_ = "";
  start_node(0), await(0);  // elsewhere, and alone: nobody has to find it
  expect({"node", "--listen", first, "--join", addresses_[0], "--log-dir", folder_of(8), "--without", "1000"}, 64,
         "--without");
}

// A folder of one cluster, and a member of another.
TEST_F(MembersDisk, is_refused_by_another_cluster) {
  found_on_disk(1);
  kill_nodes({0});
  const std::string first = addresses_[0];
  std::filesystem::rename(folder_of(0), folder_of(9));
  addresses_.clear();
  found_on_disk(1);
  const auto node = tool({"node", "--listen", first, "--join", addresses_[0], "--log-dir", folder_of(9)});
  EXPECT_NE(node->wait(kSoon), 0);
  EXPECT_THAT(node->error(), HasSubstr("another cluster"));
}

}  // namespace
}  // namespace gallocy::testing
