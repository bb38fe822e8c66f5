#include "durable_workloads.h"

namespace program {

using gallocy::ErrorCode;
using gallocy::Node;
using gallocy::Result;
using gallocy::Transaction;
using gallocy::testing::BoardOperation;
using gallocy::testing::kMostOperations;

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

void say(const char* what) {
  std::printf("node %u %s\n", Node::current()->id(), what);
  std::fflush(stdout);
}

Board& board_of(const Arguments& arguments) {
  Board* const board = Board::map(arguments.all.at(0));
  if (board == nullptr) wrong("no board");
  return *board;
}

void run_with_news(Node& node, Board& board, const std::function<void(unsigned)>& f) {
  may_be_torn(board, node.id());
  std::atomic<bool> over{false};
  std::thread news([&] {
    while (!over) {
      const gallocy::Statistics s = node.statistics();
      board.node[node.id()].unrestored = s.durable_unrestored;
      board.node[node.id()].epoch = s.durable_epoch;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  run_threads(kThreads, f);
  over = true;
  news.join();
}

void finish(Node& node) {
  (void)node.barrier();
  say("finished");
}

// -------------------------------------------------------------------------------------------- bank

namespace {

void transfer(const Bank& bank, Random& random, Word* ledger) {
  Word* const from = bank.account(random.below(kAccounts));
  Word* const to = bank.account(random.below(kAccounts));
  const Word amount = random.below(10);
  need(gallocy::transact([&](Transaction& t) {
    const Word there = t.read(from);
    if (there >= amount) {
      t.write(from, there - amount);
      t.write(to, t.read(to) + amount);
    }
    t.write(ledger, t.read(ledger) + 1);
  }));
}

void audit(const Bank& bank, gallocy::Timeout timeout = gallocy::kForever) {
  const Result<Word> total = gallocy::transact(
      [&](Transaction& t) {
        Word sum = 0;
        for (std::size_t i = 0; i < kAccounts; ++i) sum += t.read(bank.account(i));
        return sum;
      },
      timeout);
  if (!total && total.error().code == ErrorCode::kConflict) return;  // too much went on
  if (need(total) != kAccounts * kFirstBalance) wrong("there is %lu in all accounts", *total);
}

}  // namespace

Word happened(const Bank& bank, const Board& board, unsigned node, unsigned thread) {
  const Word told = board.node[node].thread[thread].acknowledged;
  const Word there = need(gallocy::transact([&](Transaction& t) { return t.read(bank.ledger(node, thread)); }));
  if (there != told && there != told + 1)
    wrong("thread %u of node %u was told of %lu transfers, of which there are %lu", thread, node, told, there);
  return there;
}

void bank(Node& node, const Arguments& arguments) {
  Board& board = board_of(arguments);
  const Bank bank{durable<Word>("bank", kBankWords, static_cast<unsigned>(arguments.number(1)))};
  need(gallocy::transact([&](Transaction& t) {
    if (t.read(bank.opened()) != 0) return;
    t.write(bank.opened(), 1);
    for (std::size_t i = 0; i < kAccounts; ++i) t.write(bank.account(i), kFirstBalance);
  }));
  need(node.barrier());
  say("is ready");
  run_with_news(node, board, [&](unsigned thread) {
    Random random(now_ns());
    auto& acknowledged = board.node[node.id()].thread[thread].acknowledged;
    acknowledged = happened(bank, board, node.id(), thread);
    while (!board.stop) {
      transfer(bank, random, bank.ledger(node.id(), thread));
      ++acknowledged;
      if (thread == 0 && random.below(10) == 0) audit(bank, std::chrono::milliseconds(200));
    }
  });
  audit(bank);
  for (unsigned n = 0; n < node.count(); ++n) {
    for (unsigned t = 0; t < kThreads; ++t) (void)happened(bank, board, n, t);
  }
  finish(node);
}

// -------------------------------------------------------------------------------------------- registers

namespace {

constexpr std::uint32_t kRegisters = 4;
enum Kind : std::uint8_t { kRead, kWrite, kCompareAndSet };

// What is known before the operation is on the board before it begins, as its node may die in the midst of it.
void operate(BoardOperation& operation, Word* const at, std::uint32_t reg, std::uint8_t kind, Word value) {
  operation = {
      .value = value, .expected = 0, .called = now_ns(), .returned = ~Word{0}, .reg = reg, .kind = kind, .success = 0};
  std::atomic_signal_fence(std::memory_order_seq_cst);
  Transaction t;
  if (kind != kWrite) {
    const Word there = t.read(at);
    (kind == kRead ? operation.value : operation.expected) = there;
  }
  if (kind != kRead) t.write(at, value);
  const Result<> done = t.commit();
  if (!done && done.error().code != ErrorCode::kConflict) end(done.error());
  operation.success = done.has_value();
  operation.returned = now_ns();
}

}  // namespace

void registers(Node& node, const Arguments& arguments) {
  Board& board = board_of(arguments);
  Word* const words = durable<Word>("registers", kBlockWords * kRegisters, static_cast<unsigned>(arguments.number(1)));
  need(node.barrier());
  say("is ready");
  run_with_news(node, board, [&](unsigned thread) {
    Random random(now_ns());
    auto& mine = board.node[node.id()].thread[thread];
    const Word tag = (Word{node.id()} * kThreads + thread + 1) << 32;
    while (!board.stop && mine.operations < kMostOperations) {
      const auto reg = static_cast<std::uint32_t>(random.below(kRegisters));
      BoardOperation& operation = mine.operation[mine.operations];
      operation.called = 0;
      ++mine.operations;
      operate(operation, words + kBlockWords * reg, reg, static_cast<std::uint8_t>(random.below(3)),
              tag | mine.operations);
      ++mine.acknowledged;
      // The checker's time grows with what overlaps, and there should be operations left when nodes die.
      std::this_thread::sleep_for(std::chrono::microseconds(random.below(2000)));
    }
  });
  finish(node);
}

}  // namespace program
