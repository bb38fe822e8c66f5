// bank: many transfers between accounts, from all nodes at once, that survive the death of a node.
//
//   gallocy launch -n 3 --on-peer-lost continue -- bank --transfers 100000
//
// Shows: durable memory, by transactions and (--sections 1) by plain loads and stores in sections. With --durable 0 the
// accounts lie in ordinary shared memory under locks: the same result, which would be lost with a node. (On one node,
// where nobody could survive, it does that by itself.)
#include <algorithm>
#include <cstdio>
#include <vector>

#include "common/example.h"

namespace {

using Balance = std::int64_t;

// The accounts in memory that all workers share; each page of them has a lock.
template <typename Team>
class LockedAccounts {
 public:
  static constexpr std::size_t kInPage = example::kPageBytes / sizeof(Balance);
  struct alignas(example::kPageBytes) Lock {
    typename Team::mutex mutex;
  };
  static constexpr std::size_t kLocks = 64;
  struct Locks {
    Lock of[kLocks];
  };

  LockedAccounts(Team& team, std::size_t count)
      : balances_(example::shared<Balance>(team, "bank.accounts", count)),
        locks_(example::object<Locks>(team, "bank.locks")) {}

  void transfer(std::size_t from, std::size_t to, Balance amount) {
    const std::size_t a = from / kInPage % kLocks, b = to / kInPage % kLocks;
    const std::unique_lock first(locks_.of[std::min(a, b)].mutex);
    std::unique_lock second(locks_.of[std::max(a, b)].mutex, std::defer_lock);
    if (a != b) second.lock();
    balances_[from] -= amount;
    balances_[to] += amount;
  }
  std::vector<Balance> all() { return {balances_.begin(), balances_.end()}; }

 private:
  std::span<Balance> balances_;
  Locks& locks_;
};

// The accounts in durable memory.
class DurableAccounts {
 public:
  DurableAccounts(gallocy::Node& node, std::size_t count, unsigned backups) : count_(count) {
    const auto region = example::or_exit(
        node.map({.name = "bank.accounts", .bytes = count * sizeof(Balance), .durable_backups = backups}));
    balances_ = static_cast<Balance*>(region.data());
  }

  void transfer(std::size_t from, std::size_t to, Balance amount) {
    example::or_exit(gallocy::transact([&](gallocy::Transaction& t) {
      t.write(&balances_[from], t.read(&balances_[from]) - amount);
      t.write(&balances_[to], t.read(&balances_[to]) + amount);
    }));
  }
  std::vector<Balance> all() {
    std::vector<Balance> balances(count_);
    example::or_exit(gallocy::transact(
        [&](gallocy::Transaction& t) { t.read(balances_, balances.data(), count_ * sizeof(Balance)); }));
    return balances;
  }

 private:
  const std::size_t count_;
  Balance* balances_ = nullptr;
};

// The same, with plain loads and stores: each page of the accounts has a durable lock.
class SectionAccounts {
 public:
  SectionAccounts(gallocy::Node& node, std::size_t count, unsigned backups) : count_(count) {
    const auto region = example::or_exit(
        node.map({.name = "bank.accounts", .bytes = count * sizeof(Balance), .durable_backups = backups}));
    balances_ = static_cast<Balance*>(region.data());
  }

  void transfer(std::size_t from, std::size_t to, Balance amount) {
    example::or_exit(gallocy::in_section({lock_of(from), lock_of(to)}, [&] {
      balances_[from] -= amount;
      balances_[to] += amount;
    }));
  }
  std::vector<Balance> all() {
    std::vector<gallocy::DurableLock> locks;
    for (std::size_t i = 0; i < count_; i += kInPage) locks.push_back(lock_of(i));
    auto section = example::or_exit(gallocy::Section::enter(locks));
    std::vector<Balance> balances(balances_, balances_ + count_);
    example::or_exit(section.commit());
    return balances;
  }

 private:
  static constexpr std::size_t kInPage = example::kPageBytes / sizeof(Balance);
  gallocy::DurableLock lock_of(std::size_t account) const {
    return {balances_ + account / kInPage * kInPage, example::kPageBytes};
  }

  const std::size_t count_;
  Balance* balances_ = nullptr;
};

struct Work {
  std::size_t accounts = 20'000, transfers = 4'000;
  std::size_t sections = 0;  // 1: sections, not transactions
};

// Which transfers there are depends on neither the number of workers nor their pace, and their order does not matter.
template <typename Team, typename Accounts>
example::Outcome run_bank(Team& team, const Work& work, Accounts&& accounts) {
  example::Outcome outcome;
  outcome.seconds = example::seconds_of(team, [&] {
    const auto [begin, end] = gallocy::share(work.transfers, team.id(), team.count());
    for (std::size_t i = begin; i < end; ++i) {
      accounts.transfer(example::random_word(1, i) % work.accounts, example::random_word(2, i) % work.accounts,
                        static_cast<Balance>(example::random_word(3, i) % 1000));
    }
  });
  if (team.id() == 0) {
    Balance sum = 0;
    example::Digest digest;
    for (const Balance balance : accounts.all()) sum += balance, digest.add(static_cast<std::uint64_t>(balance));
    outcome.digest = digest.value();
    if (sum != 0) outcome.wrong = "money was made or lost";
  }
  team.barrier();
  return outcome;
}

example::Outcome run_bank(example::ThreadTeam& team, const Work& work, std::size_t) {
  return run_bank(team, work, LockedAccounts(team, work.accounts));
}

example::Outcome run_bank(example::ClusterTeam& team, const Work& work, std::size_t backups) {
  backups = std::min<std::size_t>(backups, team.count() - 1);
  if (backups == 0) return run_bank(team, work, LockedAccounts(team, work.accounts));
  gallocy::Node& node = *gallocy::Node::current();
  const auto k = static_cast<unsigned>(backups);
  return work.sections != 0 ? run_bank(team, work, SectionAccounts(node, work.accounts, k))
                            : run_bank(team, work, DurableAccounts(node, work.accounts, k));
}

}  // namespace

int main(int argc, char** argv) {
  Work work;
  std::size_t backups = 1;
  example::CommandLine line("Transfers money between accounts, durably.");
  line.add("--accounts", work.accounts, 1, 1'000'000, "accounts");
  line.add("--transfers", work.transfers, 0, 1'000'000'000, "transfers between them");
  line.add("--sections", work.sections, 0, 1, "1: by plain loads and stores in sections; 0: by transactions");
  line.add("--durable", backups, 0, gallocy::kMaxDurableBackups, "nodes that may die at once without a loss");
  return example::run(line, argc, argv, [&](auto& team) { return run_bank(team, work, backups); });
}
