// The launcher's answer to `gallocy stat` while the cluster runs: a Unix socket in the run directory, whose mode lets
// in this user only. Who connects gets the record as JSON, with counters as fresh as the nodes give them within
// kPatience.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "event_loop.h"
#include "failure.h"
#include "unique_fd.h"

namespace gallocy::command {

class StatServer {
 public:
  static constexpr std::chrono::milliseconds kPatience{500};
  static constexpr std::size_t kMaxClients = 16;

  // `ask` requests the nodes' counters and returns how many will answer; `record` gives the text.
  struct Source {
    std::function<std::size_t()> ask;
    std::function<std::string()> record;
  };
  static Outcome<std::unique_ptr<StatServer>> open(EventLoop& loop, std::string path, Source source);
  ~StatServer();

  // One of the nodes has answered.
  void answered();

 private:
  struct Client {
    UniqueFd fd;
    std::string text;
  };
  StatServer(EventLoop& loop, std::string path, Source source, UniqueFd listener);
  void accept_one();
  void reply();
  void send(int fd);
  void drop(int fd);

  EventLoop& loop_;
  const std::string path_;
  const Source source_;
  UniqueFd listener_;
  std::map<int, Client> clients_;
  std::size_t awaited_ = 0;  // answers of nodes
  EventLoop::Timer timer_ = 0;
};

}  // namespace gallocy::command
