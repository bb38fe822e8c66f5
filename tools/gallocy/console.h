// The output of all nodes on this process's standard output and error: whole lines only, in order per node.
//
// Each stream of each node has a LineAssembler; whole lines go to an OutputQueue, which writes without ever blocking
// the launcher: a reader that stops (a pager) must not keep it from noticing that a node died. When much is queued,
// full() tells the sources to stop reading, and so the nodes block, as they would on the reader itself.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "event_loop.h"

namespace gallocy::command {

enum class Stream : std::uint8_t { kOutput, kError };

// Cuts a stream into lines. A line longer than kMaxLineBytes is passed on in parts, so that a node that never ends its
// line costs bounded memory.
class LineAssembler {
 public:
  static constexpr std::size_t kMaxLineBytes = 1 << 20;
  explicit LineAssembler(std::string prefix = {}) : prefix_(std::move(prefix)) {}

  // Appends the lines that are whole now to `out`.
  void feed(std::string_view bytes, std::string& out);
  // The stream has ended: appends what is left, as a line.
  void finish(std::string& out);

 private:
  const std::string prefix_;
  std::string partial_;
  bool in_long_line_ = false;
};

class OutputQueue {
 public:
  static constexpr std::size_t kMaxQueuedBytes = 1 << 20;  // some line of every node must fit
  // `failed` is called once with errno when the descriptor cannot be written any more; what follows is discarded.
  OutputQueue(EventLoop& loop, int fd, std::function<void(int error)> failed);
  ~OutputQueue();

  void write(std::string_view lines);
  void flush();
  bool full() const { return queue_.size() - done_ >= kMaxQueuedBytes; }
  bool empty() const { return done_ == queue_.size(); }

 private:
  void wait_until_writable(bool wanted);

  EventLoop& loop_;
  const int fd_;
  const std::function<void(int)> failed_;
  std::string queue_;
  std::size_t done_ = 0;  // bytes of queue_ that are written
  bool waiting_ = false;
  bool broken_ = false;
};

struct ConsoleOptions {
  std::uint16_t nodes = 1;
  bool prefix = false;  // "[node] " before each line
};

class Console {
 public:
  Console(EventLoop& loop, ConsoleOptions options, std::function<void(int fd, int error)> failed);

  void write(NodeId node, Stream stream, std::string_view bytes);
  void finish(NodeId node, Stream stream);
  // A line of our own on standard error.
  void say(std::string_view line);

  bool full() const;
  bool empty() const;

 private:
  OutputQueue& queue(Stream stream);

  std::unique_ptr<OutputQueue> output_;
  std::unique_ptr<OutputQueue> error_;  // null when both are one file: then one queue keeps their lines whole
  std::vector<std::array<LineAssembler, 2>> assemblers_;
  std::string lines_;
};

}  // namespace gallocy::command
