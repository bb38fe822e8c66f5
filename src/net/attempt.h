// Attempt: one connection while it is being set up: the connect, TLS where it is used, the handshake, and the
// descriptors of a shared-memory link. Never waits: the Connector polls the socket and calls step().
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/handshake.h"
#include "net/socket.h"
#include "net/tls.h"

namespace gallocy::net {

// A connection that both sides have accepted.
struct Connection {
  NodeId peer{};  // kNoNode: a visitor
  std::string build{};
  Fd socket;
  std::unique_ptr<TlsSession> tls;  // null: in the clear
  bool dialed = false;
  Fd memory;         // shm: the rings
  Fd peer_doorbell;  // shm: wakes the peer
};

class Attempt {
 public:
  // What all attempts of a node have in common; outlives them. See attempt_setting().
  struct Setting {
    Handshake::Identity identity;
    const TlsContext* tls = nullptr;  // null: in the clear
    int doorbell = -1;                // shm: this node's, given to every peer
    std::chrono::milliseconds peer_timeout{};
  };
  using Clock = std::chrono::steady_clock;

  // A connection that was accepted.
  Attempt(const Setting& setting, Fd accepted, Clock::time_point deadline, Handshake::IsConnected is_connected);
  // A connection to be made; the connect was started.
  Attempt(const Setting& setting, Fd started, Clock::time_point deadline, NodeId peer);

  enum class State : std::uint8_t { kRunning, kDone, kFailed };
  // Does what can be done now.
  State step();
  State state() const { return state_; }
  // For poll(2).
  int socket() const { return socket_.get(); }
  short events() const { return events_; }

  bool dialed() const { return dialed_; }
  NodeId peer() const { return handshake_.peer(); }
  const std::string& from() const { return from_; }  // of an accepted one: where it came from
  Clock::time_point deadline() const { return deadline_; }
  bool is_silent() const { return !heard_; }  // the peer has not sent a byte yet

  // After kFailed. A failure that may pass (nobody listens yet, the peer went away) is worth another attempt.
  const Error& error() const { return error_; }
  bool may_pass() const { return may_pass_; }

  Connection take_connection();

 private:
  enum class Stage : std::uint8_t { kConnecting, kTls, kHandshake };

  State begin_stage_after_connect();
  State step_tls();
  State step_handshake();
  bool send_output();
  bool receive_input();
  bool take_message();
  bool attach_descriptors();
  ssize_t write_some(std::span<const std::byte> bytes);
  ssize_t read_some(std::span<std::byte> bytes);
  State finish();
  State fail(ErrorCode code, std::string reason, bool may_pass);
  bool uses_shm() const { return setting_.identity.links == LinkKind::kShm; }

  const Setting& setting_;
  const bool dialed_;
  const Clock::time_point deadline_;
  Fd socket_;
  std::unique_ptr<TlsSession> tls_;
  Handshake handshake_;
  std::string from_;
  Stage stage_;
  State state_ = State::kRunning;
  short events_;
  bool heard_ = false;
  std::string output_;           // what is still to be sent of the last message
  std::vector<int> output_fds_;  // to go with its first byte
  std::array<std::byte, sizeof(Hello)> input_;
  std::size_t input_bytes_ = 0;
  std::vector<Fd> received_fds_;
  Fd memory_;
  Error error_;
  bool may_pass_ = false;
};

// `options` and `tls` are borrowed.
Attempt::Setting attempt_setting(const MeshOptions& options, int doorbell, const TlsContext* tls);

}  // namespace gallocy::net
