// The store on files that fail: crashes after any byte of any write, with what was not synced lost or torn; full disks;
// bytes that change.
#include "raft/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/prng.h"
#include "raft/testing/torn_files.h"

namespace gallocy::raft {
namespace {

using testing::HasSubstr;

// What a server persists, as its Core would: entries that are appended and replaced, votes, snapshots of its own and of
// others. `state` is what a store must find after it.
class Server {
 public:
  explicit Server(std::uint64_t seed) : random_(seed) {}
  PersistentState state;
  bool takes_snapshots = true;

  Persist next() {
    Persist p;
    if (random_.one_in(5)) ++state.term.value, state.vote = ServerId{random_.below(4)};
    if (state.term == Term{}) state.term = Term{1};
    const std::uint64_t last = end();
    p.first = LogIndex{last + 1};
    if (random_.one_in(6) && last > committed_) p.first = LogIndex{committed_ + 1 + random_.below(last - committed_)};
    state.entries.resize(p.first.value - state.snapshot.index.value - 1);
    for (auto count = random_.below(4); count > 0; --count) {
      Bytes data(random_.below(60));
      for (std::byte& byte : data) byte = std::byte(random_.below(256));
      p.entries.push_back(
          {state.term, EntryKind::kNormal, data.empty() ? nullptr : std::make_shared<const Bytes>(std::move(data))});
    }
    state.entries.insert(state.entries.end(), p.entries.begin(), p.entries.end());
    committed_ += random_.below(end() - committed_ + 1);
    if (takes_snapshots && random_.one_in(7) && committed_ > state.snapshot.index.value) {
      snapshot(p, committed_);
    } else if (takes_snapshots && random_.one_in(25)) {
      foreign_snapshot(p);
    }
    p.term = state.term;
    p.vote = state.vote;
    return p;
  }

 private:
  std::uint64_t end() const { return state.snapshot.index.value + state.entries.size(); }
  void snapshot(Persist& p, std::uint64_t index) {
    const auto gone = static_cast<std::ptrdiff_t>(index - state.snapshot.index.value);
    const Term term = state.entries[static_cast<std::size_t>(gone) - 1].term;
    state.entries.erase(state.entries.begin(), state.entries.begin() + gone);
    install(p, index, term);
  }
  // From a leader, with entries that this server does not have: they take the place of its own.
  void foreign_snapshot(Persist& p) {
    ++state.term.value;
    state.vote = kNoServer;
    committed_ = std::max(committed_, end() - std::min<std::uint64_t>(end() - committed_, random_.below(3))) + 1;
    state.entries.clear();
    p.entries.clear();
    p.first = LogIndex{committed_ + 1};
    install(p, committed_, state.term);
  }
  void install(Persist& p, std::uint64_t index, Term term) {
    Bytes bytes(random_.below(200), std::byte{7});
    state.snapshot = {LogIndex{index},
                      term,
                      {.voters = {ServerId{1}}, .learners = {}},
                      std::make_shared<const Bytes>(std::move(bytes))};
    p.snapshot = state.snapshot;
  }

  Prng random_;
  std::uint64_t committed_ = 0;
};

// Entries and snapshots as text: what tests compare.
std::string text_of(const PersistentState& s) {
  std::string text =
      fmt::format("term {} vote {} snapshot {} ({})", s.term, s.vote.value, s.snapshot.index, s.snapshot.term);
  for (const Entry& e : s.entries) text += fmt::format(" | {} {:x}", e.term, crc32c(e.bytes()));
  return text;
}

// A snapshot on top of a state, without the rest of the write that it was part of.
PersistentState with_snapshot(PersistentState s, const Snapshot& snapshot) {
  const std::uint64_t gone = snapshot.index.value - s.snapshot.index.value;
  const bool leads = gone >= 1 && gone <= s.entries.size() && s.entries[gone - 1].term == snapshot.term;
  s.entries.erase(s.entries.begin(), leads ? s.entries.begin() + static_cast<std::ptrdiff_t>(gone) : s.entries.end());
  s.snapshot = snapshot;
  if (s.term < snapshot.term) s.term = snapshot.term, s.vote = kNoServer;
  return s;
}

struct Found {
  PersistentState state;
  std::vector<std::string> said;
};

tl::expected<std::unique_ptr<Store>, Error> open(TornFiles& files, Found& found, std::size_t segment_bytes = 400) {
  found = {};
  auto store = Store::open(files, {.segment_bytes = segment_bytes}, found.state, found.said);
  if (!store) return tl::unexpected(store.error());
  return std::make_unique<Store>(*std::move(store));
}

TEST(Crc32c, is_that_of_rfc_3720) {
  const char digits[] = "123456789";
  EXPECT_EQ(crc32c(std::as_bytes(std::span(digits, 9))), 0xe3069283u);
  const Bytes zeros(32);
  EXPECT_EQ(crc32c(zeros), 0x8a9136aau);
}

TEST(Store, finds_what_was_written) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    TornFiles files;
    Found found;
    Server server(seed);
    Prng random(seed);
    auto store = open(files, found);
    ASSERT_TRUE(store);
    for (int i = 0; i < 60; ++i) {
      std::vector<Persist> group;
      for (auto count = 1 + random.below(4); count > 0; --count) group.push_back(server.next());
      ASSERT_TRUE((*store)->write(group));
      if (!random.one_in(5)) continue;
      store = open(files, found);
      ASSERT_TRUE(store) << "seed " << seed << ": " << store.error().message;
      ASSERT_EQ(text_of(found.state), text_of(server.state)) << "seed " << seed;
      ASSERT_TRUE(found.said.empty()) << found.said[0];
    }
    EXPECT_LE(files.list()->size(), 12u) << "old segments stay";
  }
}

// A dozen writes, or fewer if one fails: the state that was promised then.
PersistentState write_until_it_ends(Store& store, Server& server) {
  PersistentState promised = server.state;
  for (int i = 0; i < 12; ++i) {
    const Persist p = server.next();
    if (!store.write(std::span(&p, 1))) break;
    promised = server.state;
  }
  return promised;
}

// Every byte and every other step of a run of writes is once the last that happens. What is found then is what some
// number of writes gave, and none is missing that had returned.
TEST(Store, a_crash_at_any_step_loses_nothing_that_was_promised) {
  std::size_t crashes = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    std::size_t steps = 1;
    for (std::size_t last = 0; last < steps; ++last, ++crashes) {
      TornFiles files;
      Found found;
      Server server(seed);
      Prng random(seed * 1'000'003 + last);
      auto store = open(files, found);
      ASSERT_TRUE(store);
      files.set_budget(last);
      const PersistentState promised = write_until_it_ends(**store, server);
      steps = std::max(steps, files.used() + 1);
      files.power_goes(random);
      store = open(files, found);
      ASSERT_TRUE(store) << "seed " << seed << " step " << last << ": " << store.error().message;
      // The write that was under way: all of it, nothing, or its snapshot alone, which stands for committed entries
      // only.
      const std::string text = text_of(found.state), before = text_of(promised), after = text_of(server.state);
      const bool half = server.state.snapshot.index > promised.snapshot.index &&
                        text == text_of(with_snapshot(promised, server.state.snapshot));
      ASSERT_TRUE(text == before || text == after || half) << "seed " << seed << " step " << last << "\n found " << text
                                                           << "\n before " << before << "\n after " << after;
      Persist more;
      more.term = Term{found.state.term.value + 1};
      more.first = LogIndex{found.state.snapshot.index.value + 1};
      ASSERT_TRUE((*store)->write(std::span(&more, 1)));
      Found again;
      ASSERT_TRUE(open(files, again)) << "seed " << seed << " step " << last;
      ASSERT_EQ(again.state.term, more.term);
      ASSERT_TRUE(again.state.entries.empty());
    }
  }
  EXPECT_GT(crashes, 10'000u);
}

// What a process has written that ended before it had synced may be lost until it has been found.
TEST(Store, makes_durable_what_it_finds) {
  const Persist first{.term = Term{1}, .vote = ServerId{1}, .first = LogIndex{1}};
  const Persist second{.term = Term{2}, .vote = ServerId{2}, .first = LogIndex{1}};
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Prng random(seed);
    TornFiles files(TornFiles::Counts::kCalls);
    Found found, again;
    auto store = open(files, found);
    ASSERT_TRUE((*store)->write(std::span(&first, 1)));
    files.set_budget(1);  // the write, and not the sync
    ASSERT_FALSE((*store)->write(std::span(&second, 1)));
    files.process_ends();
    ASSERT_TRUE(open(files, found));
    ASSERT_EQ(found.state.term, second.term);
    files.power_goes(random);
    ASSERT_TRUE(open(files, again));
    EXPECT_EQ(again.state.term, second.term) << "seed " << seed;
  }
}

// The same at any step of a run of writes; then the power goes at once, or when more was written.
TEST(Store, what_was_found_is_there_after_the_next_crash) {
  std::size_t crashes = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    std::size_t steps = 1;
    for (std::size_t last = 0; last < steps; ++last, ++crashes) {
      TornFiles files(TornFiles::Counts::kCalls);
      Found found, again;
      Server server(seed);
      Prng random(seed * 1'000'003 + last);
      auto store = open(files, found);
      ASSERT_TRUE(store);
      files.set_budget(last);
      write_until_it_ends(**store, server);
      steps = std::max(steps, files.used() + 1);
      files.process_ends();
      store = open(files, found);
      ASSERT_TRUE(store) << "seed " << seed << " step " << last << ": " << store.error().message;
      if (random.one_in(2)) {
        Persist more{.term = found.state.term, .vote = found.state.vote};
        more.first = LogIndex{found.state.snapshot.index.value + found.state.entries.size() + 1};
        ASSERT_TRUE((*store)->write(std::span(&more, 1)));
      }
      files.power_goes(random);
      const auto opened = open(files, again);
      ASSERT_TRUE(opened) << "seed " << seed << " step " << last << ": " << opened.error().message;
      ASSERT_EQ(text_of(again.state), text_of(found.state)) << "seed " << seed << " step " << last;
    }
  }
  EXPECT_GT(crashes, 1000u);
}

TEST(Store, a_full_disk_is_said_and_the_write_can_be_repeated) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    TornFiles files;
    Found found;
    Server server(seed);
    Prng random(seed);
    auto store = open(files, found);
    ASSERT_TRUE(store);
    for (int i = 0; i < 30; ++i) {
      const Persist p = server.next();
      files.room = random.below(3000);
      auto written = (*store)->write(std::span(&p, 1));
      if (!written) {
        ASSERT_EQ(written.error().code, ErrorCode::kNoSpace);
        files.room = TornFiles::kUnlimited;
        ASSERT_TRUE((*store)->write(std::span(&p, 1))) << "seed " << seed << " write " << i;
      }
      files.room = TornFiles::kUnlimited;
      Found check;
      ASSERT_TRUE(open(files, check)) << "seed " << seed << " write " << i;
      ASSERT_EQ(text_of(check.state), text_of(server.state)) << "seed " << seed << " write " << i;
    }
  }
}

TEST(Store, after_a_failed_sync_nothing_more_is_promised) {
  TornFiles files;
  Found found;
  Server server(1);
  auto store = open(files, found);
  files.sync_fails = true;
  const Persist p = server.next();
  EXPECT_FALSE((*store)->write(std::span(&p, 1)));
  files.sync_fails = false;
  EXPECT_FALSE((*store)->write(std::span(&p, 1)));
}

// A byte that changes is found: as the torn end of the last batch, or as damage, which is refused with file and place.
TEST(Store, a_changed_byte_is_refused_or_cut_off_and_never_believed) {
  TornFiles files;
  Found found;
  Server server(3);
  server.takes_snapshots = false;
  std::vector<std::string> states{text_of(server.state)};
  auto store = open(files, found);
  for (int i = 0; i < 25; ++i) {
    const Persist p = server.next();
    states.push_back(text_of(server.state));
    ASSERT_TRUE((*store)->write(std::span(&p, 1)));
  }
  std::size_t refused = 0, cut = 0;
  const std::vector<std::string> names = files.list().value();
  for (const std::string& name : names) {
    const Bytes original = files.bytes(name);
    for (std::size_t at = 0; at < original.size(); ++at) {
      Bytes changed = original;
      changed[at] ^= std::byte{0x40};
      files.set_bytes(name, std::move(changed));
      if (const auto opened = open(files, found); !opened) {
        ASSERT_EQ(opened.error().code, ErrorCode::kProtocol);
        ASSERT_THAT(opened.error().message, HasSubstr("is damaged: " + name));
        ++refused;
      } else {
        ASSERT_EQ(text_of(found.state), states[states.size() - 2]);
        ASSERT_EQ(found.said.size(), 1u);
        ++cut;
      }
      files.set_bytes(name, original);
    }
  }
  EXPECT_GT(refused, 500u);
  EXPECT_GT(cut, 10u);
  // A segment in the middle that is gone is missed.
  ASSERT_GT(names.size(), 2u);
  for (std::size_t i = 1; i + 1 < names.size(); ++i) {
    const Bytes original = files.bytes(names[i]);
    files.forget(names[i]);
    EXPECT_FALSE(open(files, found)) << names[i];
    files.set_bytes(names[i], original);
  }
}

TEST(Store, bytes_that_nobody_wrote_are_refused_or_cut_off) {
  Prng random(9);
  for (int round = 0; round < 3000; ++round) {
    TornFiles files;
    Found found;
    for (const char* name : {"log-0000000000000001", "log-0000000000000002", "snapshot-0000000000000005", "other"}) {
      if (random.one_in(3)) continue;
      Bytes bytes(random.below(200));
      for (std::byte& byte : bytes) byte = std::byte(random.one_in(2) ? 0 : random.below(256));
      files.set_bytes(name, std::move(bytes));
    }
    (void)open(files, found);
    EXPECT_TRUE(found.state.entries.empty());
  }
}

}  // namespace
}  // namespace gallocy::raft
