#include "raft/log.h"

#include <gtest/gtest.h>

namespace gallocy::raft {
namespace {

Log log_of(const std::vector<std::uint64_t>& terms) {
  Log log;
  for (const std::uint64_t term : terms) log.append({Term{term}, EntryKind::kNoOp, nullptr});
  return log;
}

ServerId server(std::uint16_t node) { return server_id(NodeId{node}, 1); }

Entry configuration_entry(Term term, const Configuration& configuration) {
  return {term, EntryKind::kConfiguration, std::make_shared<const Bytes>(configuration.encode())};
}

// §3.6.1: the later last term wins; of equal terms, the longer log.
TEST(Log, up_to_date_is_the_later_term_then_the_longer_log) {
  const Log log = log_of({1, 1, 3});
  EXPECT_TRUE(log.as_up_to_date(LogIndex{3}, Term{3}));
  EXPECT_TRUE(log.as_up_to_date(LogIndex{4}, Term{3}));
  EXPECT_TRUE(log.as_up_to_date(LogIndex{1}, Term{4}));
  EXPECT_FALSE(log.as_up_to_date(LogIndex{2}, Term{3}));
  EXPECT_FALSE(log.as_up_to_date(LogIndex{99}, Term{2}));
}

TEST(Log, finds_the_ends_of_terms) {
  const Log log = log_of({1, 1, 4, 4, 4, 6});
  EXPECT_EQ(log.first_of_term(LogIndex{5}), LogIndex{3});
  EXPECT_EQ(log.first_of_term(LogIndex{2}), LogIndex{1});
  EXPECT_EQ(log.last_up_to_term(LogIndex{6}, Term{4}), LogIndex{5});
  EXPECT_EQ(log.last_up_to_term(LogIndex{4}, Term{4}), LogIndex{4});
  EXPECT_EQ(log.last_up_to_term(LogIndex{6}, Term{3}), LogIndex{2});
  EXPECT_EQ(log.last_up_to_term(LogIndex{6}, Term{0}), LogIndex{0});
}

TEST(Log, compacted_still_knows_where_it_begins) {
  Log log = log_of({1, 1, 2, 3, 3});
  log.compact_to(LogIndex{3});
  EXPECT_EQ(log.base(), LogIndex{3});
  EXPECT_EQ(log.last(), LogIndex{5});
  EXPECT_TRUE(log.matches(LogIndex{3}, Term{2}));
  EXPECT_FALSE(log.matches(LogIndex{2}, Term{1}));
  EXPECT_FALSE(log.has(LogIndex{3}));
  log.truncate_from(LogIndex{4});
  EXPECT_EQ(log.last(), LogIndex{3});
  EXPECT_EQ(log.last_term(), Term{2});
}

// §4.1: the latest configuration in the log is in force, committed or not; when it goes, the one before is again.
TEST(Log, configuration_follows_the_log) {
  const Configuration two{.voters = {server(1), server(2)}}, three{.voters = {server(1), server(2), server(3)}};
  Log log({}, PersistentState::founding(two).entries);
  log.append({Term{1}, EntryKind::kNoOp, nullptr});
  log.append(configuration_entry(Term{2}, three));
  EXPECT_EQ(log.configurations().latest(), three);
  EXPECT_EQ(log.configurations().latest_index(), LogIndex{3});
  EXPECT_EQ(log.configurations().at(LogIndex{2}), two);
  log.truncate_from(LogIndex{3});
  EXPECT_EQ(log.configurations().latest(), two);
  log.append(configuration_entry(Term{3}, three));
  log.compact_to(LogIndex{2});
  EXPECT_EQ(log.configurations().at(LogIndex{2}), two);
  log.compact_to(LogIndex{3});
  EXPECT_EQ(log.configurations().latest(), three);
  log.reset({LogIndex{9}, Term{4}, two, nullptr});
  EXPECT_EQ(log.configurations().latest(), two);
  EXPECT_EQ(log.last(), LogIndex{9});
}

}  // namespace
}  // namespace gallocy::raft
