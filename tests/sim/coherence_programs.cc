#include "coherence_programs.h"

#include "base/check.h"
#include "coherence_cluster.h"

namespace gallocy::sim {
namespace {

// Far more than a living partner needs; the node of a dead one never answers.
constexpr unsigned kMostPolls = 2000;

}  // namespace

Program random_accesses(Prng prng, std::vector<PageId> pages, unsigned accesses, unsigned writes_percent) {
  for (unsigned i = 0; i < accesses; ++i) {
    const Address a{pages[prng.below(pages.size())], static_cast<unsigned>(prng.below(kFreeWords))};
    const bool writes = prng.below(100) < writes_percent;
    const std::uint64_t value = prng();
    if ((co_await (writes ? write(a, value) : read(a))).lost) co_return;
    if (prng.one_in(16)) co_await pause(prng.below(200));
  }
}

Program stream(Prng prng, PageId first, unsigned pages, unsigned words, Access access) {
  for (unsigned page = 0; page < pages; ++page) {
    for (unsigned word = 0; word < words; ++word) {
      const Address a{PageId{first.value + page}, word};
      const std::uint64_t value = prng();
      if ((co_await (access == Access::kWrite ? write(a, value) : read(a))).lost) co_return;
    }
  }
}

Program migratory(Turn& turn, unsigned me, Address counter, unsigned rounds) {
  for (unsigned round = 0, waits = 0; round < rounds; ++round) {
    while (turn.next != me && turn.parties != 0 && ++waits < 5'000) co_await pause(5);
    if (turn.next != me) co_return;
    const OperationResult before = co_await read(counter);
    if (turn.parties == 0) co_return;
    if (!before.lost) {
      CHECK(before.value == round * turn.parties + me, "lost an update", before.value, round, me);
      const OperationResult after = co_await write(counter, before.value + 1);
      if (after.lost) turn.parties = 0;
    } else {
      turn.parties = 0;
    }
    if (turn.parties == 0) co_return;  // the others wait for a turn that never comes, and see this too
    turn.next = (me + 1) % turn.parties;
  }
}

Program producer(PageId buffer, PageId flag, unsigned items) {
  for (unsigned item = 1; item <= items; ++item) {
    for (unsigned polls = 0;; ++polls) {  // until the consumer has taken the last one
      if (polls == kMostPolls) co_return;
      const OperationResult taken = co_await read({flag, kFreeWords + 1});
      if (taken.lost) co_return;
      if (taken.value + 1 == item) break;
      co_await pause(20);
    }
    for (unsigned word = kFreeWords; word < kPageWords; ++word) {
      if ((co_await write({buffer, word}, item * 100 + word)).lost) co_return;
    }
    if ((co_await write({flag, kFreeWords}, item)).lost) co_return;
  }
}

Program consumer(Prng prng, PageId buffer, PageId flag, unsigned items) {
  for (unsigned item = 1; item <= items; ++item) {
    for (unsigned polls = 0;; ++polls) {
      if (polls == kMostPolls) co_return;
      const OperationResult made = co_await read({flag, kFreeWords});
      if (made.lost) co_return;
      if (made.value == item) break;
      co_await pause(1 + prng.below(40));
    }
    for (unsigned word = kFreeWords; word < kPageWords; ++word) {
      const OperationResult seen = co_await read({buffer, word});
      if (seen.lost) co_return;
      CHECK(seen.value == item * 100 + word, "half an item", item, word, seen.value);
    }
    if ((co_await write({flag, kFreeWords + 1}, item)).lost) co_return;
  }
}

Program own_words(Prng prng, std::vector<PageId> pages, unsigned word, unsigned rounds) {
  std::vector<std::uint64_t> mine(pages.size());
  for (unsigned round = 0; round < rounds; ++round) {
    const std::size_t i = prng.below(pages.size());
    const OperationResult seen = co_await read({pages[i], word});
    if (seen.lost) co_return;
    CHECK(seen.value == mine[i], "somebody else's write", word, seen.value, mine[i]);
    mine[i] = prng();
    if ((co_await write({pages[i], word}, mine[i])).lost) co_return;
  }
}

Program counting(Prng prng, std::vector<Address> counters, unsigned additions) {
  for (unsigned i = 0; i < additions; ++i) {
    if ((co_await add(counters[prng.below(counters.size())], 1)).lost) co_return;
  }
}

Program pinning(Prng prng, PageId first, unsigned pages, unsigned rounds) {
  for (unsigned round = 0; round < rounds; ++round) {
    const Access access = prng.one_in(2) ? Access::kRead : Access::kWrite;
    const auto begin = static_cast<unsigned>(prng.below(pages));
    const auto length = static_cast<unsigned>(1 + prng.below(std::min(pages - begin, 4u)));
    unsigned pinned = 0;
    for (; pinned < length; ++pinned) {
      const OperationResult result = co_await pin(PageId{first.value + begin + pinned}, access);
      if (result.lost) break;
    }
    for (unsigned i = 0; i < pinned; ++i) {
      const Address a{PageId{first.value + begin + i}, static_cast<unsigned>(prng.below(kFreeWords))};
      const std::uint64_t value = prng();
      co_await (access == Access::kWrite ? write(a, value) : read(a));
    }
    co_await pause(prng.below(100));
    for (unsigned i = 0; i < pinned; ++i) co_await unpin(PageId{first.value + begin + i});
    if (pinned < length) co_return;
  }
}

// ---------------------------------------------------------------------------------------------- ring

Program ring_init(const Ring& ring, bool& ready) {
  for (std::size_t i = 0; i < ring.next.size(); ++i) co_await write(ring.next[i], (i + 1) % ring.next.size());
  ready = true;
}

Program ring_swaps(Prng prng, const Ring& ring, const bool& ready, unsigned swaps) {
  for (unsigned waits = 0; !ready && waits < 10'000; ++waits) co_await pause(10);
  if (!ready) co_return;  // the node that was to make the ring died
  // A lock whose holder died is never free again, hence the limit.
  for (unsigned done = 0, tries = 0; done < swaps && tries < 2000; ++tries) {
    // a -> b -> c -> d becomes a -> c -> b -> d, under the locks of a, b and c.
    std::size_t cells[3];
    unsigned locked = 0;
    std::uint64_t at = prng.below(ring.next.size());
    while (locked < 3) {
      const OperationResult free = co_await compare_swap(ring.locks[at], 0, 1);
      if (free.lost) co_return;
      if (free.value != 0) break;
      cells[locked++] = at;
      at = (co_await read(ring.next[at])).value;
      CHECK(at < ring.next.size(), "not a pointer", at);
    }
    if (locked == 3) {
      co_await write(ring.next[cells[0]], cells[2]);
      co_await write(ring.next[cells[2]], cells[1]);
      co_await write(ring.next[cells[1]], at);
      ++done;
    }
    while (locked > 0) co_await write(ring.locks[cells[--locked]], 0);
    co_await pause(prng.below(50));
  }
}

}  // namespace gallocy::sim
