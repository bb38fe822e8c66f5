#include "net/hmac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include <vector>

#include "base/check.h"

namespace gallocy::net {

Mac hmac_sha256(std::string_view key, std::initializer_list<std::span<const std::byte>> parts) {
  // The machine's configuration file of OpenSSL may load modules that we neither need nor trust, and costs half a
  // millisecond of every start.
  OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
  std::vector<std::byte> whole;
  for (const auto& part : parts) whole.insert(whole.end(), part.begin(), part.end());
  Mac mac;
  unsigned length = mac.size();
  const auto* done =
      HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(whole.data()),
           whole.size(), reinterpret_cast<unsigned char*>(mac.data()), &length);
  CHECK(done && length == mac.size());
  return mac;
}

bool equal_macs(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Nonce random_nonce() {
  Nonce nonce;
  CHECK(::getrandom(nonce.data(), nonce.size(), 0) == static_cast<ssize_t>(nonce.size()));
  return nonce;
}

}  // namespace gallocy::net
