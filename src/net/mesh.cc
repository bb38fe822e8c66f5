#include "net/mesh.h"

#include <fmt/format.h>

#include "base/check.h"
#include "net/connector.h"
#include "net/poller.h"
#include "net/shm_link.h"
#include "net/tcp_link.h"

namespace gallocy::net {
namespace {

class MeshImpl final : public Mesh {
 public:
  static Result<std::unique_ptr<Mesh>> open(MeshOptions options);
  ~MeshImpl() override { close(std::chrono::milliseconds(0)); }

  PeerAddress address() const override { return {options_.listen_host, options_.listen_port}; }
  Result<> connect(const std::vector<PeerAddress>& addresses) override;
  void send(NodeId to, const wire::FrameHeader& header, std::span<const std::byte> body, std::span<const iovec> payload,
            WhenFull when_full) override;
  void serve(FrameSink& sink, std::chrono::microseconds timeout) override { poller_.serve(sink, timeout); }
  bool try_claim() override { return poller_.try_claim(); }
  bool poll(FrameSink& sink, std::chrono::microseconds timeout) override { return poller_.poll(sink, timeout); }
  void release() override { poller_.release(); }
  void wake() override { poller_.wake(); }
  void wake_at(std::int64_t ns) override { poller_.wake_at(ns); }
  void close(std::chrono::milliseconds timeout) override;
  bool unreachable(NodeId peer) const override { return links_[peer.value] && links_[peer.value]->unreachable(); }
  Counters counters(NodeId peer) const override;

 private:
  explicit MeshImpl(MeshOptions options)
      : options_(std::move(options)),
        links_(options_.nodes),
        poller_(options_.links, options_.spin, options_.loop_spin) {}
  Result<> listen();
  void add_link(Connection connection);

  // Constant after connect().
  MeshOptions options_;
  Fd listener_;
  std::unique_ptr<TlsContext> tls_;
  std::vector<std::unique_ptr<Link>> links_;  // index: node id; none for this node

  Poller poller_;
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
  Connector connector(options_, listener_.get(), poller_.doorbell(), tls_.get());
  auto connections = connector.connect_all(addresses);
  // Nobody else belongs here, so nobody else may knock.
  listener_ = Fd();
  if (!connections) return tl::unexpected(std::move(connections).error());
  for (Connection& connection : *connections) add_link(std::move(connection));
  return {};
}

void MeshImpl::add_link(Connection connection) {
  const Link::Setup setup{.peer = connection.peer,
                          .epoll = poller_.epoll(),
                          .peer_timeout = options_.peer_timeout,
                          .more_follows = poller_.more_follows()};
  auto& link = links_[connection.peer.value];
  if (options_.links == LinkKind::kShm) {
    link = std::make_unique<ShmLink>(setup, std::move(connection.socket), std::move(connection.memory),
                                     std::move(connection.peer_doorbell), connection.dialed);
  } else {
    link = std::make_unique<TcpLink>(setup, std::move(connection.socket), std::move(connection.tls));
  }
  poller_.add(*link);
}

void MeshImpl::send(NodeId to, const wire::FrameHeader& header, std::span<const std::byte> body,
                    std::span<const iovec> payload, WhenFull when_full) {
  CHECK(to.value < links_.size() && links_[to.value], to);
  const Caller caller = when_full == WhenFull::kQueue ? Caller::kPoller : poller_.caller();
  links_[to.value]->send(header, body, payload, caller, poller_.gather());
}

void MeshImpl::close(std::chrono::milliseconds timeout) {
  listener_ = Fd();
  poller_.close(timeout);
}

Mesh::Counters MeshImpl::counters(NodeId peer) const {
  CHECK(peer.value < links_.size(), peer);
  return links_[peer.value] ? links_[peer.value]->counters() : Counters{};
}

}  // namespace

Result<std::unique_ptr<Mesh>> Mesh::open(MeshOptions options) { return MeshImpl::open(std::move(options)); }

}  // namespace gallocy::net
