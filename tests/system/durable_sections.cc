// Sections of durable_node: plain loads and stores of durable memory.
#include "durable_workloads.h"

namespace program {

using gallocy::DurableLock;
using gallocy::ErrorCode;
using gallocy::in_section;
using gallocy::Node;
using gallocy::Result;
using gallocy::Section;
using gallocy::Transaction;

namespace {

constexpr std::size_t kPageWords = kPageBytes / sizeof(Word);

template <typename T>
void refused(const Result<T>& done, ErrorCode code, const char* what) {
  if (done) wrong("%s was not refused", what);
  if (done.error().code != code) wrong("%s: %s (%d)", what, done.error().message.c_str(), exit_status(done.error()));
  if (Node::current()->id() == 0) std::printf("refused: %s\n", done.error().message.c_str());
}

Word committed(const Word* at) {
  return need(gallocy::transact([&](Transaction& t) { return t.read(at); }));
}

}  // namespace

// What cannot be, and what must not stay of a section that ended otherwise than by its commit.
void section_refusals(Node& node, const Arguments&) {
  Word* const words = durable<Word>("refusals", (1 + node.count()) * kBlockWords, 1);
  Word* const plain = shared<Word>("plain", 1);
  const auto enter = [](std::initializer_list<DurableLock> locks) { return Section::enter(locks); };
  refused(enter({}), ErrorCode::kInvalidArgument, "no lock");
  refused(enter({{plain, 8}}), ErrorCode::kInvalidArgument, "plain memory");
  refused(enter({{&node, 8}}), ErrorCode::kInvalidArgument, "private memory");
  refused(enter({{words + 1, 8}}), ErrorCode::kInvalidArgument, "a word within a page");
  refused(enter({{words, 0}}), ErrorCode::kInvalidArgument, "no page");
  refused(enter({{words, std::size_t{1} << 40}}), ErrorCode::kInvalidArgument, "more than the region");
  refused(enter({{words, ~std::size_t{0}}}), ErrorCode::kInvalidArgument, "more than there is");
  refused(enter({{words, 2 * kPageBytes}, {words + kPageWords, 8}}), ErrorCode::kInvalidArgument, "locks that overlap");
  need(node.barrier());
  Word* const own = words + (1 + node.id()) * kBlockWords;
  const DurableLock lock(own, 2 * kPageBytes), beyond(own + kPageWords, 2 * kPageBytes);
  {
    Section section = need(Section::enter({lock, lock}));
    own[0] = 1;
    refused(enter({lock}), ErrorCode::kInvalidArgument, "a lock that this thread has");
    std::thread([&] { refused(enter({beyond}), ErrorCode::kInvalidArgument, "a lock that overlaps"); }).join();
    std::thread([&] {
      refused(Section::enter({lock}, std::chrono::milliseconds(1)), ErrorCode::kTimeout, "a lock of another");
    }).join();
    own[1] = own[kPageWords] = 2;
  }
  if (committed(own) != 0 || committed(own + kPageWords) != 0) wrong("what was rolled back is there");
  const Result<> thrown = in_section({lock}, [&] {
    if (own[0] != 0 || own[1] != 0) wrong("another section sees what was rolled back");
    own[0] = 3;
  });
  need(thrown);
  {
    // Somebody writes past the lock to a page that the section has only read.
    Section section = need(Section::enter({lock}));
    own[0] = own[kPageWords] + 4;
    need(gallocy::transact([&](Transaction& t) { t.write(own + kPageWords + 7, 1); }));
    refused(section.commit(), ErrorCode::kConflict, "a section that was overtaken");
    refused(section.commit(), ErrorCode::kInvalidArgument, "a second commit");
  }
  if (committed(own) != 3) wrong("a section that had a conflict is there");
  {
    Section section = need(Section::enter({{own, kBlockWords * sizeof(Word)}}));
    for (std::size_t i = 0; i < kBlockWords; ++i) own[i] = i + 10;
    refused(section.commit(), ErrorCode::kInvalidArgument, "a whole block");
  }
  if (committed(own) != 3) wrong("a section that was too large is there");
  need(in_section({lock}, [&] {
    need(node.prefault(own + kPageWords, kPageBytes, gallocy::Access::kWrite));
    own[kPageWords] = 5;
  }));
  if (committed(own + kPageWords) != 5) wrong("a page that was fetched ahead is not there");
  need(node.barrier());
}

namespace {

// Counters in blocks of their own; each has a page that counts with it, which one lock covers too.
struct Counters {
  static constexpr std::size_t kCount = 3;
  Word* words;
  Word* at(std::size_t i) const { return words + i * kBlockWords; }
  Word* beside(std::size_t i) const { return at(i) + 5 * kPageWords + 17; }
  DurableLock lock(std::size_t i) const { return {at(i), 6 * kPageBytes}; }
};

void increment(Word* word) { store(*word, load(*word) + 1); }

void check_counters(const Counters& counters, Word expected) {
  Word sum = 0;
  need(in_section({counters.lock(0), counters.lock(1), counters.lock(2)}, [&] {
    sum = 0;
    for (std::size_t i = 0; i < Counters::kCount; ++i) {
      if (*counters.at(i) != *counters.beside(i)) wrong("%lu beside %lu", *counters.at(i), *counters.beside(i));
      sum += *counters.at(i);
    }
  }));
  if (sum != expected) wrong("%lu increments are %lu", expected, sum);
}

}  // namespace

// All threads of all nodes increment the same words, in sections and, every fourth time, in transactions.
void sections(Node& node, const Arguments& arguments) {
  const Word count = arguments.number(0), threads = arguments.number(1);
  const Counters counters{durable<Word>("counters", Counters::kCount * kBlockWords, 1)};
  run_threads(static_cast<unsigned>(threads), [&](unsigned thread) {
    Random random(node.id() * 1000 + thread);
    for (Word i = 0; i < count; ++i) {
      const std::size_t a = random.below(Counters::kCount), b = random.below(Counters::kCount);
      if (i % 4 == 3) {
        need(gallocy::transact([&](Transaction& t) {
          for (Word* const word : {counters.at(a), counters.beside(a), counters.at(b), counters.beside(b)})
            t.write(word, t.read(word) + 1);
        }));
        continue;
      }
      need(in_section({counters.lock(a), counters.lock(b)}, [&] {
        increment(counters.at(a));
        random.delay();
        increment(counters.beside(b));
        increment(counters.beside(a));
        increment(counters.at(b));
      }));
    }
  });
  need(node.barrier());
  check_counters(counters, 2 * count * threads * node.count());
  need(node.barrier());
}

// One node is killed within a section; another gets its lock, and sees nothing of it.
void halfway(Node& node, const Arguments&) {
  Word* const words = durable<Word>("halfway", 2 * kBlockWords, 1);
  const DurableLock lock(words, 2 * kBlockWords * sizeof(Word));
  if (node.id() == 1) need(in_section({lock}, [&] { words[0] = words[kBlockWords] = 1; }));
  need(node.barrier());
  if (node.id() == 1) {
    const Section section = need(Section::enter({lock}));
    words[0] = 2;
    words[kBlockWords] = 2;
    need(node.barrier());
    say("is halfway");
    for (;;) ::pause();
  }
  need(node.barrier());
  if (node.id() == 0) {
    say("waits");
    const Section section = need(Section::enter({lock}));
    if (!section.owner_died()) wrong("the owner is not said to have died");
    if (words[0] != 1 || words[kBlockWords] != 1) wrong("there is %lu and %lu", words[0], words[kBlockWords]);
    say("saw nothing of it");
  }
  finish(node);
}

// -------------------------------------------------------------------------------------------- bank

namespace {

DurableLock page_of(const Word* word) {
  return {reinterpret_cast<const void*>(reinterpret_cast<std::uint64_t>(word) / kPageBytes * kPageBytes), kPageBytes};
}

// With pauses in between, so that a node that dies leaves sections half done.
void transfer(const Bank& bank, Random& random, Word* ledger) {
  Word* const from = bank.account(random.below(kAccounts));
  Word* const to = bank.account(random.below(kAccounts));
  const Word amount = random.below(10);
  need(in_section({page_of(from), page_of(to), page_of(ledger)}, [&] {
    if (*from >= amount) {
      *from -= amount;
      random.delay();
      *to += amount;
    }
    random.delay();
    *ledger += 1;
  }));
}

void audit(const Bank& bank) {
  Word sum = 0;
  std::vector<DurableLock> locks;
  for (std::size_t i = 0; i < kAccounts; ++i) locks.push_back(page_of(bank.account(i)));
  Section section = need(Section::enter(locks));
  for (std::size_t i = 0; i < kAccounts; ++i) sum += *bank.account(i);
  need(section.commit());
  if (sum != kAccounts * kFirstBalance) wrong("there is %lu in all accounts", sum);
}

}  // namespace

void section_bank(Node& node, const Arguments& arguments) {
  Board& board = board_of(arguments);
  const Bank bank{durable<Word>("bank", kBankWords, static_cast<unsigned>(arguments.number(1)))};
  need(in_section({{bank.words, kBankWords * sizeof(Word)}}, [&] {
    if (*bank.opened() != 0) return;
    *bank.opened() = 1;
    for (std::size_t i = 0; i < kAccounts; ++i) *bank.account(i) = kFirstBalance;
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
      if (thread == 0 && random.below(10) == 0) audit(bank);
    }
  });
  audit(bank);
  for (unsigned n = 0; n < node.count(); ++n) {
    for (unsigned t = 0; t < kThreads; ++t) (void)happened(bank, board, n, t);
  }
  finish(node);
}

}  // namespace program
