// A program that joins a running cluster (members_test.cc). What it does is its arguments, in order; it says each thing
// that it has done.
//
//   fill NAME MIB SEED   writes the region
//   check NAME MIB SEED  reads all of it
//   keep NAME MIB SEED   the same in durable(1) memory
//   kept NAME MIB SEED
//   turns NAME N         N times: a counter is raised under a named mutex
//   sum NAME N           expects the counter to be N
//   stay                 waits for SIGTERM
//   hold NAME            takes the named mutex and keeps it
//   take NAME N          acquires N permits, one by one, of the named semaphore, which begins with none; says each
//   give NAME N          releases N of them
//   step NAME N          counts the named latch of two down by N
//   pass NAME            waits for it
//   meet NAME N          arrives at the named barrier of N and waits
//   transfers NAME N     N transfers between accounts in durable memory; every tenth is said. Until SIGTERM, if N is 0.
//                        The memory is durable(2), or durable(1) if the name ends in 1
//   audit NAME           expects that no money was made or lost
//   noted NAME NODE N    expects that node NODE has made more than N transfers
//   submits NAME N       N transactions in durable memory, sixteen of them under way at a time, all of which happen;
//                        and of two that want the same, one. Every tenth is said. Until SIGTERM, if N is 0
#include <signal.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "program.h"

namespace {

using program::need;
using program::wrong;

constexpr std::size_t kBlockWords = (256 << 10) / sizeof(std::uint64_t);

std::uint64_t word_at(std::uint64_t index, std::uint64_t seed) { return (index + 1) * 0x9e3779b97f4a7c15 ^ seed; }

std::uint64_t* words(const std::string& name, std::uint64_t mib) {
  return program::shared<std::uint64_t>(name, (mib << 20) / sizeof(std::uint64_t));
}

void fill(const std::string& name, std::uint64_t mib, std::uint64_t seed) {
  std::uint64_t* const data = words(name, mib);
  for (std::uint64_t i = 0; i < (mib << 20) / sizeof *data; ++i) data[i] = word_at(i, seed);
}

void check(const std::string& name, std::uint64_t mib, std::uint64_t seed) {
  const std::uint64_t* const data = words(name, mib);
  for (std::uint64_t i = 0; i < (mib << 20) / sizeof *data; ++i) {
    if (data[i] != word_at(i, seed))
      wrong("word %lu of %s is %lx, not %lx", i, name.c_str(), data[i], word_at(i, seed));
  }
}

// f(a thousand words of durable memory or less, which of the region the first is), in a transaction each.
template <typename F>
void for_durable_words(const std::string& name, std::uint64_t mib, F f) {
  const auto region = need(gallocy::Node::current()->map({.name = name, .bytes = mib << 20, .durable_backups = 1}));
  auto* const data = static_cast<std::uint64_t*>(region.data());
  std::vector<std::uint64_t> some(1000);
  for (std::uint64_t at = 0; at < (mib << 20) / sizeof *data; at += some.size()) {
    some.resize(std::min<std::uint64_t>(1000, kBlockWords - at % kBlockWords));
    need(gallocy::transact([&](gallocy::Transaction& t) { f(t, data + at, at, some); }));
  }
}

void keep(const std::string& name, std::uint64_t mib, std::uint64_t seed) {
  for_durable_words(name, mib, [&](auto& t, auto* data, std::uint64_t at, auto& some) {
    for (std::uint64_t i = 0; i < some.size(); ++i) some[i] = word_at(at + i, seed);
    t.write(data, some.data(), some.size() * sizeof some[0]);
  });
}

void kept(const std::string& name, std::uint64_t mib, std::uint64_t seed) {
  for_durable_words(name, mib, [&](auto& t, auto* data, std::uint64_t at, auto& some) {
    t.read(data, some.data(), some.size() * sizeof some[0]);
    for (std::uint64_t i = 0; i < some.size(); ++i) {
      if (some[i] != word_at(at + i, seed))
        wrong("word %lu of %s is %lx, not %lx", at + i, name.c_str(), some[i], word_at(at + i, seed));
    }
  });
}

void turns(const std::string& name, std::uint64_t count) {
  auto* const counter = program::shared<std::uint64_t>(name, 1);
  gallocy::mutex mutex(name);
  for (std::uint64_t i = 0; i < count; ++i) {
    mutex.lock();
    const std::uint64_t before = *counter;
    *counter = before + 1;
    mutex.unlock();
  }
}

void stay() {
  sigset_t end;
  ::sigemptyset(&end);
  ::sigaddset(&end, SIGTERM);
  int got = 0;
  ::sigwait(&end, &got);
}

constexpr std::size_t kAccounts = 64;

// In blocks of their own, so that most transfers concern several companies; the first has what each node has done.
std::int64_t* bank(const std::string& name) {
  const std::uint8_t backups = name.ends_with('1') ? 1 : 2;
  const auto region = need(gallocy::Node::current()->map(
      {.name = name, .bytes = 9 * kBlockWords * sizeof(std::int64_t), .durable_backups = backups}));
  return static_cast<std::int64_t*>(region.data());
}
std::int64_t* account(std::int64_t* bank, std::size_t i) { return bank + kBlockWords * (1 + i % 8) + i; }

bool asked_to_end() {
  sigset_t pending;
  ::sigpending(&pending);
  return ::sigismember(&pending, SIGTERM) == 1;
}

void transfers(const std::string& name, std::uint64_t count) {
  std::int64_t* const all = bank(name);
  std::int64_t* const mine = all + gallocy::Node::current()->id();
  program::Random random(gallocy::Node::current()->id());
  std::int64_t done = 0;
  for (; count == 0 ? !asked_to_end() : static_cast<std::uint64_t>(done) < count; ++done) {
    std::int64_t* const from = account(all, random.below(kAccounts));
    std::int64_t* const to = account(all, random.below(kAccounts));
    const auto amount = static_cast<std::int64_t>(random.below(100));
    need(gallocy::transact([&](gallocy::Transaction& t) {
      t.write(from, t.read(from) - amount);
      t.write(to, t.read(to) + amount);
      t.write(mine, t.read(mine) + 1);
    }));
    if (done % 10 == 0) {
      std::printf("transfer %ld\n", done);
      std::fflush(stdout);
    }
  }
  const std::int64_t noted = need(gallocy::transact([&](gallocy::Transaction& t) { return t.read(mine); }));
  if (noted != done) wrong("%ld transfers were acknowledged, %ld happened", done, noted);
}

void audit(const std::string& name) {
  std::int64_t* const all = bank(name);
  const std::int64_t sum = need(gallocy::transact([&](gallocy::Transaction& t) {
    std::int64_t money = 0;
    for (std::size_t i = 0; i < kAccounts; ++i) money += t.read(account(all, i));
    return money;
  }));
  if (sum != 0) wrong("there is %ld too much in all accounts", sum);
}

void noted(const std::string& name, std::uint64_t node, std::int64_t least) {
  std::int64_t* const all = bank(name);
  const auto is = need(gallocy::transact([&](gallocy::Transaction& t) { return t.read(all + node); }));
  if (is <= least) wrong("node %lu had done transfer %ld, and there are %ld", node, least, is);
}

// What was acknowledged is there, whatever becomes of other nodes.
void submits(const std::string& name, std::uint64_t count) {
  constexpr std::size_t kWindow = 16;
  std::int64_t* const all = bank(name);
  std::int64_t* const mine = all + 4096 + gallocy::Node::current()->id() * (kWindow + 1);
  std::int64_t written[kWindow] = {};
  std::deque<gallocy::Commitment> under_way;
  gallocy::Transaction t;
  for (std::uint64_t done = 0; count == 0 ? !asked_to_end() : done < count; ++done) {
    const std::size_t slot = done % kWindow;
    if (under_way.size() == kWindow) {
      need(under_way.front().wait());
      under_way.pop_front();
    }
    t.write(mine + slot, ++written[slot]);
    under_way.push_back(t.submit());
    if (done % 10 != 0) continue;
    std::printf("submitted %lu\n", done);
    std::fflush(stdout);
  }
  for (gallocy::Commitment& commitment : under_way) need(commitment.wait());
  for (std::size_t slot = 0; slot < kWindow; ++slot) {
    const auto is = need(gallocy::transact([&](gallocy::Transaction& u) { return u.read(mine + slot); }));
    if (is != written[slot]) wrong("%ld were acknowledged, there is %ld", written[slot], is);
  }
  std::int64_t* const contested = mine + kWindow;
  for (int round = 0; round < 50; ++round) {
    gallocy::Transaction one, other;
    for (gallocy::Transaction* each : {&one, &other}) each->write(contested, each->read(contested) + 1);
    gallocy::Commitment first = one.submit(), second = other.submit();
    const auto won = static_cast<int>(first.wait().has_value()) + static_cast<int>(second.wait().has_value());
    if (won > 1 || !second.is_decided()) wrong("both of two that exclude each other happened");
  }
}

void take(const std::string& name, std::uint64_t permits) {
  gallocy::semaphore semaphore(name, 0);
  for (std::uint64_t i = 1; i <= permits; ++i) {
    semaphore.acquire();
    std::printf("took %lu of %s\n", i, name.c_str());
    std::fflush(stdout);
  }
}

}  // namespace

int main(int count, char** arguments) {
  sigset_t end;
  ::sigemptyset(&end);
  ::sigaddset(&end, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &end, nullptr);
  const auto node = need(gallocy::Node::join());
  std::printf("node %u of %u is %d\n", node->id(), node->count(), ::getpid());
  std::fflush(stdout);
  for (int i = 1; i < count;) {
    const std::string action = arguments[i++];
    const auto text = [&] {
      return i < count ? std::string(arguments[i++]) : (wrong("%s: what?", action.c_str()), "");
    };
    const auto number = [&] { return std::stoull(text()); };
    const std::string name = action == "stay" ? "" : text();
    if (action == "fill" || action == "check") {
      const auto mib = number(), seed = number();
      action == "fill" ? fill(name, mib, seed) : check(name, mib, seed);
    } else if (action == "keep" || action == "kept") {
      const auto mib = number(), seed = number();
      action == "keep" ? keep(name, mib, seed) : kept(name, mib, seed);
    } else if (action == "turns") {
      turns(name, number());
    } else if (action == "sum") {
      const std::uint64_t is = *program::shared<std::uint64_t>(name, 1), expected = number();
      if (is != expected) wrong("%s is %lu, not %lu", name.c_str(), is, expected);
    } else if (action == "transfers") {
      transfers(name, number());
    } else if (action == "submits") {
      submits(name, number());
    } else if (action == "audit") {
      audit(name);
    } else if (action == "noted") {
      const auto node = number(), least = number();
      noted(name, node, static_cast<std::int64_t>(least));
    } else if (action == "hold") {
      (new gallocy::mutex(name))->lock();
    } else if (action == "take") {
      take(name, number());
    } else if (action == "give") {
      gallocy::semaphore(name, 0).release(static_cast<std::uint32_t>(number()));
    } else if (action == "step") {
      gallocy::latch(name, 2).count_down(static_cast<std::uint32_t>(number()));
    } else if (action == "pass") {
      gallocy::latch(name, 2).wait();
    } else if (action == "meet") {
      gallocy::barrier(name, static_cast<std::uint32_t>(number())).arrive_and_wait();
    } else if (action == "stay") {
      stay();
    } else {
      wrong("%s: what is that?", action.c_str());
    }
    std::printf("did %s %s\n", action.c_str(), name.c_str());
    std::fflush(stdout);
  }
}
