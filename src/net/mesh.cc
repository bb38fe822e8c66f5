#include "net/mesh.h"

#include <fmt/format.h>

#include "base/check.h"
#include "net/connector.h"
#include "net/door.h"
#include "net/lobby.h"
#include "net/poller.h"
#include "net/shm_link.h"
#include "net/tcp_link.h"

namespace gallocy::net {
namespace {

class MeshImpl final : public Mesh {
 public:
  static Result<std::unique_ptr<Mesh>> open(MeshOptions options);
  ~MeshImpl() override {
    close_door();
    close(std::chrono::milliseconds(0));
  }

  PeerAddress address() const override { return {options_.listen_host, options_.listen_port}; }
  Result<> connect(const std::vector<PeerAddress>& addresses) override;
  Result<> enter(NodeId self, const std::vector<Peer>& others) override;
  Result<> reunite(const std::vector<Peer>& others) override;
  void open_door(std::function<void(Visit&)> receive) override;
  void close_door() override { door_.reset(); }
  std::string build_of(NodeId peer) const override;
  void send(NodeId to, const wire::FrameHeader& header, std::span<const std::byte> body, std::span<const iovec> payload,
            WhenFull when_full) override;
  void serve(FrameSink& sink, std::chrono::microseconds timeout) override { poller_.serve(sink, timeout); }
  bool try_claim() override { return poller_.try_claim(); }
  bool poll(FrameSink& sink, std::chrono::microseconds timeout) override { return poller_.poll(sink, timeout); }
  void release() override { poller_.release(); }
  void wake() override { poller_.wake(); }
  void wake_at(std::int64_t ns) override { poller_.wake_at(ns); }
  void close(std::chrono::milliseconds timeout) override;
  std::uint64_t unanswered_us(NodeId peer) const override {
    return link(peer) != nullptr ? link(peer)->unanswered_us() : 0;
  }
  Counters counters(NodeId peer) const override;

 private:
  explicit MeshImpl(MeshOptions options)
      : options_(std::move(options)),
        peers_(options_.nodes),
        poller_(options_.links, options_.spin, options_.loop_spin) {}
  Result<> listen();
  Result<> link_to(const std::vector<Peer>& others, int listener);
  Link& make_link(Connection connection);
  Link* link(NodeId peer) const { return peers_[peer.value].link.load(std::memory_order_acquire); }

  // Constant after connect() or enter().
  MeshOptions options_;
  Fd listener_;
  std::unique_ptr<TlsContext> tls_;

  // By node id. A link stays when its peer has gone: somebody may just be sending.
  struct PeerLink {
    std::atomic<Link*> link{nullptr};
    std::unique_ptr<Link> owner;  // set, with the build, before the link is published
    std::string build;
  };
  std::vector<PeerLink> peers_;

  Poller poller_;
  Lobby lobby_;
  std::unique_ptr<Door> door_;
};

Result<std::unique_ptr<Mesh>> MeshImpl::open(MeshOptions options) {
  if (options.secret.size() < 16 || options.secret.size() > 256)
    return fail(ErrorCode::kInvalidArgument, "a cluster secret has 16 to 256 bytes");
  if (options.build_id.size() > kMaxBuildIdBytes)
    return fail(ErrorCode::kInvalidArgument, fmt::format("a build id has at most {} bytes", kMaxBuildIdBytes));
  if (options.nodes == 0 || options.nodes > kMaxNodes || options.self.value >= options.nodes)
    return fail(ErrorCode::kInvalidArgument, fmt::format("node {} of {}: a cluster has 1 to {} nodes, numbered from 0",
                                                         options.self, options.nodes, kMaxNodes));
  std::unique_ptr<MeshImpl> mesh(new MeshImpl(std::move(options)));
  GALLOCY_TRY(mesh->listen());
  return mesh;
}

Result<> MeshImpl::listen() {
  if (options_.links == LinkKind::kShm) {
    GALLOCY_ASSIGN(listener_, listen_unix(options_.listen_port));
    return {};
  }
  GALLOCY_ASSIGN(listener_, listen_tcp(options_.listen_host, options_.listen_port));
  options_.listen_port = local_port(listener_.get());
  if (!options_.encrypt) return {};
  GALLOCY_ASSIGN(tls_, TlsContext::create(options_.secret));
  return {};
}

Result<> MeshImpl::connect(const std::vector<PeerAddress>& addresses) {
  CHECK(addresses.size() == options_.nodes, addresses.size(), options_.nodes);
  std::vector<Peer> others;
  for (std::uint16_t n = 0; n < options_.nodes; ++n) {
    if (NodeId{n} != options_.self) others.push_back({NodeId{n}, addresses[n]});
  }
  auto connected = link_to(others, listener_.get());
  // Nobody else belongs here, so nobody else may knock.
  listener_ = Fd();
  return connected;
}

Result<> MeshImpl::enter(NodeId self, const std::vector<Peer>& others) {
  CHECK(options_.membership == Membership::kOpen && self.value < options_.nodes, self);
  options_.self = self;
  lobby_.open();
  return link_to(others, -1);
}

Result<> MeshImpl::link_to(const std::vector<Peer>& others, int listener) {
  Connector connector(options_, listener, poller_.doorbell(), tls_.get());
  GALLOCY_ASSIGN(auto connections, connector.connect_all(others));
  for (Connection& connection : connections) poller_.add(make_link(std::move(connection)));
  return {};
}

Result<> MeshImpl::reunite(const std::vector<Peer>& others) {
  std::vector<Peer> lower;
  std::vector<NodeId> higher;
  for (const Peer& peer : others) {
    if (peer.node < options_.self) lower.push_back(peer);
    if (peer.node > options_.self) higher.push_back(peer.node);
  }
  const auto deadline = Lobby::Clock::now() + options_.connect_timeout;
  lobby_.expect(higher);
  GALLOCY_TRY(link_to(lower, -1));
  GALLOCY_ASSIGN(auto connections, lobby_.all(deadline));
  for (Connection& connection : connections) poller_.add(make_link(std::move(connection)));
  lobby_.open();
  return {};
}

void MeshImpl::open_door(std::function<void(Visit&)> receive) {
  CHECK(options_.membership == Membership::kOpen && !door_);
  door_ = std::make_unique<Door>(
      options_, listener_.get(), tls_.get(),
      Door::Host{.is_connected = [this](NodeId peer) { return link(peer) != nullptr || lobby_.refuses(peer); },
                 .take_in =
                     [this](Connection connection) {
                       if (!lobby_.keep(connection)) poller_.add_later(make_link(std::move(connection)));
                     },
                 .receive = std::move(receive)});
}

std::string MeshImpl::build_of(NodeId peer) const {
  return peer == options_.self ? options_.build_id : link(peer) != nullptr ? peers_[peer.value].build : "";
}

Link& MeshImpl::make_link(Connection connection) {
  const Link::Setup setup{.peer = connection.peer,
                          .epoll = poller_.epoll(),
                          .peer_timeout = options_.peer_timeout,
                          .more_follows = poller_.more_follows()};
  PeerLink& peer = peers_[connection.peer.value];
  peer.build = std::move(connection.build);
  if (options_.links == LinkKind::kShm) {
    peer.owner = std::make_unique<ShmLink>(setup, std::move(connection.socket), std::move(connection.memory),
                                           std::move(connection.peer_doorbell), connection.dialed);
  } else {
    peer.owner = std::make_unique<TcpLink>(setup, std::move(connection.socket), std::move(connection.tls));
  }
  peer.link.store(peer.owner.get(), std::memory_order_release);
  return *peer.owner;
}

void MeshImpl::send(NodeId to, const wire::FrameHeader& header, std::span<const std::byte> body,
                    std::span<const iovec> payload, WhenFull when_full) {
  CHECK(to.value < peers_.size(), to);
  Link* const way = link(to);
  CHECK(way != nullptr || options_.membership == Membership::kOpen, to);
  if (way == nullptr) return;  // in another's name: it is not here any more, or never came
  const Caller caller = when_full == WhenFull::kQueue ? Caller::kPoller : poller_.caller();
  way->send(header, body, payload, caller, poller_.gather());
}

void MeshImpl::close(std::chrono::milliseconds timeout) {
  listener_ = Fd();
  poller_.close(timeout);
}

Mesh::Counters MeshImpl::counters(NodeId peer) const {
  CHECK(peer.value < peers_.size(), peer);
  return link(peer) != nullptr ? link(peer)->counters() : Counters{};
}

}  // namespace

void Mesh::queue(NodeId to, wire::MessageType type, std::span<const std::byte> body, std::span<const iovec> payload) {
  std::size_t payload_bytes = 0;
  for (const iovec& piece : payload) payload_bytes += piece.iov_len;
  send(to,
       {.type = static_cast<std::uint16_t>(type),
        .body_bytes = static_cast<std::uint32_t>(body.size()),
        .payload_bytes = static_cast<std::uint32_t>(payload_bytes)},
       body, payload, WhenFull::kQueue);
}

Result<std::unique_ptr<Mesh>> Mesh::open(MeshOptions options) { return MeshImpl::open(std::move(options)); }

}  // namespace gallocy::net
