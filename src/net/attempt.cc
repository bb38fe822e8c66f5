#include "net/attempt.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "net/shm_memory.h"

namespace gallocy::net {
namespace {

constexpr const char* kWentAway = "closed the connection during the handshake";

}  // namespace

Attempt::Attempt(const Setting& setting, Fd accepted, Clock::time_point deadline, Handshake::IsConnected is_connected)
    : setting_(setting),
      dialed_(false),
      deadline_(deadline),
      socket_(std::move(accepted)),
      handshake_(Handshake::acceptor(setting.identity, random_nonce(), std::move(is_connected))),
      from_(peer_name(socket_.get())),
      stage_(setting.tls ? Stage::kTls : Stage::kHandshake),
      events_(POLLIN) {
  if (!uses_shm()) tune_tcp(socket_.get(), setting.peer_timeout);
  if (setting.tls) tls_ = setting.tls->session(socket_.get(), TlsRole::kServer);
}

Attempt::Attempt(const Setting& setting, Fd started, Clock::time_point deadline, NodeId peer)
    : setting_(setting),
      dialed_(true),
      deadline_(deadline),
      socket_(std::move(started)),
      handshake_(Handshake::dialer(setting.identity, peer, random_nonce())),
      stage_(Stage::kConnecting),
      events_(POLLOUT) {}

Attempt::State Attempt::step() {
  if (state_ != State::kRunning) return state_;
  if (stage_ == Stage::kConnecting) return begin_stage_after_connect();
  return stage_ == Stage::kTls ? step_tls() : step_handshake();
}

Attempt::State Attempt::begin_stage_after_connect() {
  if (const int error = connect_outcome(socket_.get()); error != 0)
    return fail(ErrorCode::kUnreachable, error_text(error), true);
  if (!uses_shm()) tune_tcp(socket_.get(), setting_.peer_timeout);
  if (setting_.tls) {
    tls_ = setting_.tls->session(socket_.get(), TlsRole::kClient);
    stage_ = Stage::kTls;
    return step_tls();
  }
  stage_ = Stage::kHandshake;
  return step_handshake();
}

Attempt::State Attempt::step_tls() {
  switch (tls_->handshake()) {
    case TlsSession::Step::kWantsRead:
      heard_ = true;
      events_ = POLLIN;
      return State::kRunning;
    case TlsSession::Step::kWantsWrite:
      events_ = POLLOUT;
      return State::kRunning;
    case TlsSession::Step::kFailed:
      return fail(tls_->refused() ? ErrorCode::kNotPermitted : ErrorCode::kProtocol, tls_->failure(), !tls_->refused());
    case TlsSession::Step::kDone:
      break;
  }
  stage_ = Stage::kHandshake;
  return step_handshake();
}

Attempt::State Attempt::step_handshake() {
  for (;;) {
    if (output_.empty()) output_ = handshake_.take_output();
    if (!output_.empty() && !send_output()) return state_;
    if (handshake_.state() == Handshake::State::kDone) return finish();
    if (handshake_.state() == Handshake::State::kRefused)
      return fail(handshake_.refusal().code, handshake_.refusal().message, false);
    if (!receive_input()) return state_;
  }
}

// False: there is more to send, or it failed.
bool Attempt::send_output() {
  const ssize_t sent = write_some(std::as_bytes(std::span(output_)));
  if (sent < 0) return fail(ErrorCode::kUnreachable, kWentAway, true), false;
  if (sent > 0) output_fds_.clear();
  output_.erase(0, static_cast<std::size_t>(sent));
  events_ = output_.empty() ? POLLIN : POLLOUT;
  return output_.empty();
}

// True: a message was taken.
bool Attempt::receive_input() {
  events_ = POLLIN;
  const std::size_t wanted = handshake_.wanted() - input_bytes_;
  const ssize_t got = read_some(std::span(input_).subspan(input_bytes_, wanted));
  if (got < 0) return fail(ErrorCode::kUnreachable, kWentAway, true), false;
  if (got == 0) return false;
  heard_ = true;
  input_bytes_ += static_cast<std::size_t>(got);
  return input_bytes_ == handshake_.wanted() && take_message();
}

bool Attempt::take_message() {
  const bool was_proof = !dialed_ && handshake_.proof_is_next();
  const bool was_verdict = dialed_ && handshake_.verdict_is_next();
  handshake_.receive({input_.data(), std::exchange(input_bytes_, 0)});
  const bool goes_on = handshake_.state() != Handshake::State::kRefused;
  if (uses_shm() && goes_on && (was_proof || was_verdict)) return attach_descriptors();
  return true;
}

// The next message takes descriptors along: with the verdict the rings and the acceptor's doorbell, with the dialer's
// last message its own.
bool Attempt::attach_descriptors() {
  if (!dialed_) {
    auto memory = create_ring_memory();
    if (!memory) return fail(memory.error().code, memory.error().message, false), false;
    memory_ = std::move(*memory);
    output_fds_.push_back(memory_.get());
  }
  output_fds_.push_back(setting_.doorbell);
  return true;
}

// Bytes sent, 0 when there is no room now, -1 when there never will be.
ssize_t Attempt::write_some(std::span<const std::byte> bytes) {
  if (tls_) {
    const iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
    const Transfer transfer = tls_->write({&piece, 1});
    return transfer.ended ? -1 : static_cast<ssize_t>(transfer.bytes);
  }
  const ssize_t sent = send_with_fds(socket_.get(), bytes, output_fds_);
  return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
}

// Bytes received, 0 when there are none now, -1 at the end.
ssize_t Attempt::read_some(std::span<std::byte> bytes) {
  if (tls_) {
    const iovec piece{bytes.data(), bytes.size()};
    const Transfer transfer = tls_->read({&piece, 1});
    return transfer.ended ? -1 : static_cast<ssize_t>(transfer.bytes);
  }
  // Only a peer that has proved itself, or one that we called and are about to check, can give us descriptors.
  const bool takes_fds = uses_shm() && (handshake_.verdict_is_next() || handshake_.ready_is_next());
  const ssize_t got = takes_fds ? receive_with_fds(socket_.get(), bytes, received_fds_)
                                : ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  return got == 0 ? -1 : got;
}

Attempt::State Attempt::finish() {
  if (uses_shm()) {
    if (received_fds_.size() != (dialed_ ? 2u : 1u))
      return fail(ErrorCode::kProtocol, "passed no shared memory in the handshake", false);
    if (dialed_) {
      memory_ = std::move(received_fds_.front());
      if (!is_ring_memory(memory_.get())) return fail(ErrorCode::kProtocol, "passed a wrong kind of memory", false);
    }
  }
  return state_ = State::kDone;
}

Attempt::State Attempt::fail(ErrorCode code, std::string reason, bool may_pass) {
  error_ = {code, std::move(reason)};
  may_pass_ = may_pass;
  return state_ = State::kFailed;
}

Connection Attempt::take_connection() {
  CHECK(state_ == State::kDone);
  Connection connection{.peer = peer(),
                        .build = std::string(handshake_.peer_build()),
                        .socket = std::move(socket_),
                        .tls = std::move(tls_),
                        .dialed = dialed_};
  if (uses_shm()) {
    connection.memory = std::move(memory_);
    connection.peer_doorbell = std::move(received_fds_.back());
  }
  return connection;
}

Attempt::Setting attempt_setting(const MeshOptions& options, int doorbell, const TlsContext* tls) {
  return {.identity = {.self = options.self,
                       .nodes = options.nodes,
                       .links = options.links,
                       .membership = options.membership,
                       .secret = options.secret,
                       .build_id = options.build_id},
          .tls = tls,
          .doorbell = doorbell,
          .peer_timeout = options.peer_timeout};
}

}  // namespace gallocy::net
