// Visit: what somebody who is no peer has to say to a member of an open cluster, and the answer: a node that wants to
// join, `gallocy status`, `gallocy leave`. The visitor has proved that it knows the cluster secret, and so has the
// member. One request, one answer (wire/visit.h), over a connection of its own.
//
// Threads: one at a time, but end(), which any may call. Everything waits, at most until a deadline.
//
// Example
//   auto visit = Visit::pay({"10.0.0.1", 7000}, {.secret = secret, .timeout = 5s});
//   GALLOCY_TRY((*visit)->say({wire::VisitType::kStatus}));
//   GALLOCY_ASSIGN(const Message answer, (*visit)->hear());
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "net/attempt.h"
#include "wire/visit.h"

namespace gallocy::net {

class Visit {
 public:
  using Clock = std::chrono::steady_clock;

  struct Options {
    std::string secret;
    bool encrypt = false;
    std::chrono::milliseconds timeout{10'000};  // until somebody answers at that address
  };
  struct Message {
    wire::VisitType type{};
    wire::Bytes body{};
  };

  // Tries again until the time is over: the member may not listen yet.
  static Result<std::unique_ptr<Visit>> pay(const PeerAddress& member, const Options& options);
  // The member's side.
  Visit(Connection connection, std::unique_ptr<TlsContext> tls = nullptr)
      : tls_(std::move(tls)), connection_(std::move(connection)) {}

  Result<> say(const Message& message);
  // kPeerLost when the other has gone; kTimeout.
  Result<Message> hear(Clock::time_point deadline = Clock::time_point::max());
  // What waits here ends with kPeerLost.
  void end();

  NodeId member() const { return connection_.peer; }  // the visitor's side: with whom it speaks
  std::string local_host() const;                     // this end's address
  std::string from() const;                           // the other end's

 private:
  Result<> fill(std::span<std::byte> bytes, Clock::time_point deadline);
  Result<> drain(std::span<const std::byte> bytes, Clock::time_point deadline);
  Result<> wait_for(short events, Clock::time_point deadline);

  std::unique_ptr<TlsContext> tls_;  // of the visitor's side
  Connection connection_;
};

}  // namespace gallocy::net
