// Clusters that live on: `gallocy node`, status, leave, and programs that join (docs/protocol.md, "Joining").
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>

#include "members_fixture.h"

namespace gallocy::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

class Members : public MembersFixture {};

TEST_F(Members, found_join_and_leave) {
  found(3);
  const auto report = status();
  ASSERT_THAT(report.at("nodes"), SizeIs(3)) << report;
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_EQ(report.at("nodes")[i].at("node"), i);
    EXPECT_EQ(report.at("nodes")[i].at("address"), addresses_[i]);
    EXPECT_EQ(report.at("nodes")[i].at("memory").at("budget"), 256u << 20);
  }
  const auto table = tool({"status"});
  expect_done(*table);
  EXPECT_THAT(table->output(), HasSubstr("3 nodes"));
  EXPECT_THAT(table->output(), HasSubstr("leader"));
  expect_done(*tool({"leave", addresses_[1]}));
  expect_done(*nodes_[1]);
  EXPECT_THAT(nodes_[1]->output(), HasSubstr("node 1 has left"));
  EXPECT_THAT(status().at("nodes"), SizeIs(2));
  nodes_.erase(nodes_.begin() + 1);
  add_node();
  EXPECT_EQ(status().at("nodes")[2].at("node"), 3);  // numbers are not given twice
  end_all();
}

TEST_F(Members, programs_join_work_and_leave) {
  found(2);
  const auto writer = tenant({"fill", "numbers", "8", "1"});
  expect_done(*writer);
  EXPECT_THAT(writer->output(), HasSubstr("node 2 of 3"));
  const auto reader = tenant({"check", "numbers", "8", "1", "fill", "numbers", "8", "2"});
  expect_done(*reader);
  EXPECT_THAT(reader->output(), HasSubstr("node 3 of 3"));
  expect_done(*tenant({"check", "numbers", "8", "2"}));
  EXPECT_THAT(status().at("nodes"), SizeIs(2));
  end_all();
}

// What was written is on nodes that leave one after the other, while others come.
TEST_F(Members, nothing_is_lost_when_nodes_leave) {
  found(3);
  expect_done(*tenant({"fill", "data", "24", "5"}));
  for (int round = 0; round < 3; ++round) {
    add_node();
    const auto leaver = nodes_[1].get();
    leaver->signal(SIGTERM);
    EXPECT_EQ(leaver->wait(kSoon), 0) << leaver->output() << leaver->error();
    nodes_.erase(nodes_.begin() + 1);
    expect_done(*tenant({"check", "data", "24", "5"}));
  }
  end_all();
}

// Who joins comes to hold blocks of a region that was there before, and makes up for a node that is killed.
TEST_F(Members, a_node_that_joins_takes_over_durable_blocks) {
  found(3);
  expect_done(*tenant({"transfers", "bank1", "200"}));
  const auto blocks_of = [&](const nlohmann::json& report, unsigned node) {
    for (const auto& each : report.at("nodes")) {
      if (each.at("node") == node && each.contains("durable")) return each.at("durable").at("blocks").get<unsigned>();
    }
    return 0u;
  };
  const auto copies = [&](const nlohmann::json& report) {
    unsigned sum = 0;
    for (unsigned node = 0; node < 5; ++node) sum += blocks_of(report, node);
    return sum;
  };
  add_node();  // node 4, after the program
  nlohmann::json report;
  EXPECT_TRUE(eventually(
      [&] {
        report = status();
        return blocks_of(report, 4) > 0 && copies(report) == 2 * 9;
      },
      kSoon))
      << report;
  nodes_[1]->signal(SIGKILL);
  EXPECT_EQ(nodes_[1]->wait(kSoon), 128 + SIGKILL);
  nodes_.erase(nodes_.begin() + 1);
  expect_done(*tenant({"audit", "bank1", "noted", "bank1", "3", "199"}));
  end_all();
}

TEST_F(Members, the_founder_may_leave) {
  found(3);
  expect_done(*tenant({"fill", "data", "8", "3"}));
  nodes_[0]->signal(SIGTERM);
  EXPECT_EQ(nodes_[0]->wait(kSoon), 0) << nodes_[0]->output() << nodes_[0]->error();
  contact_ = addresses_[1];
  nodes_.erase(nodes_.begin());
  expect_done(*tenant({"check", "data", "8", "3"}));
  add_node();
  EXPECT_THAT(status().at("nodes"), SizeIs(3));
  end_all();
}

// It is where the state of all locks is. Waits go on at the next one, and counts are as they were; twice.
TEST_F(Members, locks_outlive_the_leave_of_their_home) {
  found(3);
  expect_done(*tenant({"turns", "kept", "3", "step", "gate", "1", "give", "permits", "2"}));
  const auto taker = tenant({"take", "permits", "4"}), waiter = tenant({"pass", "gate", "take", "other", "1"}),
             comer = tenant({"meet", "line", "2"});
  ASSERT_TRUE(taker->await_output("took 2 of permits", kSoon)) << taker->output() << taker->error();
  for (const Process* each : {waiter.get(), comer.get()}) ASSERT_TRUE(each->await_output("is", kSoon)) << each->error();
  for (int round = 0; round < 2; ++round) {
    nodes_[0]->signal(SIGTERM);
    EXPECT_EQ(nodes_[0]->wait(kSoon), 0) << nodes_[0]->output() << nodes_[0]->error();
    contact_ = addresses_[static_cast<std::size_t>(round) + 1];
    nodes_.erase(nodes_.begin());
    expect_done(*tenant({"give", "permits", "1"}));
    ASSERT_TRUE(taker->await_output("took " + std::to_string(round + 3), kSoon)) << taker->output() << taker->error();
  }
  expect_done(*taker);
  expect_done(*tenant(
      {"step", "gate", "1", "meet", "line", "2", "give", "other", "1", "turns", "kept", "2", "sum", "kept", "5"}));
  expect_done(*waiter);
  expect_done(*comer);
  end_all();
}

// Who ends is who leads the log of the second shard, and after it who leads that of the first.
TEST_F(Members, two_companies_keep_the_address_space) {
  add_node({"--shards", "2"});
  for (int i = 0; i < 4; ++i) add_node();
  const auto leader_of = [&](std::size_t shard) {
    std::size_t leader = nodes_.size();
    (void)eventually(
        [&] {
          const auto report = status();
          for (const auto& node : report.at("nodes")) {
            if (!node.contains("logs") || node.at("logs").at(shard).at("role") != "leader") continue;
            const auto at = std::ranges::find(addresses_, node.at("address").get<std::string>());
            leader = static_cast<std::size_t>(at - addresses_.begin());
          }
          return leader < nodes_.size();
        },
        kSoon);
    return leader;
  };
  std::set<unsigned> used;  // shards
  const auto map_some = [&](const std::string& name) {
    for (const char* which : {"a", "b", "c", "d", "e", "f", "g", "h"})
      expect_done(*tenant({"fill", name + which, "1", "3", "check", name + which, "1", "3"}));
    const auto report = status();
    for (const auto& region : report.at("cluster").at("regions")) used.insert(region.at("id").get<unsigned>() % 2);
  };
  map_some("first ");
  EXPECT_THAT(used, SizeIs(2)) << status();
  for (const std::size_t shard : {1, 0}) {
    const std::size_t leader = leader_of(shard);
    ASSERT_LT(leader, nodes_.size()) << status();
    // In order from the first leader of both, by death from the second.
    nodes_[leader]->signal(shard == 1 ? SIGTERM : SIGKILL);
    EXPECT_EQ(nodes_[leader]->wait(kSoon), shard == 1 ? 0 : 128 + SIGKILL) << nodes_[leader]->error();
    nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(leader));
    addresses_.erase(addresses_.begin() + static_cast<std::ptrdiff_t>(leader));
    contact_ = addresses_.front();
    map_some(shard == 1 ? "second " : "third ");
  }
  const auto report = status();
  for (const auto& node : report.at("nodes")) EXPECT_THAT(node.at("logs"), SizeIs(2)) << node;
  end_all();
}

TEST_F(Members, a_node_leaves_and_joins_under_load) {
  found(3);
  const auto one = tenant({"turns", "count", "400"}), two = tenant({"turns", "count", "400"});
  ASSERT_TRUE(one->await_output("is ", kSoon) && two->await_output("is ", kSoon)) << one->error() << two->error();
  add_node();
  expect_done(*tool({"leave", "--node", "2", addresses_[1]}));  // through another member
  expect_done(*nodes_[2]);
  nodes_.erase(nodes_.begin() + 2);
  expect_done(*one);
  expect_done(*two);
  expect_done(*tenant({"sum", "count", "800"}));
  end_all();
}

TEST_F(Members, the_others_go_on_when_one_is_killed) {
  found(3);
  const auto program = tenant({"fill", "mine", "4", "9", "stay", "check", "mine", "4", "9"});
  ASSERT_TRUE(program->await_output("did fill", kSoon)) << program->output() << program->error();
  nodes_[2]->signal(SIGKILL);
  EXPECT_EQ(nodes_[2]->wait(kSoon), 128 + SIGKILL);
  nodes_.pop_back();
  EXPECT_TRUE(eventually([&] { return status().at("nodes").size() == 3; }, kSoon)) << status();
  add_node();
  expect_done(*tenant({"fill", "other", "4", "1", "check", "other", "4", "1"}));
  program->signal(SIGTERM);
  EXPECT_NE(program->wait(kSoon), -1) << program->error();
  end_all();
}

TEST_F(Members, who_does_not_know_the_secret_is_refused) {
  found(1);
  const std::string right = secret_;
  secret_ = write_secret("wrong", "the secret of another cluster\n", 0600);
  for (const Arguments& arguments : {Arguments{"node"}, Arguments{"status"}, Arguments{"leave"}}) {
    const auto refused = tool(arguments);
    EXPECT_EQ(refused->wait(kSoon), 77) << refused->error();
    EXPECT_THAT(lines_of(refused->error()), SizeIs(1)) << refused->error();
    EXPECT_THAT(refused->error(), HasSubstr("secret"));
  }
  const auto program = tenant({});
  EXPECT_EQ(program->wait(kSoon), 77) << program->error();
  secret_ = write_secret("open", "the secret of this cluster\n", 0644);
  const auto open = tool({"status"});
  EXPECT_EQ(open->wait(kSoon), 77) << open->error();
  EXPECT_THAT(open->error(), HasSubstr("chmod 600"));
  secret_ = right;
  EXPECT_THAT(status().at("nodes"), SizeIs(1));
  EXPECT_THAT(nodes_[0]->error(), HasSubstr("connection_refused"));
  end_all();
}

TEST_F(Members, a_stranger_gets_nothing) {
  found(1);
  const auto port = std::stoi(contact_.substr(contact_.rfind(':') + 1));
  sockaddr_in address{.sin_family = AF_INET,
                      .sin_port = htons(static_cast<std::uint16_t>(port)),
                      .sin_addr = {htonl(INADDR_LOOPBACK)},
                      .sin_zero = {}};
  std::vector<int> sockets;
  for (int i = 0; i < 200; ++i) {
    sockets.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(sockets.back(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const std::string request = "GET / HTTP/1.1\r\n\r\n";
    if (i % 2 == 0) (void)!::send(sockets.back(), request.data(), request.size(), MSG_NOSIGNAL);
  }
  char byte;
  EXPECT_LE(::recv(sockets[0], &byte, 1, 0), 0);  // cut off without a word
  add_node();
  expect_done(*tenant({"fill", "x", "1", "1", "check", "x", "1", "1"}));
  for (const int socket : sockets) ::close(socket);
  EXPECT_LE(lines_of(nodes_[0]->error()).size(), 101u);
  end_all();
}

TEST_F(Members, wrong_use_is_one_clear_line) {
  found(1);
  struct Case {
    Arguments arguments;
    int status;
    const char* said;
  };
  const std::string own_contact = std::exchange(contact_, "");
  for (const Case& c : std::vector<Case>{{{"node"}, 64, "--listen"},
                                         {{"status"}, 64, "address of a member"},
                                         {{"node", "--listen", "nonsense"}, 64, "host:port"},
                                         {{"node", "--listen", own_contact}, 72, "in use"},
                                         {{"node", "--shards", "9", "--listen", own_contact}, 64, "--shards"},
                                         {{"node", "--shards", "2", "--join", own_contact}, 64, "--shards"},
                                         {{"status", "127.0.0.1:1", "--timeout", "1"}, 68, "127.0.0.1:1"},
                                         {{"leave", "--node", "7", own_contact}, 66, "no node 7"}}) {
    const auto process = tool(c.arguments);
    EXPECT_EQ(process->wait(kSoon), c.status) << process->error();
    EXPECT_THAT(lines_of(process->error()), SizeIs(1)) << process->error();
    EXPECT_THAT(process->error(), HasSubstr(c.said));
  }
  contact_ = own_contact;
  const auto program = tenant({"stay"});
  ASSERT_TRUE(program->await_output("node 1", kSoon)) << program->error();
  const auto refused = tool({"leave", "--node", "1"});
  EXPECT_EQ(refused->wait(kSoon), 77) << refused->error();
  EXPECT_THAT(refused->error(), HasSubstr("leaves when that ends"));
  program->signal(SIGTERM);
  expect_done(*program);
  end_all();
}

// What the first node has is lent to the second when durable memory needs the room.
TEST_F(Members, have_less_room_for_pages_when_more_is_durable) {
  constexpr std::uint64_t kMiB = 1 << 20;
  memory_ = "64M";
  add_node();
  expect_done(*tenant({"fill", "data", "40", "7"}));
  add_node();
  expect_done(*tenant({"keep", "safe", "28", "5"}));
  nlohmann::json report;
  const auto has_room = [&] {
    report = status();
    return std::ranges::all_of(report.at("nodes"), [&](const nlohmann::json& node) {
      if (!node.contains("memory")) return false;
      const nlohmann::json& memory = node.at("memory");
      const auto durable = memory.at("durable").get<std::uint64_t>(), used = memory.at("used").get<std::uint64_t>();
      return durable >= 28 * kMiB && durable + used <= 65 * kMiB;
    });
  };
  EXPECT_TRUE(eventually(has_room, kSoon)) << report;
  add_node();  // or the next program may find nobody with room for what it was given
  expect_done(*tenant({"check", "data", "40", "7", "kept", "safe", "28", "5"}));
  for (const auto& node : nodes_) node->signal(SIGKILL);
  for (const auto& node : nodes_) EXPECT_NE(node->wait(kSoon), 0);
}

TEST_F(Members, on_several_hosts_with_encryption) {
  hosts_ = std::make_unique<FakeHosts>(3);
  if (!hosts_->made()) GTEST_SKIP() << "no network namespaces here";
  listen_ = "10.77.0.2:7000";
  add_node({}, 0);
  add_node({}, 1);
  add_node({"--listen", "10.77.0.4:7001"}, 2);
  EXPECT_EQ(addresses_[2], "10.77.0.4:7001");
  expect_done(*tenant({"fill", "data", "4", "7"}, 1));
  expect_done(*tool({"leave", "10.77.0.3:" + addresses_[1].substr(addresses_[1].rfind(':') + 1)}));
  expect_done(*nodes_[1]);
  nodes_.erase(nodes_.begin() + 1);
  expect_done(*tenant({"check", "data", "4", "7"}));
  end_all();
}

}  // namespace
}  // namespace gallocy::testing
