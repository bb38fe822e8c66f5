#include "etcd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <thread>

#include "child.h"

extern char** environ;

namespace gallocy::bench {
namespace {

namespace fs = std::filesystem;
using gallocy::ErrorCode;
using gallocy::fail;
using gallocy::Result;
using Clock = std::chrono::steady_clock;

constexpr unsigned kMembers = 3;
constexpr auto kPatience = std::chrono::seconds(60);
constexpr const char* kKey = "name";
constexpr const char* kValue = "gallocy!";
constexpr unsigned kConnections = 8, kStreams = 128;  // of all that were tried, from 2 x 64 to 16 x 256, the fastest

bool installed(const char* program) {
  for (const char* folder : {"/usr/bin", "/usr/local/bin", "/bin"}) {
    if (::access((fs::path(folder) / program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

// One that was free a moment ago.
std::uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t length = sizeof address;
  ::bind(socket, reinterpret_cast<sockaddr*>(&address), length);
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length);
  ::close(socket);
  return ntohs(address.sin_port);
}

std::string url(std::uint16_t port) { return fmt::format("http://127.0.0.1:{}", port); }

class EtcdCluster {
 public:
  static Result<std::unique_ptr<EtcdCluster>> start();
  ~EtcdCluster();
  EtcdCluster(const EtcdCluster&) = delete;
  EtcdCluster& operator=(const EtcdCluster&) = delete;

  // Sends so many puts to the leader; what h2load printed.
  Result<ChildOutput> put(std::size_t count, unsigned connections, unsigned streams) const;
  // What all members have in the end. An error unless each has all `count` puts.
  Result<std::string> digest(std::size_t count) const;
  fs::path times() const { return folder_ / "times"; }

 private:
  EtcdCluster() = default;
  Result<> start_member(unsigned member);
  Result<> find_leader();

  fs::path folder_;
  std::array<std::uint16_t, kMembers> client_ports_{}, peer_ports_{};
  std::array<pid_t, kMembers> members_{};
  unsigned leader_ = 0;
};

Result<std::unique_ptr<EtcdCluster>> EtcdCluster::start() {
  std::unique_ptr<EtcdCluster> cluster(new EtcdCluster);
  std::string name = "/dev/shm/gallocy-etcd-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) return fail(ErrorCode::kOsError, "cannot make a folder in /dev/shm");
  cluster->folder_ = name;
  for (auto* ports : {&cluster->client_ports_, &cluster->peer_ports_}) std::ranges::generate(*ports, free_port);
  for (unsigned member = 0; member < kMembers; ++member) {
    if (auto started = cluster->start_member(member); !started) return tl::unexpected(started.error());
  }
  if (auto found = cluster->find_leader(); !found) return tl::unexpected(found.error());
  return cluster;
}

EtcdCluster::~EtcdCluster() {
  for (const pid_t member : members_) {
    if (member > 0 && ::kill(member, SIGKILL) == 0) ::waitpid(member, nullptr, 0);
  }
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

// Ends with this process.
Result<> EtcdCluster::start_member(unsigned member) {
  std::vector<std::string> all;
  for (unsigned m = 0; m < kMembers; ++m) all.push_back(fmt::format("m{}={}", m, url(peer_ports_[m])));
  const std::string client = url(client_ports_[member]), peer = url(peer_ports_[member]);
  std::vector<std::string> words = {"setpriv",
                                    "--pdeathsig",
                                    "KILL",
                                    "etcd",
                                    "--name",
                                    fmt::format("m{}", member),
                                    "--data-dir",
                                    folder_ / fmt::format("m{}", member),
                                    "--listen-peer-urls",
                                    peer,
                                    "--initial-advertise-peer-urls",
                                    peer,
                                    "--listen-client-urls",
                                    client,
                                    "--advertise-client-urls",
                                    client,
                                    "--initial-cluster",
                                    fmt::format("{}", fmt::join(all, ",")),
                                    "--logger",
                                    "zap",
                                    "--log-outputs",
                                    "stderr"};
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO})
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0);
  const int error = posix_spawnp(&members_[member], arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error == 0 ? Result<>() : fail(ErrorCode::kOsError, "cannot start etcd");
}

// `endpoint status` prints a line for each: endpoint, id, version, size, whether it leads, …
Result<> EtcdCluster::find_leader() {
  for (const auto deadline = Clock::now() + kPatience; Clock::now() < deadline;) {
    for (unsigned member = 0; member < kMembers; ++member) {
      const auto status = run_child({"etcdctl", "--endpoints", url(client_ports_[member]), "endpoint", "status"},
                                    {{"ETCDCTL_API", "3"}});
      if (!status || status->text.find(", true,") == std::string::npos) continue;
      leader_ = member;
      return {};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return fail(ErrorCode::kTimeout, "etcd has no leader");
}

// A gRPC message, length in front, of PutRequest{key = 1, value = 2}.
Result<ChildOutput> EtcdCluster::put(std::size_t count, unsigned connections, unsigned streams) const {
  const std::string key = kKey, value = kValue;
  std::string request = "\x0a";
  request += static_cast<char>(key.size()) + key + "\x12" + static_cast<char>(value.size()) + value;
  std::string body(4, '\0');
  body += static_cast<char>(request.size()) + request;
  const fs::path file = folder_ / "request";
  std::ofstream(file, std::ios::binary) << body;
  auto done =
      run_child({"h2load", "-n", std::to_string(count), "-c", std::to_string(connections), "-m",
                 std::to_string(streams), "-d", file, "--log-file", times(), "-H", "content-type: application/grpc",
                 "-H", "te: trailers", url(client_ports_[leader_]) + "/etcdserverpb.KV/Put"});
  if (done && done->text.find(fmt::format("{} succeeded, 0 failed", count)) == std::string::npos)
    return fail(ErrorCode::kProtocol, "etcd did not take all puts");
  return done;
}

Result<std::string> EtcdCluster::digest(std::size_t count) const {
  const std::string version = fmt::format("\"Version\" : {}\n", count),
                    value = fmt::format("\"Value\" : \"{}\"", kValue);
  for (const std::uint16_t port : client_ports_) {
    const auto deadline = Clock::now() + kPatience;
    for (;;) {
      const auto got =
          run_child({"etcdctl", "--endpoints", url(port), "get", kKey, "--consistency", "s", "-w", "fields"},
                    {{"ETCDCTL_API", "3"}});
      if (!got) return tl::unexpected(got.error());
      if (got->text.find(version) != std::string::npos && got->text.find(value) != std::string::npos) break;
      if (Clock::now() > deadline) return fail(ErrorCode::kProtocol, "a member of etcd lacks puts:\n" + got->text);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  return fmt::format("{}={}", kKey, kValue);
}

// The third column of h2load's log is how long a request took.
double median_us(const fs::path& times) {
  std::vector<double> all;
  std::ifstream in(times);
  for (double start = 0, status = 0, us = 0; in >> start >> status >> us;) all.push_back(us);
  if (all.empty()) return 0;
  std::ranges::nth_element(all, all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2));
  return all[all.size() / 2];
}

}  // namespace

std::string etcd_missing() {
  for (const char* program : {"etcd", "etcdctl", "h2load"}) {
    if (!installed(program)) return fmt::format("needs {}: ./scripts/setup peers", program);
  }
  return "";
}

Result<Measured> etcd_puts_per_s(Scale scale) {
  const std::size_t count = scale == Scale::kSmall ? 2'000 : 60'000;
  const auto cluster = EtcdCluster::start();
  if (!cluster) return tl::unexpected(cluster.error());
  const auto done = (*cluster)->put(count, kConnections, kStreams);
  if (!done) return tl::unexpected(done.error());
  auto digest = (*cluster)->digest(count);
  if (!digest) return tl::unexpected(digest.error());
  // "finished in 1.67s, 11984.66 req/s, …"
  const auto line = done->text.find("finished in ");
  const auto comma = line == std::string::npos ? line : done->text.find(", ", line);
  if (comma == std::string::npos) return fail(ErrorCode::kProtocol, "h2load says no rate");
  return Measured{.value = std::strtod(done->text.c_str() + comma + 2, nullptr), .digest = *digest};
}

Result<Measured> etcd_put_us(Scale scale) {
  const std::size_t count = scale == Scale::kSmall ? 200 : 5'000;
  const auto cluster = EtcdCluster::start();
  if (!cluster) return tl::unexpected(cluster.error());
  const auto done = (*cluster)->put(count, 1, 1);
  if (!done) return tl::unexpected(done.error());
  auto digest = (*cluster)->digest(count);
  if (!digest) return tl::unexpected(digest.error());
  return Measured{.value = median_us((*cluster)->times()), .digest = *digest};
}

}  // namespace gallocy::bench
