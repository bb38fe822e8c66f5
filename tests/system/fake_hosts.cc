#include "fake_hosts.h"

#include <unistd.h>

namespace gallocy::testing {

FakeHosts::FakeHosts(unsigned count) : hub_("gt" + std::to_string(::getpid()) + "h") {
  for (unsigned i = 0; i < count; ++i) hosts_.push_back("gt" + std::to_string(::getpid()) + "n" + std::to_string(i));
  made_ = ::geteuid() == 0 && make();
}

FakeHosts::~FakeHosts() {
  if (::geteuid() != 0) return;
  for (const auto& host : hosts_) ip({"netns", "del", host});
  ip({"netns", "del", hub_});
}

bool FakeHosts::ip(const std::vector<std::string>& arguments) {
  std::vector<std::string> command{"ip"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return Process(command).wait() == 0;
}

bool FakeHosts::make() {
  bool good = ip({"netns", "add", hub_}) && ip({"-n", hub_, "link", "set", "lo", "up"}) &&
              ip({"-n", hub_, "link", "add", "bridge", "type", "bridge"}) &&
              ip({"-n", hub_, "addr", "add", "10.77.0.1/24", "dev", "bridge"}) &&
              ip({"-n", hub_, "link", "set", "bridge", "up"});
  for (std::size_t i = 0; good && i < hosts_.size(); ++i) {
    const auto& host = hosts_[i];
    const auto port = "port" + std::to_string(i);
    const auto address = "10.77.0." + std::to_string(i + 2) + "/24";
    good = ip({"netns", "add", host}) && ip({"-n", host, "link", "set", "lo", "up"}) &&
           ip({"-n", hub_, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host}) &&
           ip({"-n", hub_, "link", "set", port, "master", "bridge", "up"}) &&
           ip({"-n", host, "addr", "add", address, "dev", "eth0"}) && ip({"-n", host, "link", "set", "eth0", "up"});
  }
  return good;
}

std::string FakeHosts::list(unsigned count) const {
  std::string text;
  for (unsigned i = 0; i < count; ++i) text += (text.empty() ? "" : ",") + hosts_[i];
  return text;
}

void FakeHosts::set_link(unsigned host, const char* state) {
  ip({"-n", hub_, "link", "set", "port" + std::to_string(host), state});
}

void FakeHosts::set_isolated(unsigned host, const char* state) {
  ip({"-n", hub_, "link", "set", "port" + std::to_string(host), "type", "bridge_slave", "isolated", state});
}

void FakeHosts::part(unsigned one, unsigned other) {
  for (const unsigned host : {one, other}) set_isolated(host, "on");
}

void FakeHosts::restore(unsigned one, unsigned other) {
  for (const unsigned host : {one, other}) set_isolated(host, "off");
}

}  // namespace gallocy::testing
