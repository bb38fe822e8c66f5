// durable_node ACTION [argument…]: a program that does one thing with durable memory on all nodes. It says "node N is
// PID" when it has joined and "node N is ready" when the test may strike.
#include "durable_workloads.h"
#include "program.h"

namespace {

using gallocy::ErrorCode;
using gallocy::Node;
using gallocy::Transaction;
using program::need;
using program::Word;
using program::wrong;

void refused(const gallocy::Result<>& done, ErrorCode code, const char* what) {
  if (done) wrong("%s was not refused", what);
  if (done.error().code != code) wrong("%s: %s (%d)", what, done.error().message.c_str(), exit_status(done.error()));
  if (Node::current()->id() == 0) std::printf("refused: %s\n", done.error().message.c_str());
}

// refusals: what cannot be.
void refusals(Node& node, const program::Arguments&) {
  const auto map = [&](unsigned backups, gallocy::Placement placement = {}) -> gallocy::Result<> {
    const auto region = node.map({.name = "none", .bytes = 4096, .placement = placement, .durable_backups = backups});
    if (!region) return tl::unexpected(region.error());
    return {};
  };
  refused(map(node.count()), ErrorCode::kInvalidArgument, "as many backups as nodes");
  refused(map(1000), ErrorCode::kInvalidArgument, "very many backups");
  refused(map(1, gallocy::Placement::on(0)), ErrorCode::kInvalidArgument, "a placement");
  Word* const durable = program::durable<Word>("durable", 1 << 18, 1);
  Word* const plain = program::shared<Word>("plain", 1);
  Transaction t;
  t.write(plain, 1);
  refused(t.commit(), ErrorCode::kInvalidArgument, "a write elsewhere");
  Word on_stack = 1;
  if (t.read(&on_stack) != 0) wrong("a read of private memory gave something");
  refused(t.commit(), ErrorCode::kInvalidArgument, "a read elsewhere");
  std::vector<Word> block(1 << 15);
  t.write(durable, block.data(), block.size() * sizeof(Word));
  refused(t.commit(), ErrorCode::kInvalidArgument, "a whole block");
  if (need(gallocy::transact([&](Transaction& u) { return u.read(durable); })) != 0) wrong("not zero");
  need(node.barrier());
}

// touch: one node reads durable memory as if it were memory.
void touch(Node& node, const program::Arguments&) {
  Word* const durable = program::durable<Word>("touched", 1, 1);
  need(node.barrier());
  if (node.id() == 1) wrong("a plain read gave %lu", program::load(*durable));
  for (;;) ::pause();
}

// large: ranges over many blocks, written by one node and read by another; both in a few transactions.
void large(Node& node, const program::Arguments&) {
  constexpr std::size_t kWords = (3 << 20) / sizeof(Word), kShare = 100'000 / sizeof(Word);
  Word* const words = program::durable<Word>("large", kWords, node.count() > 2 ? 2 : 1);
  // Half of each block, so that comparing and writing it fits.
  std::vector<Word> part(kShare);
  constexpr std::size_t kBlockWords = (256 << 10) / sizeof(Word);
  if (node.id() == 0) {
    Transaction t;
    for (std::size_t begin = 1000; begin + kShare <= kWords; begin += kBlockWords) {
      for (std::size_t i = 0; i < kShare; ++i) part[i] = begin + i;
      t.write(words + begin, part.data(), kShare * sizeof(Word));
      t.read(words + begin + 10, part.data(), 1000);
      if (part[0] != begin + 10) wrong("a transaction does not see what it wrote");
    }
    need(t.commit());
  }
  need(node.barrier());
  std::vector<Word> all(kWords);
  Transaction t;
  t.read(words, all.data(), kWords * sizeof(Word));
  need(t.so_far());
  for (std::size_t i = 0; i < kWords; ++i) {
    const bool written =
        i >= 1000 && (i - 1000) % kBlockWords < kShare && i - (i - 1000) % kBlockWords + kShare <= kWords;
    if (all[i] != (written ? i : 0)) wrong("word %zu is %lu", i, all[i]);
  }
  need(node.barrier());
}

// increments COUNT THREADS: all threads of all nodes increment the same words.
void increments(Node& node, const program::Arguments& arguments) {
  const Word count = arguments.number(0), threads = arguments.number(1);
  constexpr std::size_t kCounters = 3, kApart = (256 << 10) / sizeof(Word);  // each in another block
  Word* const counters = program::durable<Word>("counters", kCounters * kApart, 1);
  program::run_threads(threads, [&](unsigned thread) {
    program::Random random(node.id() * 1000 + thread);
    for (Word i = 0; i < count; ++i) {
      Word* const counter = counters + random.below(kCounters) * kApart;
      Word* const other = counters + random.below(kCounters) * kApart;
      need(gallocy::transact([&](Transaction& t) {
        t.write(counter, t.read(counter) + 1);
        t.write(other, t.read(other) + 1);
      }));
    }
  });
  need(node.barrier());
  const Word sum = need(gallocy::transact([&](Transaction& t) {
    Word total = 0;
    for (std::size_t i = 0; i < kCounters; ++i) total += t.read(counters + i * kApart);
    return total;
  }));
  if (sum != 2 * count * threads * node.count())
    wrong("%lu increments are %lu", 2 * count * threads * node.count(), sum);
  need(node.barrier());
}

const std::map<std::string, void (*)(Node&, const program::Arguments&)> kActions = {
    {"refusals", refusals},
    {"touch", touch},
    {"large", large},
    {"increments", increments},
    {"bank", program::bank},
    {"registers", program::registers},
    {"section_refusals", program::section_refusals},
    {"sections", program::sections},
    {"halfway", program::halfway},
    {"section_bank", program::section_bank},
};

}  // namespace

int main(int argc, char** argv) {
  const auto action = argc > 1 ? kActions.find(argv[1]) : kActions.end();
  if (action == kActions.end()) wrong("no such action");
  auto node = need(Node::join());
  std::printf("node %u is %d\n", node->id(), ::getpid());
  std::fflush(stdout);
  action->second(*node, {{argv + 2, argv + argc}});
}
