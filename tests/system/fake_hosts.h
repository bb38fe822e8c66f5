// Several machines on one: network namespaces joined by a bridge, made for a test and removed after it. The launcher
// runs in the namespace "hub" (10.77.0.1), the hosts are 10.77.0.2 and on. Needs root.
#pragma once

#include <string>
#include <vector>

#include "process.h"

namespace gallocy::testing {

class FakeHosts {
 public:
  explicit FakeHosts(unsigned count);
  ~FakeHosts();

  bool made() const { return made_; }  // false: not permitted here
  // The namespaces' names; they are unique on this machine.
  const std::string& hub() const { return hub_; }
  const std::string& name(unsigned host) const { return hosts_[host]; }
  std::string list() const { return list(static_cast<unsigned>(hosts_.size())); }  // for --hosts
  std::string list(unsigned count) const;                                          // the first of them

  void set_link(unsigned host, const char* state);  // "up" or "down"
  void part(unsigned one, unsigned other);          // these two do not reach each other any more, but all others
  void restore(unsigned one, unsigned other);       // they do again

 private:
  bool ip(const std::vector<std::string>& arguments);
  bool make();
  void set_isolated(unsigned host, const char* state);

  std::string hub_;
  std::vector<std::string> hosts_;
  bool made_ = false;
};

}  // namespace gallocy::testing
