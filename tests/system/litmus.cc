// litmus [rounds] [name]: the small programs by which memory models are told apart (Alglave, Maranget, Tautschnig:
// Herding Cats, 2014), on words of global memory with each thread on a node of its own, and message passing through
// each kind of synchronisation. Ends with 1 and the name of the program if it shows an outcome that sequential
// consistency forbids.
//
// A round runs a program on kSlots pairs of words, so that threads meet at different points of it. Words are not
// cleared between rounds: round r writes r, so "1" of the textbook is r, "0" is r - 1, and anything else is wrong too.
#include <array>

#include "program.h"

namespace {

using program::load;
using program::store;
using program::Word;

constexpr std::size_t kSlots = 24;
constexpr unsigned kThreads = 4;  // at most
constexpr std::size_t kPageWords = program::kPageBytes / sizeof(Word);

using Registers = std::array<Word, 2>;
using Outcome = std::array<Registers, kThreads>;

struct Slot {
  Word& x;
  Word& y;
  Word now;  // what this round writes
};

struct Locks {
  gallocy::mutex mutex{"litmus.mutex"};
  gallocy::shared_mutex shared_mutex{"litmus.shared_mutex"};
  gallocy::condition_variable changed{"litmus.changed"};
  gallocy::barrier pair{"litmus.pair", 2};
  gallocy::semaphore semaphore{"litmus.semaphore", 0};
};

using Body = Registers (*)(unsigned thread, Slot slot, Locks& locks);
// Told of what each thread saw, and after the round also of the words themselves.
using Forbidden = bool (*)(const Outcome& o, Slot slot);

struct Program {
  const char* name;
  unsigned threads;
  Body body;
  Forbidden forbidden;
};

Registers sb(unsigned t, Slot s, Locks&) {
  store(t == 0 ? s.x : s.y, s.now);
  return {load(t == 0 ? s.y : s.x), s.now};
}
Registers mp(unsigned t, Slot s, Locks&) {
  if (t == 0) {
    store(s.x, s.now);
    store(s.y, s.now);
    return {s.now, s.now};
  }
  const Word flag = load(s.y);
  return {flag, load(s.x)};
}
Registers lb(unsigned t, Slot s, Locks&) {
  const Word seen = load(t == 0 ? s.x : s.y);
  store(t == 0 ? s.y : s.x, s.now);
  return {seen, s.now};
}
Registers iriw(unsigned t, Slot s, Locks&) {
  if (t < 2) {
    store(t == 0 ? s.x : s.y, s.now);
    return {s.now, s.now};
  }
  const Word first = load(t == 2 ? s.x : s.y);
  return {first, load(t == 2 ? s.y : s.x)};
}
Registers corr(unsigned t, Slot s, Locks&) {
  if (t == 0) {
    store(s.x, s.now);
    return {s.now, s.now};
  }
  const Word first = load(s.x);
  return {first, load(s.x)};
}
// Values 2 now - 1 and 2 now take the part of 1 and 2.
Registers w22(unsigned t, Slot s, Locks&) {
  store(t == 0 ? s.x : s.y, 2 * s.now - 1);
  store(t == 0 ? s.y : s.x, 2 * s.now);
  return {s.now, s.now};
}

// Plain words from here on: the synchronisation alone orders them.
Registers mp_mutex(unsigned t, Slot s, Locks& locks) {
  const std::scoped_lock lock(locks.mutex);
  if (t == 0) s.x = s.now, s.y = s.now;
  return {s.y, s.x};
}
Registers mp_shared_mutex(unsigned t, Slot s, Locks& locks) {
  if (t == 0) {
    const std::scoped_lock lock(locks.shared_mutex);
    s.x = s.now, s.y = s.now;
    return {s.now, s.now};
  }
  locks.shared_mutex.lock_shared();
  const Registers seen{s.y, s.x};
  locks.shared_mutex.unlock_shared();
  return seen;
}
Registers mp_barrier(unsigned t, Slot s, Locks& locks) {
  if (t == 0) s.x = s.now;
  locks.pair.arrive_and_wait();
  return {s.now, s.x};
}
Registers mp_semaphore(unsigned t, Slot s, Locks& locks) {
  if (t == 0) {
    s.x = s.now;
    locks.semaphore.release();
  } else {
    locks.semaphore.acquire();
  }
  return {s.now, t == 0 ? s.now : s.x};
}
Registers mp_condition(unsigned t, Slot s, Locks& locks) {
  std::unique_lock lock(locks.mutex);
  if (t == 0) {
    s.x = s.now, s.y = s.now;
    locks.changed.notify_one();
  } else {
    locks.changed.wait(lock, [&] { return s.y == s.now; });
  }
  return {s.y, s.x};
}
Registers mp_atomic_ref(unsigned t, Slot s, Locks&) {
  const gallocy::atomic_ref flag(s.y);
  if (t == 0) {
    s.x = s.now;
    flag.store(s.now);
    return {s.now, s.now};
  }
  const Word seen = flag.load();
  return {seen, s.x};
}
Registers sb_atomic_ref(unsigned t, Slot s, Locks&) {
  gallocy::atomic_ref(t == 0 ? s.x : s.y).store(s.now);
  return {gallocy::atomic_ref(t == 0 ? s.y : s.x).load(), s.now};
}
// One side moves the page, the other goes to it.
Registers sb_mixed(unsigned t, Slot s, Locks& locks) { return t == 0 ? sb(t, s, locks) : sb_atomic_ref(t, s, locks); }

bool both_old(const Outcome& o, Slot s) { return o[0][0] != s.now && o[1][0] != s.now; }
bool both_new(const Outcome& o, Slot s) { return o[0][0] == s.now && o[1][0] == s.now; }
bool flag_without_data(const Outcome& o, Slot s) { return o[1][0] == s.now && o[1][1] != s.now; }
bool split_views(const Outcome& o, Slot s) {
  return o[2][0] == s.now && o[2][1] != s.now && o[3][0] == s.now && o[3][1] != s.now;
}
bool both_first(const Outcome&, Slot s) { return s.x == 2 * s.now - 1 && s.y == 2 * s.now - 1; }

constexpr Program kPrograms[] = {
    {"SB", 2, sb, both_old},
    {"MP", 2, mp, flag_without_data},
    {"LB", 2, lb, both_new},
    {"IRIW", 4, iriw, split_views},
    {"CoRR", 2, corr, flag_without_data},
    {"2+2W", 2, w22, both_first},
    {"MP+mutex", 2, mp_mutex, flag_without_data},
    {"MP+shared_mutex", 2, mp_shared_mutex, flag_without_data},
    {"MP+barrier", 2, mp_barrier, flag_without_data},
    {"MP+semaphore", 2, mp_semaphore, flag_without_data},
    {"MP+condition", 2, mp_condition, flag_without_data},
    {"MP+atomic_ref", 2, mp_atomic_ref, flag_without_data},
    {"SB+atomic_ref", 2, sb_atomic_ref, both_old},
    {"SB+mixed", 2, sb_mixed, both_old},
};

struct Results {
  Registers seen[kThreads][kSlots];
};

class Run {
 public:
  Run(const Program& program, unsigned index, bool same_page)
      : program_(program),
        same_page_(same_page),
        name_(std::string(program.name) + (same_page ? " (same page)" : "")),
        words_(program::shared<Word>("litmus." + name_, 2 * kPageWords)),
        results_(program::shared<Results>("litmus.results", 1)),
        team_("litmus.team" + std::to_string(program.threads), program.threads),
        seed_(index * 1'000) {}

  void thread(unsigned t, std::uint64_t rounds) {
    program::Random random(seed_ + t);
    for (Word now = 1; now <= rounds; ++now) {
      Registers seen[kSlots];
      team_.arrive_and_wait();
      for (std::size_t i = 0; i < kSlots; ++i) {
        random.delay();
        seen[i] = program_.body(t, slot(i, now), locks_);
      }
      std::copy_n(seen, kSlots, results_->seen[t]);
      team_.arrive_and_wait();
      if (t == 0) check(now);
    }
  }

 private:
  Slot slot(std::size_t i, Word now) const { return {words_[i], words_[(same_page_ ? kSlots : kPageWords) + i], now}; }

  // All others wait for the next round's start.
  void check(Word now) const {
    for (std::size_t i = 0; i < kSlots; ++i) {
      Outcome outcome{};
      for (unsigned t = 0; t < program_.threads; ++t) {
        outcome[t] = results_->seen[t][i];
        for (const Word word : outcome[t]) {
          if (word != now && word != now - 1) bad(now, outcome, "a value that is neither old nor new");
        }
      }
      if (program_.forbidden(outcome, slot(i, now))) bad(now, outcome, "a forbidden outcome");
    }
  }

  [[noreturn]] void bad(Word now, const Outcome& o, const char* what) const {
    program::wrong("%s: %s in round %lu: %lu,%lu %lu,%lu %lu,%lu %lu,%lu", name_.c_str(), what, now, o[0][0], o[0][1],
                   o[1][0], o[1][1], o[2][0], o[2][1], o[3][0], o[3][1]);
  }

  const Program& program_;
  bool same_page_;
  std::string name_;
  Word* words_;
  Results* results_;
  gallocy::barrier team_;
  Locks locks_;
  std::uint64_t seed_;
};

void run(const Program& program, unsigned index, bool same_page, std::uint64_t rounds, gallocy::Node& node) {
  Run run(program, index, same_page);
  std::vector<std::thread> threads;
  // Which node has which part differs from program to program.
  for (unsigned t = 0; t < program.threads; ++t) {
    if ((t + index) % node.count() == node.id()) threads.emplace_back([&run, t, rounds] { run.thread(t, rounds); });
  }
  for (auto& thread : threads) thread.join();
  program::need(node.barrier());
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t rounds = program::number(argc, argv, 1, 100);
  const std::string only = argc > 2 ? argv[2] : "";
  auto node = program::need(gallocy::Node::join());
  unsigned index = 0;
  for (const Program& program : kPrograms) {
    if (only.empty() || only == program.name) {
      run(program, index, /*same_page=*/false, rounds, *node);
      run(program, index, /*same_page=*/true, rounds, *node);
    }
    ++index;
  }
  if (node->id() == 0) std::printf("%lu rounds of %zu each: nothing forbidden was seen\n", rounds, kSlots);
}
