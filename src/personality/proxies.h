// Proxies: at the home, the kernel threads that make the system calls of threads of other nodes, one for each.
//
// Threads: any; begin() and interrupt() may be called by the poller.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "personality/call.h"
#include "personality/guest_entry.h"
#include "runtime/waiting.h"

namespace gallocy::personality {

// A call of a thread that is on `node` and waits for the reply to `ticket`.
struct CallFor {
  NodeId node{};
  std::uint64_t ticket = 0;
  Call call;
  std::vector<std::byte> data;  // memory that came with it
  bool with_data = false;
};

class Proxies {
 public:
  // Makes the call. The reply goes out by Reply, when a signal can no longer interrupt it.
  using Make = std::function<long(GuestThread& proxy, const CallFor& call, std::vector<std::byte>& answer)>;
  using Reply = std::function<void(const CallFor& call, long result, const std::vector<std::byte>& answer)>;

  // program_name: of the threads, until the program names them otherwise.
  Proxies(runtime::Waiting& waiting, const std::string& program_name, Make make, Reply reply)
      : waiting_(waiting), program_name_(program_name), make_(std::move(make)), reply_(std::move(reply)) {}

  void begin(int guest_tid, CallFor call);
  // The call of that ticket, if it is still being made: it is to end with EINTR.
  void interrupt(int guest_tid, std::uint64_t ticket);
  // The thread has ended, or is at the home.
  void end(int guest_tid);

  // Where the thread was at its latest call; nothing if it has no proxy.
  std::optional<NodeId> caller_node(int guest_tid);
  // The proxy's kernel thread; 0: it has none.
  int kernel_tid(int guest_tid);

 private:
  struct Proxy {
    std::mutex mu;
    runtime::WaitFlag changed;
    std::optional<CallFor> next;
    NodeId node{};             // of the latest call
    std::uint64_t ticket = 0;  // of the latest call; 0: it has been made
    bool ended = false;
    GuestThread thread;  // so that a signal can interrupt it
  };
  std::shared_ptr<Proxy> find(int guest_tid);
  void run(Proxy& proxy);

  runtime::Waiting& waiting_;
  const std::string& program_name_;
  const Make make_;
  const Reply reply_;
  std::mutex mu_;
  std::unordered_map<int, std::shared_ptr<Proxy>> proxies_;  // by guest tid
};

}  // namespace gallocy::personality
