#include "attacker.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <random>

#include "net/open_cluster.h"

namespace gallocy::testing {
namespace {

constexpr milliseconds kBound{60'000};

net::Fd connect_to(const net::PeerAddress& to) {
  net::Fd socket;
  const auto candidates = net::resolve(to.host, to.port);
  if (!candidates || net::start_connect(candidates->front(), socket) != 0) ADD_FAILURE() << "no way to " << to.port;
  pollfd polled{.fd = socket.get(), .events = POLLOUT, .revents = 0};
  EXPECT_EQ(::poll(&polled, 1, static_cast<int>(kBound.count())), 1);
  return socket;
}

// All that can be read now; whether it may go on.
bool read_some(int socket, std::string& heard) {
  char buffer[16 << 10];
  for (;;) {
    const ssize_t got = ::recv(socket, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR);
    heard.append(buffer, static_cast<std::size_t>(got));
  }
}

bool write_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) return false;
    pollfd polled{.fd = socket, .events = POLLOUT, .revents = 0};
    if (::poll(&polled, 1, static_cast<int>(kBound.count())) != 1) return false;
  }
  return true;
}

}  // namespace

// ---------------------------------------------------------------------------------------------- Stranger

Stranger::Stranger(const net::PeerAddress& to) : socket_(connect_to(to)) {}

bool Stranger::say(std::string_view bytes) { return write_all(socket_.get(), bytes); }

const std::string& Stranger::heard() {
  if (!cut_off_) cut_off_ = !read_some(socket_.get(), heard_);
  return heard_;
}

// ---------------------------------------------------------------------------------------------- Relay

Relay::Relay(const std::string& host, net::PeerAddress to)
    : host_(host), to_(std::move(to)), listener_(*net::listen_tcp(host, 0)), thread_([this] { run(); }) {}

Relay::~Relay() {
  stop_ = true;
  thread_.join();
}

net::PeerAddress Relay::address() const { return {host_, net::local_port(listener_.get())}; }

void Relay::set_change(Change change) {
  const std::scoped_lock lock(mu_);
  change_ = std::move(change);
}

void Relay::say(std::string bytes) {
  const std::scoped_lock lock(mu_);
  to_say_ += bytes;
}

std::string Relay::text_of(const std::string& heard) const {
  const std::scoped_lock lock(mu_);
  return heard;
}

void Relay::run() {
  net::Fd dialer;
  while (!stop_ && !dialer) {
    pollfd polled{.fd = listener_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&polled, 1, 5) == 1) dialer = net::Fd(::accept(listener_.get(), nullptr, nullptr));
  }
  if (!dialer) return;
  const net::Fd acceptor = connect_to(to_);
  while (!stop_) {
    pollfd polled[] = {{dialer.get(), POLLIN, 0}, {acceptor.get(), POLLIN, 0}};
    ::poll(polled, 2, 5);
    if (!pass_on(dialer.get(), acceptor.get(), up_, true) || !pass_on(acceptor.get(), dialer.get(), down_, false))
      return;
  }
}

bool Relay::pass_on(int from, int to, std::string& heard, bool is_up) {
  std::string bytes;
  const bool goes_on = read_some(from, bytes);
  {
    const std::scoped_lock lock(mu_);
    heard += bytes;
    if (is_up && change_ && !bytes.empty()) bytes = change_(bytes);
    if (is_up) bytes += std::exchange(to_say_, "");
  }
  return write_all(to, bytes) && goes_on;
}

// ---------------------------------------------------------------------------------------------- Impostor

Impostor::Impostor(Cluster cluster) : cluster_(std::move(cluster)) {
  if (cluster_.encrypt) tls_ = std::move(*net::TlsContext::create(cluster_.secret));
}

Result<NodeId> Impostor::join() {
  GALLOCY_ASSIGN(visit_, net::Visit::pay(cluster_.contact, {.secret = cluster_.secret, .encrypt = cluster_.encrypt}));
  const vmm::Wish wish{.newcomer = std::random_device()() + 1ull, .address = cluster_.contact.host + ":9"};
  GALLOCY_TRY(visit_->say({wire::VisitType::kJoin, vmm::encode(wish).body}));
  vmm::AnswerReader reader(wish.newcomer);
  for (bool complete = false; !complete;) {
    GALLOCY_ASSIGN(const net::Visit::Message part, visit_->hear(net::Visit::Clock::now() + kBound));
    wire::ByteReader frame(part.body);
    const auto type = frame.get<wire::MessageType>();
    GALLOCY_ASSIGN(complete, reader.take(type, frame.get_bytes(frame.left())));
  }
  GALLOCY_ASSIGN(const vmm::Admitted place, reader.answer());
  self_ = place.node;
  peers_ = place.peers;
  return self_;
}

Result<> Impostor::dial(NodeId member, const net::PeerAddress& address) {
  const net::MeshOptions who{.self = self_,
                             .nodes = kMaxNodes,
                             .membership = net::Membership::kOpen,
                             .secret = cluster_.secret,
                             .encrypt = cluster_.encrypt,
                             .peer_timeout = kBound};
  const auto setting = net::attempt_setting(who, -1, tls_.get());
  net::Attempt attempt(setting, connect_to(address), net::Attempt::Clock::now() + kBound, member);
  EXPECT_TRUE(eventually([&] { return attempt.step() != net::Attempt::State::kRunning; }, kBound));
  if (attempt.state() != net::Attempt::State::kDone) return tl::unexpected(attempt.error());
  links_.push_back({.connection = attempt.take_connection(), .unread = {}, .frames = {}});
  return {};
}

Result<> Impostor::dial_all() {
  for (const vmm::Peer& peer : peers_) {
    GALLOCY_ASSIGN(const auto address, net::parse_address("the address of a member", peer.address));
    GALLOCY_TRY(dial(peer.node, address));
  }
  return {};
}

void Impostor::say(const wire::FrameHeader& header, std::string_view body) {
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  say(bytes.append(body));
}

void Impostor::say(std::string_view bytes) {
  for (Channel& channel : links_) {
    std::string_view left = bytes;
    if (channel.connection.tls == nullptr) {
      channel.ended |= !write_all(channel.connection.socket.get(), left);
      continue;
    }
    const auto write_some = [&] {
      const iovec piece{const_cast<char*>(left.data()), left.size()};
      const net::Transfer sent = channel.connection.tls->write({&piece, 1});
      channel.ended |= sent.ended != nullptr;
      left.remove_prefix(sent.bytes);
      return left.empty() || channel.ended;
    };
    EXPECT_TRUE(eventually(write_some, kBound));
  }
}

void Impostor::listen(Channel& channel) {
  if (channel.ended) return;
  if (channel.connection.tls == nullptr) {
    channel.ended = !read_some(channel.connection.socket.get(), channel.unread);
  } else {
    for (net::Transfer got{.bytes = 1}; got.bytes > 0 && !got.ended;) {
      char buffer[16 << 10];
      const iovec piece{buffer, sizeof buffer};
      got = channel.connection.tls->read({&piece, 1});
      channel.unread.append(buffer, got.bytes);
      channel.ended = got.ended != nullptr;
    }
  }
  wire::FrameHeader header;
  while (channel.unread.size() >= sizeof header) {
    std::memcpy(&header, channel.unread.data(), sizeof header);
    const std::size_t whole = sizeof header + header.body_bytes + header.payload_bytes;
    if (channel.unread.size() < whole) break;
    ++channel.frames[header.type];
    channel.unread.erase(0, whole);
  }
}

bool Impostor::is_parted_with() {
  bool all = true;
  for (Channel& channel : links_) {
    listen(channel);
    all &= channel.ended;
  }
  return all;
}

std::size_t Impostor::heard(wire::MessageType type) {
  std::size_t count = 0;
  for (Channel& channel : links_) {
    listen(channel);
    count += channel.frames[static_cast<std::uint16_t>(type)];
  }
  return count;
}

}  // namespace gallocy::testing
