#include "runtime/log_disk.h"

#include <pthread.h>
#include <signal.h>

#include <cstdio>

#include "base/check.h"
#include "base/log.h"

namespace gallocy::runtime {
namespace {

constexpr std::chrono::milliseconds kRetry{200};

}  // namespace

Result<std::unique_ptr<LogDisk>> LogDisk::open(LogDiskOptions options) {
  std::unique_ptr<LogDisk> disk(new LogDisk(std::move(options)));
  GALLOCY_ASSIGN(disk->files_, LogDirectory::open(disk->options_.directory));
  GALLOCY_TRY(disk->recover());
  return disk;
}

Result<> LogDisk::recover() {
  GALLOCY_ASSIGN(const auto known, files_->identity());
  if (!known || known->life == 0) return found_anew();
  identity_ = *known;
  if (identity_.node != options_.self || identity_.nodes != options_.nodes)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} holds the log of node {} of {}, this is node {} of {}: start as many nodes as founded it",
                    files_->path(), identity_.node, identity_.nodes, options_.self, options_.nodes));
  GALLOCY_TRY(open_store());
  ++identity_.life;
  return files_->set_identity(identity_);
}

// The identity goes first and last, so that a founding that was broken off is begun again.
Result<> LogDisk::found_anew() {
  identity_ = {.cluster = options_.new_cluster, .node = options_.self, .nodes = options_.nodes, .life = 0};
  GALLOCY_ASSIGN(const auto known, files_->identity());
  GALLOCY_ASSIGN(const auto names, files_->list());
  for (const std::string& name : names) {
    if (!name.starts_with("log-") && !name.starts_with("snapshot-")) continue;
    if (!known)
      return fail(ErrorCode::kExists,
                  fmt::format("{} holds a log, {}, but not whose: take another directory", files_->path(), name));
    GALLOCY_TRY(files_->remove(name));
  }
  GALLOCY_TRY(files_->set_identity(identity_));
  GALLOCY_TRY(open_store());
  found_ = options_.founding;
  const raft::Persist first{.term = found_.term, .vote = found_.vote, .first = LogIndex{1}, .entries = found_.entries};
  GALLOCY_TRY(store_->write(std::span(&first, 1)));
  identity_.life = 1;
  return files_->set_identity(identity_);
}

Result<> LogDisk::open_store() {
  std::vector<std::string> said;
  auto store = raft::Store::open(*files_, {}, found_, said);
  for (const std::string& line : said)
    log_event(LogLevel::kWarn, "log_recovered", "node", options_.self, "directory", files_->path(), "what", line);
  if (!store) return fail(store.error().code, fmt::format("{}: {}", files_->path(), store.error().message));
  store_ = std::make_unique<raft::Store>(*std::move(store));
  return {};
}

LogDisk::~LogDisk() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mu_);
    stop_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

// Signals are for the program's threads; that of a file that is too large would end the process.
void LogDisk::start(Events events) {
  events_ = std::move(events);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void LogDisk::write(raft::Persist persist) {
  {
    const std::lock_guard lock(mu_);
    waiting_.push_back(std::move(persist));
  }
  changed_.notify_one();
}

void LogDisk::run() {
  std::vector<raft::Persist> writes;
  for (;;) {
    {
      std::unique_lock lock(mu_);
      changed_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
      if (stop_) return;
      writes.clear();
      writes.swap(waiting_);
    }
    if (!write_out(writes)) return;
    events_.written(writes.back().sequence);
  }
}

// False: it was stopped before there was room.
bool LogDisk::write_out(const std::vector<raft::Persist>& writes) {
  bool full = false;
  for (;;) {
    const auto written = store_->write(writes);
    if (written) {
      if (full) log_event(LogLevel::kInfo, "log_has_room", "node", options_.self, "directory", files_->path());
      return true;
    }
    if (written.error().code != ErrorCode::kNoSpace)
      die(static_cast<int>(ErrorCode::kNoSpace),
          fmt::format("gallocy: node {}: {}; its log cannot be trusted to be whole on disk, so it ends", options_.self,
                      written.error().message));
    if (!full) {
      log_event(LogLevel::kError, "log_disk_full", "node", options_.self, "directory", files_->path(), "what",
                "nothing is acknowledged until there is room");
      events_.full();
      full = true;
    }
    if (!wait_for_room()) return false;
  }
}

bool LogDisk::wait_for_room() {
  std::unique_lock lock(mu_);
  return !changed_.wait_for(lock, kRetry, [this] { return stop_; });
}

}  // namespace gallocy::runtime
