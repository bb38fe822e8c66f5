#include "vmm/last_members.h"

#include <gmock/gmock.h>

#include "vmm/log.h"

namespace gallocy::vmm {
namespace {

using ::testing::ElementsAre;

constexpr NodeId kFounder{0};

// A cluster of one with its log on disk, written down as a driver would.
class LastMembersTest : public ::testing::Test {
 protected:
  LastMembersTest() {
    options_.self = kFounder;
    options_.founders = {kFounder};
    options_.snapshot_bytes = 2'000;
    options_.core.storage = raft::Storage::kDurable;
    disk_ = first_state(options_);
    log_ = std::make_unique<Log>(LogOptions{.self = kFounder}, raft_log(options_));
    step([&](Effects& effects) { log_->start(now_, effects); });
  }

  template <typename F>
  void step(F f) {
    Effects effects;
    f(effects);
    log_->flush(++now_, effects);
    while (!effects.persist.empty()) {
      const auto writes = std::exchange(effects.persist, {});
      for (const raft::Persist& persist : writes) {
        write(persist);
        log_->persisted(persist.sequence, now_, effects);
      }
      log_->flush(++now_, effects);
    }
  }
  void propose(Entry entry) {
    step([&](Effects& effects) { log_->propose(std::move(entry), Ticket{++ticket_}, now_, effects); });
  }
  void write(const raft::Persist& persist) {
    if (persist.snapshot) {
      const std::size_t dropped = persist.snapshot->index.value - disk_.snapshot.index.value;
      disk_.entries.erase(disk_.entries.begin(),
                          disk_.entries.begin() + static_cast<std::ptrdiff_t>(std::min(dropped, disk_.entries.size())));
      disk_.snapshot = *persist.snapshot;
    }
    disk_.entries.resize(persist.first.value - disk_.snapshot.index.value - 1);
    disk_.entries.insert(disk_.entries.end(), persist.entries.begin(), persist.entries.end());
  }
  std::vector<std::string> addresses() {
    const auto members = last_members(disk_);
    EXPECT_TRUE(members);
    std::vector<std::string> addresses;
    for (const auto& [node, member] : *members) addresses.push_back(fmt::format("{} at {}", node, member.address));
    return addresses;
  }

  RaftOptions options_;
  raft::PersistentState disk_;
  std::unique_ptr<Log> log_;
  std::uint64_t now_ = 1, ticket_ = 0;
};

TEST_F(LastMembersTest, of_a_log_that_has_only_begun_are_none) { EXPECT_THAT(addresses(), ElementsAre()); }

TEST_F(LastMembersTest, are_those_of_the_entries) {
  propose(MemberJoined{.node = kFounder, .address = "a:1", .on_disk = true});
  for (const std::uint64_t newcomer : {1, 2})
    propose(MemberJoined{.node = kNoNode, .address = fmt::format("b:{}", newcomer), .life = 0, .newcomer = newcomer});
  EXPECT_THAT(addresses(), ElementsAre("0 at a:1", "1 at b:1", "2 at b:2"));
  propose(MemberDied{NodeId{1}, 1});
  EXPECT_THAT(addresses(), ElementsAre("0 at a:1", "2 at b:2"));
}

TEST_F(LastMembersTest, are_also_those_of_the_snapshot) {
  propose(MemberJoined{.node = kFounder, .address = "a:1", .on_disk = true});
  for (int i = 0; i < 200; ++i) propose(BindName{fmt::format("name {}", i), 1});
  ASSERT_TRUE(disk_.snapshot.state);
  propose(MemberJoined{.node = kNoNode, .address = "b:1", .life = 0, .newcomer = 1});
  EXPECT_THAT(addresses(), ElementsAre("0 at a:1", "1 at b:1"));
}

TEST_F(LastMembersTest, of_something_else_are_an_error) {
  disk_.snapshot.index = LogIndex{1};
  disk_.snapshot.state = std::make_shared<const raft::Bytes>(100, std::byte{7});
  EXPECT_EQ(last_members(disk_).error().code, ErrorCode::kProtocol);
}

}  // namespace
}  // namespace gallocy::vmm
