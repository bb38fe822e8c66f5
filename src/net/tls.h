// TLS 1.3 between nodes, keyed by the cluster secret: an external pre-shared key with (EC)DHE, so that a later leak of
// the secret does not open recorded traffic, and no certificates. AES-128-GCM; in the kernel where that is possible.
#pragma once

#include <openssl/ssl.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/transfer.h"
#include "os/mutex.h"

namespace gallocy::net {

enum class TlsRole : std::uint8_t { kClient, kServer };

// One connection. read() by one thread at a time, write() by another; handshake() before both.
class TlsSession {
 public:
  enum class Step : std::uint8_t { kDone, kWantsRead, kWantsWrite, kFailed };

  TlsSession(SSL_CTX* context, int socket, TlsRole role);

  Step handshake();
  // After kFailed: why, and whether the peer is there and refuses (as it does when the secrets differ).
  const std::string& failure() const { return failure_; }
  bool refused() const { return refused_; }

  // As the socket calls of a link. A write that took less than was offered must be followed by one that starts with
  // what was left. A read fills its places as far as there is data; only when they are full, more of the last record
  // may be left here, which no epoll set shows: has_pending().
  Transfer write(std::span<const iovec> pieces);
  Transfer read(std::span<const iovec> pieces);
  bool has_pending() const { return pending_; }

 private:
  static constexpr std::size_t kRecordBytes = 16 * 1024;  // the largest of TLS

  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  const char* outcome(int result) REQUIRES(mu_);

  const int socket_;
  os::Mutex mu_;  // an SSL object is not thread-safe
  const std::unique_ptr<SSL, Free> ssl_ PT_GUARDED_BY(mu_);
  std::size_t staged_ GUARDED_BY(mu_) = 0;  // bytes of stage_ that wait for room
  bool pending_ = false;                    // the reader's: the record read last was not taken whole
  std::string failure_;
  bool refused_ = false;
  std::array<std::byte, kRecordBytes> stage_;  // one record's worth of a frame, so that small pieces share a record
};

class TlsContext {
 public:
  static Result<std::unique_ptr<TlsContext>> create(std::string_view secret);
  std::unique_ptr<TlsSession> session(int socket, TlsRole role) const;

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  TlsContext() = default;
  SSL_SESSION* shared_session(SSL* ssl) const;
  static int use_session(SSL* ssl, const EVP_MD* digest, const unsigned char** identity, std::size_t* identity_bytes,
                         SSL_SESSION** session);
  static int find_session(SSL* ssl, const unsigned char* identity, std::size_t identity_bytes, SSL_SESSION** session);

  std::unique_ptr<SSL_CTX, Free> context_;
  std::array<unsigned char, 32> key_{};
};

}  // namespace gallocy::net
