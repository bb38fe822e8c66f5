#include "net/tls.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "net/hmac.h"
#include "net/socket.h"

namespace gallocy::net {
namespace {

constexpr std::string_view kIdentity = "gallocy";
constexpr unsigned char kContext[] = {'g'};  // any: sessions with a key need one to be the same on both sides
constexpr unsigned char kAes128GcmSha256[] = {0x13, 0x01};

// The peer speaks TLS and does not accept our key, or we not its.
bool is_wrong_key(int reason) {
  return reason == SSL_R_BINDER_DOES_NOT_VERIFY || reason == SSL_AD_REASON_OFFSET + SSL_AD_ILLEGAL_PARAMETER ||
         reason == SSL_AD_REASON_OFFSET + SSL_AD_DECRYPT_ERROR ||
         reason == SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE;
}

// The last error of this thread's queue in words.
std::string last_ssl_error() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = ERR_reason_error_string(code);
  return reason ? reason : "no cause given";
}

int send_without_signal(BIO* bio, const char* bytes, int count) {
  BIO_clear_retry_flags(bio);
  const auto sent = static_cast<int>(::send(BIO_get_fd(bio, nullptr), bytes, static_cast<size_t>(count), MSG_NOSIGNAL));
  if (sent <= 0 && BIO_sock_should_retry(sent)) BIO_set_retry_write(bio);
  return sent;
}

// OpenSSL's own socket BIO writes with write(2), so that a peer that has gone would kill the process by SIGPIPE. This
// one differs in that call only. With kernel TLS the record layer needs OpenSSL's own.
const BIO_METHOD* socket_method() {
  static const BIO_METHOD* const method = [] {
    const BIO_METHOD* base = BIO_s_socket();
    BIO_METHOD* made = BIO_meth_new(BIO_TYPE_SOCKET, "gallocy socket");
    CHECK(made);
    BIO_meth_set_read(made, BIO_meth_get_read(const_cast<BIO_METHOD*>(base)));
    BIO_meth_set_ctrl(made, BIO_meth_get_ctrl(const_cast<BIO_METHOD*>(base)));
    BIO_meth_set_create(made, BIO_meth_get_create(const_cast<BIO_METHOD*>(base)));
    BIO_meth_set_destroy(made, BIO_meth_get_destroy(const_cast<BIO_METHOD*>(base)));
    BIO_meth_set_write(made, send_without_signal);
    return made;
  }();
  return method;
}

}  // namespace

Result<std::unique_ptr<TlsContext>> TlsContext::create(std::string_view secret) {
  begin_openssl();
  std::unique_ptr<TlsContext> tls(new TlsContext);
  constexpr std::string_view kLabel = "gallocy tls key";
  const Mac key = hmac_sha256(secret, {std::as_bytes(std::span(kLabel))});
  std::memcpy(tls->key_.data(), key.data(), key.size());

  tls->context_.reset(SSL_CTX_new(TLS_method()));
  SSL_CTX* context = tls->context_.get();
  if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
      !SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256"))
    return fail(ErrorCode::kUnsupported, fmt::format("OpenSSL offers no TLS 1.3 here: {}", last_ssl_error()));
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_session_id_context(context, kContext, sizeof kContext);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // There are no certificates: a peer that wants to show one fails, as there is nobody to vouch for it.
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_app_data(context, tls.get());
  SSL_CTX_set_psk_use_session_callback(context, use_session);
  SSL_CTX_set_psk_find_session_callback(context, find_session);
  return tls;
}

std::unique_ptr<TlsSession> TlsContext::session(int socket, TlsRole role) const {
  return std::make_unique<TlsSession>(context_.get(), socket, role);
}

SSL_SESSION* TlsContext::shared_session(SSL* ssl) const {
  SSL_SESSION* session = SSL_SESSION_new();
  CHECK(session && SSL_SESSION_set1_master_key(session, key_.data(), key_.size()) &&
        SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, kAes128GcmSha256)) &&
        SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) &&
        SSL_SESSION_set1_id_context(session, kContext, sizeof kContext));
  return session;
}

int TlsContext::use_session(SSL* ssl, const EVP_MD* digest, const unsigned char** identity, std::size_t* identity_bytes,
                            SSL_SESSION** session) {
  *session = nullptr;
  if (digest && !EVP_MD_is_a(digest, "SHA256")) return 1;  // a cipher that is not ours: go on without the key, and fail
  const auto* tls = static_cast<const TlsContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  *identity = reinterpret_cast<const unsigned char*>(kIdentity.data());
  *identity_bytes = kIdentity.size();
  *session = tls->shared_session(ssl);
  return 1;
}

int TlsContext::find_session(SSL* ssl, const unsigned char* identity, std::size_t identity_bytes,
                             SSL_SESSION** session) {
  *session = nullptr;
  if (std::string_view(reinterpret_cast<const char*>(identity), identity_bytes) != kIdentity) return 1;
  const auto* tls = static_cast<const TlsContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  *session = tls->shared_session(ssl);
  return 1;
}

TlsSession::TlsSession(SSL_CTX* context, int socket, TlsRole role) : socket_(socket), ssl_(SSL_new(context)) {
  BIO* bio = BIO_new(socket_method());
  CHECK(ssl_ && bio);
  BIO_set_fd(bio, socket, BIO_NOCLOSE);
  SSL_set_bio(ssl_.get(), bio, bio);
  role == TlsRole::kClient ? SSL_set_connect_state(ssl_.get()) : SSL_set_accept_state(ssl_.get());
}

TlsSession::Step TlsSession::handshake() {
  os::MutexLock lock(mu_);
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    // A client whose key was not taken would have to trust a certificate; there is none to trust.
    if (SSL_session_reused(ssl_.get())) return Step::kDone;
    failure_ = "does not take the cluster secret";
    refused_ = true;
    return Step::kFailed;
  }
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Step::kWantsRead;
    case SSL_ERROR_WANT_WRITE:
      return Step::kWantsWrite;
    default:
      break;
  }
  refused_ = is_wrong_key(ERR_GET_REASON(ERR_peek_last_error()));
  failure_ = refused_ ? fmt::format("does not have the same cluster secret (TLS: {})", last_ssl_error())
                      : fmt::format("did not finish the TLS handshake ({}); does it encrypt, too?", last_ssl_error());
  return Step::kFailed;
}

// Each call stages up to one record, so that header, body and payload share it.
Transfer TlsSession::write(std::span<const iovec> pieces) {
  os::MutexLock lock(mu_);
  Transfer total;
  std::size_t piece = 0, offset = 0;
  for (;;) {
    // A record that did not leave must be offered again as it was; its bytes are the first of `pieces`.
    std::size_t gathered = 0;
    const std::size_t limit = staged_ > 0 ? staged_ : kRecordBytes;
    while (gathered < limit && piece < pieces.size()) {
      const std::size_t part = std::min(pieces[piece].iov_len - offset, limit - gathered);
      std::memcpy(stage_.data() + gathered, static_cast<const std::byte*>(pieces[piece].iov_base) + offset, part);
      gathered += part;
      offset += part;
      if (offset == pieces[piece].iov_len) ++piece, offset = 0;
    }
    if (gathered == 0) return total;
    CHECK(staged_ == 0 || gathered == staged_, gathered, staged_);
    ERR_clear_error();
    const int written = SSL_write(ssl_.get(), stage_.data(), static_cast<int>(gathered));
    staged_ = written > 0 ? 0 : gathered;
    if (written <= 0) {
      total.ended = outcome(written);
      return total;
    }
    total.bytes += static_cast<std::size_t>(written);
    CHECK(static_cast<std::size_t>(written) == gathered, written, gathered);
  }
}

// Null: try again later; else why the connection has ended.
const char* TlsSession::outcome(int result) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return nullptr;
    case SSL_ERROR_ZERO_RETURN:
      return "closed the connection";
    case SSL_ERROR_SYSCALL:
      return errno == 0 ? "closed the connection" : error_text(errno);
    default:
      break;
  }
  // Without a close_notify the end may be an attacker's; a node that leaves says so in a frame, so it makes no
  // difference.
  if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return "closed the connection";
  return "sent what is not TLS, or was changed on its way";
}

Transfer TlsSession::read(std::span<const iovec> pieces) {
  Transfer total;
  // Most polls find nothing; they should not take the lock that a sender may hold for long.
  char byte;
  const bool is_empty = ::recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
  if (is_empty && !pending_) return total;
  os::MutexLock lock(mu_);
  for (const iovec& piece : pieces) {
    std::size_t at = 0;
    while (at < piece.iov_len) {
      ERR_clear_error();
      const auto room = static_cast<int>(std::min<std::size_t>(piece.iov_len - at, kRecordBytes));
      const int got = SSL_read(ssl_.get(), static_cast<std::byte*>(piece.iov_base) + at, room);
      if (got <= 0) {
        pending_ = false;
        total.ended = outcome(got);
        return total;
      }
      at += static_cast<std::size_t>(got);
      total.bytes += static_cast<std::size_t>(got);
    }
  }
  pending_ = SSL_pending(ssl_.get()) > 0;
  return total;
}

}  // namespace gallocy::net
