// What a process is told of a cluster whose members come and go: where this node listens, through whom it joins, the
// secret. From the command line of `gallocy node`, from NodeOptions, or from the environment:
//
//   GALLOCY_JOIN              host:port (or [v6]:port) of any member
//   GALLOCY_LISTEN            host:port where this node listens; default with GALLOCY_JOIN: any port of the address
//                             by which it reaches that member
//   GALLOCY_SECRET_FILE       a file of mode 0600 that holds the cluster secret
//   GALLOCY_INSECURE_NETWORK  1: do not encrypt. Otherwise links are encrypted unless they are loopback
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/mesh.h"
#include "net/visit.h"

namespace gallocy::net {

struct OpenCluster {
  PeerAddress listen;                  // host empty: as above; port 0: any
  std::optional<PeerAddress> contact;  // the member through whom to join; nothing: found a cluster
  std::string secret;
  bool encrypt = true;
  std::chrono::milliseconds join_timeout{30'000};
  std::chrono::milliseconds link_timeout{2'000};  // to all members, of one attempt to join

  Visit::Options visitor() const { return {.secret = secret, .encrypt = encrypt, .timeout = join_timeout}; }
};

struct OpenClusterTexts {
  std::string listen, join, secret_file;  // empty: not given
  bool insecure_network = false;
};

// What is missing comes from the environment. Nothing: neither listen nor join was given.
Result<std::optional<OpenCluster>> open_cluster(OpenClusterTexts texts);

// "host:port", "[v6]:port". `what` names it in errors.
Result<PeerAddress> parse_address(std::string_view what, std::string_view text);
std::string to_string(const PeerAddress& address);
// Without the line's end. kNotPermitted if others can read it.
Result<std::string> read_secret_file(const std::string& path);

}  // namespace gallocy::net
