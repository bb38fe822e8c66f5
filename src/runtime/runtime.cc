#define XXH_INLINE_ALL
#include "runtime/runtime.h"

#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/log.h"
#include "os/build_id.h"
#include "os/clock.h"
#include "os/prompt_scheduling.h"
#include "os/signal_hook.h"
#include "runtime/steward.h"
#include "wire/heartbeat.h"

namespace gallocy::runtime {
namespace {

constexpr std::int64_t kBeatUs = Vigil::kBeatUs;
constexpr std::chrono::milliseconds kCloseTimeout{1'000};
constexpr int kJoinAgainMs = 100;

// How long a page waits for its thread to come back for it (coherence::Options). With uffd-thread it cannot be known
// when the kernel has let the thread go on, so that is all the time it gets: a wake-up of an idle core and some.
std::uint64_t hold_us(os::FaultEngineKind engine) { return engine == os::FaultEngineKind::kUffdThread ? 100 : 2'000; }

// GALLOCY_DEBUG: nodes are held up by a debugger.
bool peers_may_stop() {
  static const bool said = std::getenv("GALLOCY_DEBUG") != nullptr;
  return said;
}

// The nodes of one launch, and no others, agree on it: they have one secret, which may be a file's, and one launcher.
std::uint64_t number_of(const net::LaunchDescription& launch) {
  const std::string text = fmt::format("{} {}", launch.launcher_port, launch.secret);
  return XXH3_64bits(text.data(), text.size());
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out;
}

}  // namespace

Runtime::Runtime(Settings settings) : settings_(std::move(settings)) {}

Result<std::unique_ptr<Runtime>> Runtime::join(const NodeOptions& options) {
  GALLOCY_ASSIGN(Settings settings, resolve_settings(options));
  return start(std::move(settings));
}

Result<std::unique_ptr<Runtime>> Runtime::serve(const NodeOptions& options, NodeLog log) {
  GALLOCY_ASSIGN(Settings settings, resolve_settings(options, Duty::kMemory, std::move(log)));
  return start(std::move(settings));
}

Result<std::unique_ptr<Runtime>> Runtime::start(Settings settings) {
  os::unblock_fault_signals();
  const auto begun_at = std::chrono::steady_clock::now();
  for (;;) {
    std::unique_ptr<Runtime> runtime(new Runtime(settings));
    const auto begun = runtime->begin();
    if (begun) return runtime;
    const bool again = runtime->steward_ != nullptr && runtime->steward_->came_at_a_bad_moment();
    if (!again || std::chrono::steady_clock::now() > begun_at + settings.open->join_timeout)
      return tl::unexpected(begun.error());
    log_event(LogLevel::kInfo, "joins_again", "reason", begun.error().message);
    runtime.reset();
    // Until the others have seen this attempt end, it may disturb the next one.
    ::poll(nullptr, 0, kJoinAgainMs);
    settings.open->link_timeout *= 2;  // a line may be slow
  }
}

Result<> Runtime::begin() {
  peers_ = std::vector<Peer>(nodes());
  if (settings_.launch) GALLOCY_TRY(connect());
  if (settings_.open) GALLOCY_TRY(enter_cluster());
  return assemble();
}

Result<> Runtime::connect() {
  const net::LaunchDescription& launch = *settings_.launch;
  GALLOCY_ASSIGN(link_, net::LauncherLink::connect(launch));
  if (nodes() > 1) {
    GALLOCY_ASSIGN(mesh_, net::Mesh::open({.self = self(),
                                           .nodes = nodes(),
                                           .links = launch.transport,
                                           .secret = launch.secret,
                                           .build_id = os::build_id(),
                                           .listen_host = link_->listen_host(),
                                           .encrypt = launch.encrypt,
                                           .connect_timeout = launch.join_timeout,
                                           .peer_timeout = kPeerTimeout,
                                           .spin = settings_.spin,
                                           .loop_spin = settings_.loop_spin}));
  }
  GALLOCY_ASSIGN(const std::vector<net::PeerAddress> addresses,
                 link_->exchange(mesh_ != nullptr ? mesh_->address() : net::PeerAddress{"-", 1}));
  if (mesh_ != nullptr) GALLOCY_TRY(mesh_->connect(addresses));
  return {};
}

Result<> Runtime::assemble() {
  waiting_ = std::make_unique<Waiting>(mesh_.get(), *this, [this] { return housekeeping(); });
  GALLOCY_ASSIGN(memory_, Memory::create({.coherence = {.self = self(),
                                                        .nodes = nodes(),
                                                        .present = present_at_first(),
                                                        .minimum_hold_us = hold_us(settings_.engine),
                                                        .budget_pages = settings_.memory_bytes / kPageBytes},
                                          .engine = settings_.engine,
                                          .mesh = mesh_.get()}));
  durable_ = std::make_unique<DurableService>(self(), mesh_.get());
  sync_ = std::make_unique<SyncService>(sync::Options{.self = self(),
                                                      .nodes = nodes(),
                                                      .present = present_at_first(),
                                                      .founders = is_open() ? std::uint16_t{1} : nodes()},
                                        mesh_.get());
  sections_ = std::make_unique<Sections>(self(), memory_->fault_engine(), *durable_, *sync_);
  memory_->set_other_memory(*sections_);
  RegionsOptions cluster{.self = self(), .nodes = nodes(), .founders = present_at_first(), .shards = settings_.shards};
  if (is_open()) {
    cluster.founders = steward_->begins_with();
    cluster.life = steward_->life();
    cluster.long_lived = true;
    cluster.cluster = steward_->cluster();
    cluster.shards = steward_->shards();
    // A program may be gone soon.
    cluster.settles = settings_.duty == Duty::kMemory;
  } else if (!settings_.log_dir.empty()) {
    GALLOCY_ASSIGN(disk_, Regions::open_disk(cluster, settings_.log_dir, number_of(*settings_.launch)));
    cluster.life = disk_->identity().life;
  }
  if (disk_ != nullptr) {
    if (disk_->identity().life == 1) journal_.reset();  // it was of a former member under another number
    if (journal_ == nullptr) {
      GALLOCY_ASSIGN(journal_, DurableDisk::open(disk_->durable_path(), self()));
    }
    durable_->keep(std::move(journal_));
  }
  regions_ =
      std::make_unique<Regions>(std::move(cluster), mesh_.get(), *memory_, *sections_, *durable_, std::move(disk_));
  threads_ = std::make_unique<Threads>(self(), nodes(), present_at_first(), mesh_.get(), &GlobalHeap::thread_ended);
  memory_->set_waiting(*waiting_);
  durable_->set_waiting(*waiting_);
  sections_->set_waiting(*waiting_);
  regions_->set_waiting(*waiting_);
  sync_->set_waiting(*waiting_);
  threads_->set_waiting(*waiting_);
  if (mesh_ != nullptr) {
    const std::int64_t now = os::monotonic_us();
    vigil_ = std::make_unique<Vigil>(nodes(), static_cast<std::uint64_t>(now));
    for (const NodeId node : present_at_first()) {
      peers_[node.value].present = node != self();
      vigil_->begin(node);
    }
    if (settings_.on_peer_lost == OnPeerLost::kContinue) follow_members();
    loop_ = std::thread([this] { run_loop(); });
  }
  if (is_open()) return settle_in();
  const std::string address =
      mesh_ != nullptr ? fmt::format("{}:{}", mesh_->address().host, mesh_->address().port) : "-";
  GALLOCY_TRY(regions_->join(address, settings_.launch ? settings_.launch->join_timeout : std::chrono::seconds(10)));
  GALLOCY_TRY(make_heap(Placement::blocked()));
  if (link_ != nullptr) {
    link_->watch(
        {.statistics = [this] { return statistics_json(); },
         .launcher_gone = [] { die(static_cast<int>(ErrorCode::kPeerLost), "gallocy: the launcher is gone"); }});
  }
  return {};
}

Result<> Runtime::make_heap(Placement placement) {
  GALLOCY_ASSIGN(heap_, GlobalHeap::create(self(), nodes(), placement, mesh_.get(), *memory_, *regions_));
  ticking_heap_ = heap_.get();
  return {};
}

Runtime::~Runtime() {
  if (threads_ != nullptr) threads_->wait_for_running();
  if (loop_.joinable()) {
    if (is_open()) {
      leave_somehow();
    } else if (heap_ != nullptr) {
      heap_->core().flush();
      (void)sync_->meet();  // if it fails a peer is lost, and that has been said
      for_each_peer([&](NodeId node, Peer&) {
        mesh_->send(node, {.type = static_cast<std::uint16_t>(wire::MessageType::kLeave)}, {}, {});
      });
    }
    stop_ = true;
    mesh_->wake();
    loop_.join();
  }
  if (link_ != nullptr && heap_ != nullptr) {
    (void)link_->send_statistics(statistics_json());
    (void)link_->finished();
  }
  if (mesh_ != nullptr) mesh_->close(kCloseTimeout);
  ticking_heap_ = nullptr;
  heap_.reset();
}

void Runtime::leave_at_once(int status) {
  for_each_peer([&](NodeId node, Peer& peer) {
    mesh_->send(node, {.type = static_cast<std::uint16_t>(wire::MessageType::kLeave)}, {}, {});
    peer.left = true;
  });
  if (link_ != nullptr) {
    (void)link_->send_statistics(statistics_json());
    (void)link_->finished();
  }
  ::_exit(status);
}

// ---------------------------------------------------------------------------------------------- time

void Runtime::run_loop() {
  os::ask_for_prompt_scheduling();
  ::prctl(PR_SET_TIMERSLACK, 1'000ul);  // ns; its timers are microseconds long
  while (!stop_) {
    waiting_->serve();
    threads_->run_started();
  }
}

std::int64_t Runtime::housekeeping() {
  const std::int64_t next_us = memory_->housekeeping();
  if (mesh_ == nullptr) return next_us;
  const std::int64_t now = os::monotonic_us();
  std::int64_t due = next_beat_us_.load(std::memory_order_relaxed);
  if (now >= due && next_beat_us_.compare_exchange_strong(due, now + kBeatUs)) beat(now);
  regions_->housekeeping();
  durable_->turn_ended();
  if (any_declared_.load(std::memory_order_relaxed)) bury_the_declared();
  return std::min(next_us, kBeatUs);
}

void Runtime::beat(std::int64_t now) {
  memory_->reserve(DurableService::pages_in_use());
  const wire::Heartbeat body{.room_pages = takes_more_ ? memory_->room_pages() : 0};
  std::vector<NodeId> peers;
  for_each_peer([&](NodeId node, Peer&) { peers.push_back(node); });
  const auto suspects =
      vigil_->beat(static_cast<std::uint64_t>(now), peers, [this](NodeId node) { return mesh_->unanswered_us(node); });
  for (const Vigil::Suspect& suspect : suspects) {
    if (!peers_may_stop()) lost(suspect.node, suspect.reason);
  }
  for_each_peer([&](NodeId node, Peer&) {
    mesh_->send(node, {.type = static_cast<std::uint16_t>(wire::MessageType::kHeartbeat), .body_bytes = sizeof body},
                std::as_bytes(std::span(&body, 1)), {});
  });
  regions_->tick();
  durable_->tick();
  sync_->tick();
  if (GlobalHeap* const heap = ticking_heap_.load()) heap->tick();
}

// ---------------------------------------------------------------------------------------------- frames

std::size_t Runtime::payload_target(NodeId from, const wire::FrameHeader& header, std::span<const std::byte> body,
                                    std::span<iovec, 64> target) {
  if (peers_[from.value].lost) return 0;
  if (header.type >> 8 == 0x9) return durable_->payload_target(from, header, target);
  return header.type >> 8 == 0x1 ? memory_->payload_target(from, header, body, target) : 0;
}

void Runtime::frame_arrived(NodeId from, const wire::FrameHeader& header, std::span<const std::byte> body,
                            std::span<const std::byte> payload) {
  const bool heartbeat = header.type == static_cast<std::uint16_t>(wire::MessageType::kHeartbeat);
  if (peers_[from.value].lost) {
    // It was stopped, or cut off, and does not know that the others have gone on without it.
    if (heartbeat) mesh_->send(from, {.type = static_cast<std::uint16_t>(wire::MessageType::kExpelled)}, {}, {});
    return;
  }
  vigil_->heard(from, heartbeat);
  if (!route(from, static_cast<wire::MessageType>(header.type), body, payload)) {
    refused_frames_.log(os::monotonic_ns(), "node", from, "type", header.type, "bytes", body.size());
  }
}

bool Runtime::route(NodeId from, wire::MessageType type, std::span<const std::byte> body,
                    std::span<const std::byte> payload) {
  switch (static_cast<std::uint16_t>(type) >> 8) {
    case 0x1:
      return memory_->frame_arrived(from, type, body);
    case 0x2:
      return sync_->frame_arrived(from, type, body);
    case 0x3:
    case 0x8:
      return regions_->frame_arrived(from, type, body);
    case 0x4: {
      GlobalHeap* const heap = ticking_heap_.load();
      return heap != nullptr && heap->frame_arrived(from, type, body);
    }
    case 0x5:
      return threads_->frame_arrived(from, type, body);
    case 0x9:
      return durable_->frame_arrived(from, type, body, payload);
    case 0x7:
      return extension_ && extension_(from, type, body, payload);
    default:
      break;
  }
  const bool is_bare = body.empty() && payload.empty();
  if (type == wire::MessageType::kLeave && is_bare) {
    peers_[from.value].left = true;
    return true;
  }
  if (type == wire::MessageType::kWelcome && is_bare && steward_ != nullptr) return steward_->welcomed_by(from), true;
  if (type == wire::MessageType::kFarewell && steward_ != nullptr) {
    wire::Farewell farewell;
    if (body.size() != sizeof farewell) return false;
    std::memcpy(&farewell, body.data(), sizeof farewell);
    steward_->farewell_of(from, Epoch{farewell.epoch});
    return true;
  }
  if (type == wire::MessageType::kExpelled && is_bare) {
    die(static_cast<int>(ErrorCode::kPeerLost),
        fmt::format("gallocy: node {}: node {} took it for dead, as it did not answer; the others go on without it",
                    self(), from));
  }
  wire::Heartbeat beat;
  if (type != wire::MessageType::kHeartbeat || body.size() != sizeof beat) return false;
  std::memcpy(&beat, body.data(), sizeof beat);
  memory_->set_room(from, beat.room_pages);
  return true;
}

// ---------------------------------------------------------------------------------------------- statistics

Statistics Runtime::statistics() {
  Statistics s;
  memory_->add_statistics(s);
  sync_->add_statistics(s);
  durable_->add_statistics(s);
  for (std::uint16_t n = 0; n < nodes() && mesh_ != nullptr; ++n) {
    const net::Mesh::Counters c = mesh_->counters(NodeId{n});
    s.frames_sent += c.frames_sent;
    s.bytes_sent += c.bytes_sent;
  }
  return s;
}

std::string Runtime::statistics_json() {
  const Statistics s = statistics();
  std::string json = "{\"counters\": {";
  const auto add = [&](std::string_view name, std::uint64_t value) {
    json += fmt::format("{}\"{}\": {}", json.back() == '{' ? "" : ", ", name, value);
  };
  for_each_counter(s, add);
  json += "}, \"sharing\": [";
  const std::string report = memory_->sharing_report(10);
  for (std::size_t at = 0; at < report.size();) {
    const std::size_t end = report.find('\n', at);
    json +=
        fmt::format("{}\"{}\"", json.back() == '[' ? "" : ", ", escaped(std::string_view(report).substr(at, end - at)));
    at = end + 1;
  }
  return json + "]}";
}

}  // namespace gallocy::runtime
