#include "runtime/settings.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "fmt/format.h"
#include "os/machine.h"
#include "os/processor_share.h"
#include "wire/vmm.h"

namespace gallocy::runtime {
namespace {

constexpr std::uint64_t kLeastMemoryBytes = 4 << 20;  // 16 blocks: a few threads in the middle of a fault each

// `what`: of what, in words.
Result<unsigned> number_from_environment(const char* name, unsigned least, unsigned most, const char* what,
                                         unsigned otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr) return otherwise;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  if (error != std::errc() || *end != '\0' || value < least || value > most) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}=\"{}\" is not a number of {} from {} to {}", name, text, what, least, most));
  }
  return value;
}

std::uint64_t default_memory(std::uint16_t local_nodes) {
  return os::memory_size().total_bytes / 4 * 3 / std::max<std::uint16_t>(local_nodes, 1);
}

Result<os::FaultEngineKind> choose_engine(const std::string& name) {
  const auto probes = os::probe_fault_engines(/*measure=*/false);
  if (name.empty()) {
    const auto best = std::ranges::find_if(probes, &os::FaultEngineProbe::available);
    if (best != probes.end()) return best->kind;
    return fail(ErrorCode::kUnsupported, "no fault engine works on this machine; see `gallocy doctor`");
  }
  auto kind = os::fault_engine_by_name(name);
  if (!kind) return kind;
  const auto probe = std::ranges::find(probes, *kind, &os::FaultEngineProbe::kind);
  if (probe == probes.end() || !probe->available) {
    return fail(ErrorCode::kUnsupported, fmt::format("fault engine {} is not available: {}", name,
                                                     probe == probes.end() ? "not known" : probe->detail));
  }
  return kind;
}

// Programs come and go with what they have; a daemon is started again.
Result<> place_log(Settings& s, NodeLog log) {
  const char* folder = std::getenv("GALLOCY_LOG_DIR");
  if (log.directory.empty() && folder != nullptr) log.directory = folder;
  if (log.directory.empty()) return {};
  s.without = std::move(log.without);
  s.log_dir = s.launch ? fmt::format("{}/node-{}", log.directory, s.self) : log.directory;
  if (s.nodes < 2) return fail(ErrorCode::kUnsupported, "a log on disk (--log-dir) needs two nodes or more");
  if (s.launch) return {};
  if (s.duty == Duty::kProgram)
    return fail(ErrorCode::kUnsupported,
                "GALLOCY_LOG_DIR is set, and programs that join a cluster keep none of its log: unset it");
  if (s.open->listen.port == 0)
    return fail(
        ErrorCode::kInvalidArgument,
        "a node with its log on disk is found again where it was: give it a port, as in --listen 10.0.0.2:7000");
  return {};
}

}  // namespace

Result<Settings> resolve_settings(const NodeOptions& options, Duty duty, NodeLog log) {
  GALLOCY_ASSIGN(const net::NodeSettings given, net::settings_from_environment());
  Settings s;
  s.duty = duty;
  GALLOCY_ASSIGN(s.launch, net::launch_from_environment());
  if (s.launch) {
    s.self = s.launch->node;
    s.nodes = s.launch->nodes;
  } else {
    GALLOCY_ASSIGN(s.open, net::open_cluster({.listen = options.listen,
                                              .join = options.join,
                                              .secret_file = options.secret_file,
                                              .insecure_network = options.insecure_network}));
    if (s.open) s.nodes = kMaxNodes, s.open->join_timeout = options.join_timeout;
  }
  // Who spins where there are more nodes than processors keeps the one from running whom he waits for.
  if (s.launch && s.launch->local_nodes > ::sysconf(_SC_NPROCESSORS_ONLN)) s.spin = std::chrono::microseconds(0);
  GALLOCY_ASSIGN(const unsigned spin_us, number_from_environment("GALLOCY_SPIN_US", 0, 1'000'000, "microseconds",
                                                                 static_cast<unsigned>(s.spin.count())));
  s.spin = std::chrono::microseconds(spin_us);
  const unsigned sharers = s.launch && !os::has_processor_share() ? s.launch->local_nodes : 1;
  if (s.launch && os::usable_cores() >= 2 * sharers) s.loop_spin = s.spin;
  s.memory_bytes = options.memory_bytes != 0 ? options.memory_bytes : given.memory_bytes;
  if (s.memory_bytes == 0) s.memory_bytes = default_memory(s.launch ? s.launch->local_nodes : 1);
  if (s.memory_bytes < kLeastMemoryBytes) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("a memory budget of {} bytes is too small: at least {} are needed", s.memory_bytes,
                            kLeastMemoryBytes));
  }
  GALLOCY_ASSIGN(s.shards, number_from_environment("GALLOCY_SHARDS", 1, wire::kMaxShards, "shards", 1));
  if (log.shards != 0 && s.open && s.open->contact)
    return fail(ErrorCode::kInvalidArgument,
                "how many shards there are is said by who founds the cluster: leave --shards out");
  if (log.shards != 0) s.shards = log.shards;
  GALLOCY_TRY(place_log(s, std::move(log)));
  s.on_peer_lost = s.open ? OnPeerLost::kContinue : options.on_peer_lost;
  if (!s.open && s.on_peer_lost == OnPeerLost::kEnd && given.on_peer_lost) s.on_peer_lost = *given.on_peer_lost;
  const std::string& engine = !options.fault_engine.empty() ? options.fault_engine : given.fault_engine;
  // A cluster of one has nobody to be coherent with, so it takes no faults; a wrong name is an error all the same.
  if (s.nodes > 1 || !engine.empty()) {
    GALLOCY_ASSIGN(s.engine, choose_engine(engine));
  }
  return s;
}

}  // namespace gallocy::runtime
