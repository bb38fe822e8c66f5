#include "raw_transport.h"

#include <arpa/inet.h>
#include <immintrin.h>
#include <linux/futex.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace gallocy::bench {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

constexpr std::size_t kRequestBytes = 64, kPageBytes = 4096, kMessageBytes = 256 * 1024;
constexpr std::size_t kStoreBytes = 16 << 20;   // where pages and messages come from and go to, in turn
constexpr std::size_t kStreamBytes = 64 << 20;  // of one sample

[[noreturn]] void stop(const char* what) {
  std::perror(what);
  std::abort();
}

// Calls `try_once` until it returns true, for at most `spin`. Like the mesh's poller it does not offer its core to
// others meanwhile.
template <typename Try>
bool spin_for(microseconds spin, Try&& try_once) {
  if (spin.count() == 0) return try_once();
  const auto end = Clock::now() + spin;
  for (unsigned turn = 1;; ++turn) {
    if (try_once()) return true;
    if (turn % 8 == 0 && Clock::now() >= end) return false;
    _mm_pause();
  }
}

// One direction of the connection: both ends exist in both processes, each uses one.
class Channel {
 public:
  virtual ~Channel() = default;
  virtual void send(const std::byte* data, std::size_t bytes) = 0;
  virtual void receive(std::byte* data, std::size_t bytes) = 0;
};

class TcpChannel final : public Channel {
 public:
  TcpChannel(int socket, microseconds spin) : socket_(socket), spin_(spin) {
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~TcpChannel() override { ::close(socket_); }

  void send(const std::byte* data, std::size_t bytes) override {
    while (bytes > 0) {
      const ssize_t sent = ::send(socket_, data, bytes, MSG_NOSIGNAL);
      if (sent <= 0) stop("raw transport: send");
      data += sent;
      bytes -= static_cast<std::size_t>(sent);
    }
  }
  void receive(std::byte* data, std::size_t bytes) override {
    while (bytes > 0) {
      ssize_t got = -1;
      const bool came = spin_.count() > 0 && spin_for(spin_, [&] {
                          got = ::recv(socket_, data, bytes, MSG_DONTWAIT);
                          return got >= 0 || errno != EAGAIN;
                        });
      if (!came) got = ::recv(socket_, data, bytes, 0);
      if (got <= 0) stop("raw transport: recv");
      data += got;
      bytes -= static_cast<std::size_t>(got);
    }
  }

 private:
  const int socket_;
  const microseconds spin_;
};

// Positions never wrap. A side that sleeps waits for its word to change.
struct Ring {
  static constexpr std::size_t kBytes = 4 << 20;
  alignas(64) std::atomic<std::uint64_t> written{0};
  alignas(64) std::atomic<std::uint64_t> read{0};
  alignas(64) std::atomic<std::uint32_t> reader_word{0}, reader_sleeps{0};
  alignas(64) std::atomic<std::uint32_t> writer_word{0}, writer_sleeps{0};
  alignas(4096) std::byte data[kBytes];
};

class ShmChannel final : public Channel {
 public:
  ShmChannel(Ring& out, Ring& in, microseconds spin) : out_(out), in_(in), spin_(spin) {}

  void send(const std::byte* data, std::size_t bytes) override {
    while (bytes > 0) {
      const std::uint64_t at = out_.written.load(std::memory_order_relaxed);
      const auto room = [&] { return Ring::kBytes - (at - out_.read.load(std::memory_order_acquire)); };
      wait([&] { return room() > 0; }, out_.writer_word, out_.writer_sleeps);
      const std::size_t offset = at % Ring::kBytes;
      const std::size_t part = std::min<std::size_t>({bytes, room(), Ring::kBytes - offset, kPartBytes});
      std::memcpy(out_.data + offset, data, part);
      out_.written.store(at + part, std::memory_order_seq_cst);
      wake(out_.reader_word, out_.reader_sleeps);
      data += part;
      bytes -= part;
    }
  }
  void receive(std::byte* data, std::size_t bytes) override {
    while (bytes > 0) {
      const std::uint64_t at = in_.read.load(std::memory_order_relaxed);
      const auto there = [&] { return in_.written.load(std::memory_order_acquire) - at; };
      wait([&] { return there() > 0; }, in_.reader_word, in_.reader_sleeps);
      const std::size_t offset = at % Ring::kBytes;
      const std::size_t part = std::min<std::size_t>({bytes, there(), Ring::kBytes - offset, kPartBytes});
      std::memcpy(data, in_.data + offset, part);
      in_.read.store(at + part, std::memory_order_seq_cst);
      wake(in_.writer_word, in_.writer_sleeps);
      data += part;
      bytes -= part;
    }
  }

 private:
  static constexpr std::size_t kPartBytes = 128 * 1024;  // so that both sides copy at the same time

  template <typename Ready>
  void wait(Ready&& ready, std::atomic<std::uint32_t>& word, std::atomic<std::uint32_t>& sleeps) {
    if (ready() || spin_for(spin_, ready)) return;
    while (true) {
      const std::uint32_t seen = word.load();
      sleeps.store(1);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (ready()) break;
      ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
    }
    sleeps.store(0);
  }
  static void wake(std::atomic<std::uint32_t>& word, std::atomic<std::uint32_t>& sleeps) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (sleeps.load(std::memory_order_relaxed) == 0) return;
    word.fetch_add(1);
    ::syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }

  Ring& out_;
  Ring& in_;
  const microseconds spin_;
};

// Keeps the calling thread on one processor while it lives.
class Pinned {
 public:
  explicit Pinned(unsigned index) {
    ::sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(index % static_cast<unsigned>(::get_nprocs()), &one);
    ::sched_setaffinity(0, sizeof one, &one);
  }
  ~Pinned() { ::sched_setaffinity(0, sizeof before_, &before_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  cpu_set_t before_;
};

// Runs `serve` in a child and `measure` here, connected by a channel.
template <typename Serve, typename Measure>
void with_partner(const RawOptions& options, Serve&& serve, Measure&& measure) {
  Ring* rings = nullptr;
  int listener = -1;
  sockaddr_in address{};
  socklen_t length = sizeof address;
  if (options.transport == RawTransport::kShm) {
    void* memory =
        ::mmap(nullptr, 2 * sizeof(Ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) stop("raw transport: mmap");
    rings = static_cast<Ring*>(memory);
    new (&rings[0]) Ring;
    new (&rings[1]) Ring;
  } else {
    listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* name = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener, name, length) || ::listen(listener, 1) || ::getsockname(listener, name, &length))
      stop("raw transport: listen");
  }
  const auto channel = [&](bool is_child) -> std::unique_ptr<Channel> {
    if (rings) return std::make_unique<ShmChannel>(rings[is_child], rings[!is_child], options.spin);
    if (is_child) return std::make_unique<TcpChannel>(::accept(listener, nullptr, nullptr), options.spin);
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(socket, reinterpret_cast<sockaddr*>(&address), length)) stop("raw transport: connect");
    return std::make_unique<TcpChannel>(socket, options.spin);
  };
  const pid_t child = ::fork();
  if (child < 0) stop("raw transport: fork");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const Pinned pinned(1);
    serve(*channel(true));
    ::_exit(0);
  }
  {
    const Pinned pinned(0);
    measure(*channel(false));
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) stop("raw transport: the partner failed");
  if (listener >= 0) ::close(listener);
  if (rings) ::munmap(rings, 2 * sizeof(Ring));
}

Spread spread_of(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double part) {
    return samples[static_cast<std::size_t>(part * static_cast<double>(samples.size() - 1))];
  };
  return {.median = at(0.5), .p25 = at(0.25), .p75 = at(0.75)};
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::uint64_t sum_words(const std::byte* data, std::size_t bytes) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
    std::uint64_t word;
    std::memcpy(&word, data + at, sizeof word);
    sum += word;
  }
  return sum;
}

}  // namespace

Spread raw_round_trip_us(const RawOptions& options) {
  const std::size_t samples = options.samples > 0 ? options.samples : 10'000;
  const std::size_t warm_up = samples / 10;
  std::vector<std::byte> store(kStoreBytes, std::byte{7});
  std::byte request[kRequestBytes] = {};
  std::vector<double> times;
  const auto serve = [&](Channel& channel) {
    for (std::size_t i = 0; i < warm_up + samples; ++i) {
      channel.receive(request, sizeof request);
      channel.send(store.data() + i * kPageBytes % kStoreBytes, kPageBytes);
    }
  };
  const auto measure = [&](Channel& channel) {
    for (std::size_t i = 0; i < warm_up + samples; ++i) {
      const auto start = Clock::now();
      channel.send(request, sizeof request);
      channel.receive(store.data() + i * kPageBytes % kStoreBytes, kPageBytes);
      if (i >= warm_up) times.push_back(seconds_since(start) * 1e6);
    }
  };
  with_partner(options, serve, measure);
  return spread_of(std::move(times));
}

Spread raw_stream_mb_s(const RawOptions& options) {
  const std::size_t samples = options.samples > 0 ? options.samples : 15;
  // As large as what is streamed, like the memory that a program reads: a smaller place stays in the cache.
  std::vector<std::byte> store(kStreamBytes, std::byte{7});
  std::vector<double> rates;
  const auto serve = [&](Channel& channel) {
    for (std::size_t sample = 0; sample < samples + 1; ++sample) {
      std::byte go[1];
      channel.receive(go, sizeof go);
      for (std::size_t sent = 0; sent < kStreamBytes; sent += kMessageBytes)
        channel.send(store.data() + sent, kMessageBytes);
    }
  };
  const auto measure = [&](Channel& channel) {
    std::uint64_t sum = 0;
    for (std::size_t sample = 0; sample < samples + 1; ++sample) {
      const auto start = Clock::now();
      channel.send(store.data(), 1);
      for (std::size_t got = 0; got < kStreamBytes; got += kMessageBytes) {
        std::byte* place = store.data() + got;
        channel.receive(place, kMessageBytes);
        sum += sum_words(place, kMessageBytes);
      }
      if (sample > 0) rates.push_back(static_cast<double>(kStreamBytes) / 1e6 / seconds_since(start));  // 0: warm-up
    }
    const std::uint64_t expected = (samples + 1) * (kStreamBytes / sizeof(std::uint64_t)) * 0x0707070707070707u;
    if (sum != expected) stop("raw transport: received something else than was sent");
  };
  with_partner(options, serve, measure);
  return spread_of(std::move(rates));
}

}  // namespace gallocy::bench
