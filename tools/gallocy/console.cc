#include "console.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace gallocy::command {
namespace {

// A pipe that poll() calls writable takes this much without blocking (PIPE_BUF, pipe(7)). Setting O_NONBLOCK instead
// would change the descriptor for the shell and everybody else who shares it.
constexpr std::size_t kChunkBytes = 4096;

bool same_file(int a, int b) {
  struct stat left {
  }, right{};
  return ::fstat(a, &left) == 0 && ::fstat(b, &right) == 0 && left.st_dev == right.st_dev &&
         left.st_ino == right.st_ino;
}

}  // namespace

void LineAssembler::feed(std::string_view bytes, std::string& out) {
  while (!bytes.empty()) {
    const auto newline = bytes.find('\n');
    const bool whole = newline != std::string_view::npos;
    const auto piece = bytes.substr(0, whole ? newline + 1 : bytes.size());
    bytes.remove_prefix(piece.size());
    if (!whole && partial_.size() + piece.size() < kMaxLineBytes) {
      partial_ += piece;
      continue;
    }
    if (!in_long_line_) out += prefix_;
    out += partial_;
    out += piece;
    partial_.clear();
    in_long_line_ = !whole;
  }
}

void LineAssembler::finish(std::string& out) {
  if (partial_.empty() && !in_long_line_) return;
  if (!in_long_line_) out += prefix_;
  out += partial_;
  out += '\n';
  partial_.clear();
  in_long_line_ = false;
}

OutputQueue::OutputQueue(EventLoop& loop, int fd, std::function<void(int)> failed)
    : loop_(loop), fd_(fd), failed_(std::move(failed)) {}

OutputQueue::~OutputQueue() { wait_until_writable(false); }

void OutputQueue::write(std::string_view lines) {
  if (broken_) return;
  queue_ += lines;
  if (!waiting_) flush();
}

void OutputQueue::flush() {
  while (done_ < queue_.size()) {
    pollfd ready{fd_, POLLOUT, 0};
    if (::poll(&ready, 1, 0) == 0) {
      wait_until_writable(true);
      return;
    }
    const auto written = ::write(fd_, queue_.data() + done_, std::min(kChunkBytes, queue_.size() - done_));
    if (written > 0) {
      done_ += static_cast<std::size_t>(written);
    } else if (errno == EAGAIN) {
      wait_until_writable(true);
      return;
    } else if (errno != EINTR) {
      broken_ = true;
      queue_.clear();
      done_ = 0;
      wait_until_writable(false);
      failed_(errno);
      return;
    }
  }
  queue_.clear();
  done_ = 0;
  wait_until_writable(false);
}

void OutputQueue::wait_until_writable(bool wanted) {
  if (wanted == waiting_) return;
  waiting_ = wanted;
  if (wanted) {
    loop_.watch(fd_, EPOLLOUT, [this](std::uint32_t) { flush(); });
  } else {
    loop_.forget(fd_);
  }
}

Console::Console(EventLoop& loop, ConsoleOptions options, std::function<void(int, int)> failed)
    : output_(
          std::make_unique<OutputQueue>(loop, STDOUT_FILENO, [failed](int error) { failed(STDOUT_FILENO, error); })) {
  if (!same_file(STDOUT_FILENO, STDERR_FILENO)) {
    error_ = std::make_unique<OutputQueue>(loop, STDERR_FILENO, [failed](int error) { failed(STDERR_FILENO, error); });
  }
  assemblers_.reserve(options.nodes);
  for (unsigned node = 0; node < options.nodes; ++node) {
    const auto prefix = options.prefix ? fmt::format("[{}] ", node) : std::string();
    assemblers_.push_back({LineAssembler(prefix), LineAssembler(prefix)});
  }
}

void Console::write(NodeId node, Stream stream, std::string_view bytes) {
  lines_.clear();
  assemblers_[node.value][static_cast<std::size_t>(stream)].feed(bytes, lines_);
  if (!lines_.empty()) queue(stream).write(lines_);
}

void Console::finish(NodeId node, Stream stream) {
  lines_.clear();
  assemblers_[node.value][static_cast<std::size_t>(stream)].finish(lines_);
  if (!lines_.empty()) queue(stream).write(lines_);
}

void Console::say(std::string_view line) { queue(Stream::kError).write(fmt::format("gallocy: {}\n", line)); }

bool Console::full() const { return output_->full() || (error_ && error_->full()); }
bool Console::empty() const { return output_->empty() && (!error_ || error_->empty()); }

OutputQueue& Console::queue(Stream stream) { return stream == Stream::kError && error_ ? *error_ : *output_; }

}  // namespace gallocy::command
