#include "core_rows.h"

#include "child.h"
#include "references.h"

namespace gallocy::bench {

using gallocy::Result;

namespace {

// Turns spinning waits off on our side; the raw reference then sleeps too.
const std::map<std::string, std::string> kSleeping = {{"GALLOCY_SPIN_US", "0"}};

}  // namespace

Programs Programs::beside(const std::filesystem::path& self) {
  const auto folder = self.parent_path();
  return {.gallocy = GALLOCY_COMMAND,
          .core_node = folder / "core_node",
          .examples = folder.parent_path() / "examples",
          .bench = folder};
}

Result<Measured> on_nodes(const Programs& programs, unsigned nodes, const std::string& transport,
                          const std::string& measurement, const std::string& figure, Scale scale,
                          const std::map<std::string, std::string>& settings) {
  std::vector<std::string> command = {programs.gallocy, "launch",  "-n", std::to_string(nodes),
                                      "--transport",    transport, "--", programs.core_node,
                                      measurement};
  if (scale == Scale::kSmall) command.push_back("--small");
  const auto output = run_child(command, settings);
  if (!output) return tl::unexpected(output.error());
  const auto value = output->number(figure);
  if (!value) return tl::unexpected(value.error());
  return Measured{.value = *value};
}

std::vector<Plan> memory_plans(const Programs& programs, Scale scale) {
  const auto figure = [&programs, scale](const char* transport, const char* measurement, const char* name,
                                         std::map<std::string, std::string> settings = {}) {
    return [=, &programs] { return on_nodes(programs, 2, transport, measurement, name, scale, settings); };
  };
  const auto floor = [scale](Link link, Waiting waiting) {
    return [=]() -> Result<Measured> {
      const auto fault = raw_fault_us(scale);
      const auto trip = raw_round_trip_us(link, waiting, scale);
      if (!fault) return fault;
      if (!trip) return trip;
      return Measured{.value = fault->value + trip->value};
    };
  };
  const auto trip = [scale](Link link) { return [=] { return raw_round_trip_us(link, Waiting::kSpin, scale); }; };
  const auto stream = [scale](Link link) { return [=] { return raw_stream_mb_per_s(link, scale); }; };

  return {
      {"fault.read.tcp", "us", Goal::kAtMost, 1.6,
       "The loopback round trip through the kernel's TCP, twice a context switch; then the signal and two ioctls of "
       "the fault.",
       figure("tcp", "fault.read", "us"), floor(Link::kTcp, Waiting::kSpin)},
      {"fault.write.tcp", "us", Goal::kAtMost, 2.2,
       "The same round trip; the owner gives up its mapping (a TLB flush) before it answers.",
       figure("tcp", "fault.write", "us"), floor(Link::kTcp, Waiting::kSpin)},
      {"fault.upgrade.tcp", "us", Goal::kAtMost, 2.2,
       "The round trip that takes the other node's read copy away; no page travels.",
       figure("tcp", "fault.upgrade", "us"), floor(Link::kTcp, Waiting::kSpin)},
      {"fault.read.shm", "us", Goal::kAtMost, 2.0,
       "The fault itself (signal, ioctl, return); the round trip is two cache-line transfers and a copy.",
       figure("shm", "fault.read", "us"), floor(Link::kShm, Waiting::kSpin)},
      {"fault.read.shm.sleep", "us", Goal::kAtMost, 2.0, "Two futex wake-ups, one on each side.",
       figure("shm", "fault.read", "us", kSleeping), floor(Link::kShm, Waiting::kSleep)},
      {"stream.read.tcp", "MB/s", Goal::kAtLeast, 0.8,
       "Copies into and out of the socket, and mapping the pages at the reader.",
       figure("tcp", "stream.read", "mb_per_s"), stream(Link::kTcp)},
      {"stream.read.shm", "MB/s", Goal::kAtLeast, 0.8,
       "One copy into the ring and one out of it, and mapping the pages.", figure("shm", "stream.read", "mb_per_s"),
       stream(Link::kShm)},
      {"pingpong.write.tcp", "us", Goal::kAtMost, 2.5,
       "A round trip, a fault that prediction turns into a write grant, and the wake-up of the loop thread that takes "
       "the page from the spinning writer; the reference, two processes that spin on their sockets, has no wake-up.",
       figure("tcp", "pingpong.write", "us"), trip(Link::kTcp)},
      {"pingpong.write.tcp.sleep", "us", Goal::kAtMost, 2.5,
       "The same hand-over beside a round trip whose two ends sleep in the kernel, so with wake-ups.",
       figure("tcp", "pingpong.write", "us"),
       [scale] { return raw_round_trip_us(Link::kTcp, Waiting::kSleep, scale); }},
      {"pingpong.write.wait", "ms", Goal::kAtMost, 250,
       "The longest of all waits when 8 threads on 2 processors write one page: queueing at the home and the "
       "scheduler.",
       figure("tcp", "pingpong.contention", "longest_ms"), nullptr},
      {"metadata.bytes_per_page", "B", Goal::kAtMost, 16,
       "Directory entry and page state of a node that is home of half of the pages and holds copies of all.",
       figure("tcp", "metadata", "bytes_per_page"), nullptr},
  };
}

std::vector<Plan> sync_plans(const Programs& programs, Scale scale) {
  const auto figure = [&programs, scale](unsigned nodes, const char* measurement, const char* name) {
    return [=, &programs] { return on_nodes(programs, nodes, "tcp", measurement, name, scale); };
  };
  const auto trip = [scale] { return raw_round_trip_us(Link::kTcp, Waiting::kSpin, scale); };
  constexpr unsigned kManyNodes = 16;
  return {
      {"lock.remote.tcp", "us", Goal::kAtMost, 1.5,
       "One round trip to the node that holds the token; unlock sends nothing.", figure(2, "lock.remote", "us"), trip},
      {"lock.cached", "us", Goal::kAtMost, 0.2, "A look-up of the token and two atomic operations; no message.",
       figure(2, "lock.cached", "us"), nullptr},
      {"barrier.2.tcp", "us", Goal::kAtMost, 1.5, "One message each way between the two nodes.",
       figure(2, "barrier", "us"), trip},
      {"barrier.16.messages", "messages", Goal::kAtMost, 1.0,
       "A combining tree: every node but the root sends one message up and gets one down, 2 (n - 1) in all.",
       figure(kManyNodes, "barrier.messages", "messages"),
       [] { return Result<Measured>(Measured{.value = 2.0 * (kManyNodes - 1)}); }},
  };
}

std::vector<Plan> heap_plans(const Programs& programs, Scale scale) {
  const auto speed = [&programs, scale](const char* program, const char* workload) {
    std::vector<std::string> command = {programs.bench / program, workload};
    if (scale == Scale::kSmall) command.push_back("--small");
    return [command]() -> Result<Measured> {
      const auto output = run_child(command);
      if (!output) return tl::unexpected(output.error());
      const auto mops = output->number("mops");
      if (!mops) return tl::unexpected(mops.error());
      return Measured{.value = *mops, .digest = output->value("digest").value_or("none")};
    };
  };
  return {
      {"heap.larson", "Mops/s", Goal::kAtLeast, 0.9, "Cache misses on the blocks and on the slabs' metadata.",
       speed("heap_node", "larson"), speed("heap_mimalloc", "larson")},
      {"heap.mstress", "Mops/s", Goal::kAtLeast, 0.9,
       "The first touch of the pages of large blocks, which is a local fault here and the kernel's there.",
       speed("heap_node", "mstress"), speed("heap_mimalloc", "mstress")},
  };
}

std::vector<Mean> core_means() {
  return {{"local.examples", "local.", Goal::kAtLeast, 0.98,
           "Page-table walks of 4 KiB pages, where plain memory may have huge ones; no fault or message occurs in the "
           "loops."}};
}

}  // namespace gallocy::bench
