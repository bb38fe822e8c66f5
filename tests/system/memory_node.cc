// memory_node ACTION [argument…]: a program that does one thing on all nodes, for the tests of budgets and failures. It
// says "node N is PID" when it has joined and "node N is ready" when the test may strike.
#include <signal.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "program.h"

namespace {

using gallocy::ErrorCode;
using gallocy::Node;
using program::kPageBytes;
using program::Word;
using program::wrong;

constexpr std::size_t kPageWords = kPageBytes / sizeof(Word);

void say(const char* what) {
  std::printf("node %u %s\n", Node::current()->id(), what);
  std::fflush(stdout);
}

struct Call {
  Node& node;
  std::vector<std::string> arguments;
  std::uint64_t number(std::size_t i) const { return std::stoull(arguments.at(i)); }
};

[[noreturn]] void sleep_long() {
  for (;;) ::pause();
}

// sweep MIB: all nodes write their part of so much memory, then read another's; three times.
void sweep(const Call& call) {
  Node& node = call.node;
  const std::size_t words = (call.number(0) << 20) / sizeof(Word);
  Word* const all = program::shared<Word>("sweep", words);
  const auto value = [](unsigned round, std::size_t i) { return (Word{round} + 1) << 48 ^ i * 0x9e3779b97f4a7c15; };
  for (unsigned round = 0; round < 3; ++round) {
    const auto [begin, end] = gallocy::share(words, (node.id() + round) % node.count(), node.count());
    for (std::size_t i = begin; i < end; ++i) {
      if (round > 0 && all[i] != value(round - 1, i)) wrong("word %zu is %#lx before round %u", i, all[i], round);
      all[i] = value(round, i);
    }
    program::need(node.barrier());
  }
  const auto [begin, end] = gallocy::share(words, (node.id() + 1) % node.count(), node.count());
  for (std::size_t i = begin; i < end; ++i) {
    if (all[i] != value(2, i)) wrong("word %zu is %#lx at the end", i, all[i]);
  }
  program::need(node.barrier());
}

// sweep_alone MIB: node 0 writes and reads so much memory, the others lend theirs.
void sweep_alone(const Call& call) {
  const std::size_t words = (call.number(0) << 20) / sizeof(Word);
  Word* const all = program::shared<Word>("sweep", words);
  for (Word round = 1; round <= 2 && call.node.id() == 0; ++round) {
    for (std::size_t i = 0; i < words; i += 8) {
      if (all[i] != (round - 1) * (i + 1)) wrong("word %zu is %lu before round %lu", i, all[i], round);
      all[i] = round * (i + 1);
    }
  }
  program::need(call.node.barrier());
}

// sizes: regions that cannot be.
void sizes(const Call& call) {
  constexpr std::uint64_t kMost = std::uint64_t{8} << 40;
  const auto refused = [&](const gallocy::RegionOptions& options, ErrorCode code) {
    auto region = call.node.map(options);
    if (region) wrong("a region of %lu bytes was mapped", options.bytes);
    if (region.error().code != code) {
      wrong("%lu bytes: %s (%d)", options.bytes, region.error().message.c_str(), gallocy::exit_status(region.error()));
    }
    if (call.node.id() == 0) std::printf("refused: %s\n", region.error().message.c_str());
  };
  refused({.name = "none", .bytes = 0}, ErrorCode::kInvalidArgument);
  refused({.name = "", .bytes = 4096}, ErrorCode::kInvalidArgument);
  refused({.name = std::string(256, 'x'), .bytes = 4096}, ErrorCode::kInvalidArgument);
  refused({.name = "huge", .bytes = kMost + 1}, ErrorCode::kInvalidArgument);
  refused({.name = "largest", .bytes = ~std::uint64_t{0}}, ErrorCode::kInvalidArgument);
  refused({.name = "nowhere", .bytes = 4096, .placement = gallocy::Placement::on(call.node.count())},
          ErrorCode::kInvalidArgument);
  program::shared<char>("twice", 1 << 20);
  refused({.name = "twice", .bytes = 2 << 20}, ErrorCode::kInvalidArgument);
  // The window is finite, and sparse regions of the largest size fill it soon.
  for (unsigned i = 0; i < 64; ++i) {
    if (auto region = call.node.map({.name = "sparse" + std::to_string(i), .bytes = kMost}); !region) {
      if (region.error().code != ErrorCode::kOutOfMemory) wrong("%s", region.error().message.c_str());
      if (call.node.id() == 0) std::printf("refused: %s\n", region.error().message.c_str());
      return program::need(call.node.barrier());
    }
  }
  wrong("64 regions of 8 TiB were mapped");
}

// map BYTES: exits with the status of the error.
void map(const Call& call) {
  if (auto region = call.node.map({.name = "region", .bytes = call.number(0)}); !region) program::end(region.error());
  program::need(call.node.barrier());
}

// barrier ABSENT: all but one node wait for that one.
void barrier(const Call& call) {
  program::need(call.node.barrier());
  say("is ready");
  if (call.node.id() == call.number(0)) sleep_long();
  program::need(call.node.barrier());
}

// lock HOLDER: all but one node wait for the lock that this one holds.
void lock(const Call& call) {
  gallocy::mutex mutex("held");
  if (call.node.id() == call.number(0)) mutex.lock();
  program::need(call.node.barrier());
  say("is ready");
  if (call.node.id() == call.number(0)) sleep_long();
  mutex.lock();
}

// fault: all nodes fault without end.
void fault(const Call& call) {
  constexpr std::size_t kPages = 8;
  Word* const words = program::shared<Word>("faults", kPages * kPageWords);
  program::need(call.node.barrier());
  say("is ready");
  for (program::Random random(call.node.id());;) {
    std::atomic_ref(words[random.below(kPages) * kPageWords + call.node.id()]).fetch_add(1);
  }
}

// compute: no node has anything to say to another.
void compute(const Call& call) {
  program::need(call.node.barrier());
  say("is ready");
  sleep_long();
}

// The rest runs with --on-peer-lost continue; the test kills the node of which the argument tells.

bool is_victim(const Call& call) { return call.node.id() == call.number(0); }
void await_victims_end(gallocy::barrier& never) {
  const auto met = never.arrive_and_wait_for(std::chrono::seconds(20));
  if (met) wrong("a barrier of the dead was met");
  if (met.error().code != ErrorCode::kPeerLost) wrong("a wait for the dead ends with: %s", met.error().message.c_str());
}

// robust VICTIM: it dies with the mutex in its hands; the others finish its work.
void robust(const Call& call) {
  Node& node = call.node;
  const unsigned survivor = call.number(0) == 0 ? 1 : 0;
  struct Work {
    Word done, owner_died;
  };
  Work& work = *program::shared<Work>("work", 1, gallocy::Placement::on(survivor));
  gallocy::mutex mutex("robust");
  program::need(node.barrier());
  if (is_victim(call)) {
    mutex.lock();
    std::atomic_ref(work.done).fetch_add(1);
    gallocy::barrier("half", node.count()).arrive_and_wait();
    gallocy::barrier("read", node.count()).arrive_and_wait();
    say("is ready");
    sleep_long();
  }
  gallocy::barrier("half", node.count()).arrive_and_wait();
  if (program::load(work.done) != 1) wrong("the half of the work is not done");  // a copy lives on here
  say("is ready");
  // The victim may be dead before all have heard that it met them.
  (void)gallocy::barrier("read", node.count()).arrive_and_wait_for(std::chrono::seconds(20));
  const auto taken = mutex.lock_robust(std::chrono::seconds(20));
  if (!taken) {
    if (taken.error().code != ErrorCode::kOwnerDied) program::end(taken.error());
    ++work.owner_died;
  }
  ++work.done;
  mutex.unlock();
  const auto met = node.barrier();
  if (met || met.error().code != ErrorCode::kPeerLost) wrong("the barrier did not say that a node is lost");
  // The survivors meet under a name of theirs.
  gallocy::barrier("survivors", node.count() - 1).arrive_and_wait();
  if (work.owner_died != 1 || work.done != node.count()) {
    wrong("done %lu, told of the owner's death %lu times", work.done, work.owner_died);
  }
  gallocy::barrier("end", node.count() - 1).arrive_and_wait();
  say("finished");
}

// waits VICTIM: every kind of wait for what the dead would have had to do.
void waits(const Call& call) {
  Node& node = call.node;
  program::need(node.barrier());
  gallocy::barrier all("all", node.count());
  say("is ready");  // the others, too: they have heard that all met
  if (is_victim(call)) sleep_long();
  auto remote = gallocy::thread::start(gallocy::on_node(call.number(0)), [] { sleep_long(); });
  if (!remote) program::end(remote.error());
  await_victims_end(all);
  program::need(node.barrier());  // having been told of the loss, the living meet without the dead
  if (auto done = remote->join_for(std::chrono::seconds(20)); done || done.error().code != ErrorCode::kPeerLost) {
    wrong("join_for() of a dead node's thread did not fail with kPeerLost");
  }
  if (gallocy::thread::start(gallocy::on_node(call.number(0)), [] {})) wrong("a thread started on a dead node");
  gallocy::barrier("survivors", node.count() - 1).arrive_and_wait();
  say("finished");
}

// mapping VICTIM: all nodes map regions and take a lock all the time; the survivors go on, with regions that are the
// same for all. The victim writes nothing: its pages would die with it.
void mapping(const Call& call) {
  Node& node = call.node;
  gallocy::mutex mutex("turn");
  program::need(node.barrier());
  const auto round = [&](unsigned i) {
    Word* const words = program::shared<Word>("round " + std::to_string(i), 1);
    if (const auto locked = mutex.lock_robust(std::chrono::seconds(20)); !locked) {
      if (locked.error().code != ErrorCode::kOwnerDied) program::end(locked.error());
    }
    if (!is_victim(call)) ++*words;
    mutex.unlock();
    return words;
  };
  unsigned rounds = 0;
  while (rounds < 5) round(rounds++);
  say("is ready");
  if (is_victim(call)) {
    for (;;) round(rounds++);
  }
  if (auto met = node.barrier(); met || met.error().code != ErrorCode::kPeerLost) wrong("Node::barrier() did not fail");
  gallocy::barrier survivors("survivors", node.count() - 1);
  survivors.arrive_and_wait();
  std::vector<Word*> regions;
  for (unsigned i = 0; i < 20; ++i) regions.push_back(round(1'000'000 + i));
  survivors.arrive_and_wait();
  for (Word* const words : regions) {
    if (program::load(*words) != node.count() - 1u) wrong("a region of after the death is not the same for all");
  }
  survivors.arrive_and_wait();
  say("finished");
}

// outlive VICTIM: it is stopped, taken for dead, and goes on. The others wait until it is gone for good.
void outlive(const Call& call) {
  Node& node = call.node;
  const unsigned survivor = call.number(0) == 0 ? 1 : 0;
  Word& victim = *program::shared<Word>("victim", 1, gallocy::Placement::on(survivor));
  if (is_victim(call)) victim = static_cast<Word>(::getpid());
  program::need(node.barrier());
  const auto pid = static_cast<pid_t>(program::load(victim));
  program::need(node.barrier());
  say("is ready");
  if (is_victim(call)) sleep_long();
  if (auto met = node.barrier(); met || met.error().code != ErrorCode::kPeerLost) wrong("Node::barrier() did not fail");
  ++*program::shared<Word>("after " + std::to_string(node.id()), 1);
  say("mapped without it");
  for (unsigned i = 0; ::kill(pid, 0) == 0; ++i) {
    if (i == 2000) wrong("the node that was taken for dead lives on");
    ::usleep(10'000);
  }
  say("finished");
}

// lost VICTIM: only it has written the page; one of the others touches it after its death.
void lost(const Call& call) {
  Node& node = call.node;
  Word* const words = program::shared<Word>("precious", kPageWords, gallocy::Placement::on(call.number(0)));
  program::need(node.barrier());
  if (is_victim(call)) words[0] = 42;
  say("is ready");
  if (is_victim(call)) sleep_long();
  if (auto met = node.barrier(); met || met.error().code != ErrorCode::kPeerLost) wrong("Node::barrier() did not fail");
  if (node.id() == call.number(1)) {
    const Word word = program::load(words[0]);
    wrong("the lost word reads as %lu", word);
  }
  say("finished");
}

// free WHAT: a mistake with the global heap, by node 1.
void free_badly(const Call& call) {
  Node& node = call.node;
  char** const handed = program::shared<char*>("handed", 1);
  const std::string& what = call.arguments.at(0);
  if (node.id() == 0) *handed = static_cast<char*>(gallocy::allocate(100));
  program::need(node.barrier());
  // One of them says it: lines of two nodes may come in any order.
  if (node.id() == 0 && what != "twice_here") {
    std::printf("pointer %p\n", static_cast<void*>(*handed));
    std::fflush(stdout);
  }
  program::need(node.barrier());
  if (node.id() == 1) {
    if (what == "twice_here") {
      char* own = static_cast<char*>(gallocy::allocate(100));
      std::printf("pointer %p\n", static_cast<void*>(own));
      std::fflush(stdout);
      gallocy::deallocate(own);
      gallocy::deallocate(own);
    } else if (what == "twice_remote") {
      gallocy::deallocate(*handed);
      gallocy::deallocate(*handed);
    } else if (what == "inner") {
      gallocy::deallocate(*handed + 16);
    } else if (what == "private") {
      gallocy::deallocate(new char[100]);
    } else {
      gallocy::deallocate(program::shared<char>("not the heap", 4096));
    }
  }
  // What is freed for another node goes there at the latest when the program ends.
}

const std::map<std::string, void (*)(const Call&)> kActions = {
    {"sweep", sweep},
    {"sizes", sizes},
    {"map", map},
    {"barrier", barrier},
    {"lock", lock},
    {"fault", fault},
    {"sweep_alone", sweep_alone},
    {"compute", compute},
    {"robust", robust},
    {"waits", waits},
    {"mapping", mapping},
    {"outlive", outlive},
    {"lost", lost},
    {"free", free_badly},
};

}  // namespace

int main(int argc, char** argv) {
  const auto action = argc > 1 ? kActions.find(argv[1]) : kActions.end();
  if (action == kActions.end()) wrong("no such action");
  auto node = program::need(Node::join());
  std::printf("node %u is %d\n", node->id(), ::getpid());
  std::fflush(stdout);
  action->second({*node, {argv + 2, argv + argc}});
}
