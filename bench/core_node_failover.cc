// How long the survivors of a death wait. Node 1 kills the victim and at once asks for what needs the others; so it is
// the one that measures, and prints. Runs with --on-peer-lost continue.
#include <signal.h>
#include <unistd.h>

#include "core_node.h"

namespace gallocy::bench {
namespace {

using gallocy::Placement;

struct Shared {
  std::uint64_t pids[3];
  std::uint64_t word;
};

constexpr unsigned kLeader = 0, kMeasurer = 1, kWorker = 2;

// The victim dies, or is stopped, with the mutex in its hands.
Figures survive(gallocy::Node& node, unsigned victim, int signal) {
  const auto region =
      or_exit(node.map({.name = "shared", .bytes = sizeof(Shared), .placement = Placement::on(kMeasurer)}));
  auto* const shared = static_cast<Shared*>(region.data());
  gallocy::mutex mutex("held");
  shared->pids[node.id()] = static_cast<std::uint64_t>(::getpid());
  or_exit(node.barrier());
  if (node.id() == victim) mutex.lock();
  if (node.id() == kMeasurer) shared->word = 1;
  or_exit(node.barrier());
  if (node.id() == victim) {
    for (;;) ::pause();
  }
  Figures figures;
  if (node.id() == kMeasurer) {
    // It is killed when it has heard of the barrier, too.
    const auto pid = static_cast<pid_t>(shared->pids[victim]);
    ::usleep(200'000);
    const double before = now_us();
    ::kill(pid, signal);
    const auto after = node.map({.name = "after", .bytes = 4096});
    if (!after) figures.wrong = after.error().message;
    const auto locked = mutex.lock_robust(std::chrono::seconds(10));
    if (!locked && locked.error().code != gallocy::ErrorCode::kOwnerDied) figures.wrong = locked.error().message;
    if (after) *static_cast<volatile std::uint64_t*>(after->data()) = 1;
    if (shared->word != 1) figures.wrong = "a page that a survivor had is not as it was";
    figures.values["ms"] = (now_us() - before) / 1000;
    if (signal == SIGSTOP) ::kill(pid, SIGKILL);
    mutex.unlock();
  }
  (void)node.barrier();  // ends with the news of the death
  return figures;
}

}  // namespace

Figures measure_leaders_death(gallocy::Node& node, Size) { return survive(node, kLeader, SIGKILL); }
Figures measure_workers_death(gallocy::Node& node, Size) { return survive(node, kWorker, SIGKILL); }
Figures measure_workers_silence(gallocy::Node& node, Size) { return survive(node, kWorker, SIGSTOP); }

}  // namespace gallocy::bench
