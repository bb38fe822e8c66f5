#include "runtime/disk_writer.h"

#include <pthread.h>
#include <signal.h>

#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace gallocy::runtime {
namespace {

constexpr std::chrono::milliseconds kRetry{200};

}  // namespace

Result<std::unique_ptr<raft::Store>> open_store(LogDirectory& files, NodeId self, raft::PersistentState& found,
                                                std::string_view if_damaged) {
  std::vector<std::string> said;
  auto store = raft::Store::open(files, {}, found, said);
  for (const std::string& line : said)
    log_event(LogLevel::kWarn, "log_recovered", "node", self, "directory", files.path(), "what", line);
  if (store) return std::make_unique<raft::Store>(*std::move(store));
  const Error& error = store.error();
  const bool damaged = error.code == ErrorCode::kProtocol;
  return fail(error.code,
              fmt::format("{}: {}{}{}", files.path(), error.message, damaged ? "; " : "", damaged ? if_damaged : ""));
}

DiskWriter::DiskWriter(raft::Store& store, std::string directory, NodeId self)
    : store_(store), directory_(std::move(directory)), self_(self) {}

// Signals are for the program's threads; that of a file that is too large would end the process.
void DiskWriter::start(DiskEvents events) {
  events_ = std::move(events);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

DiskWriter::~DiskWriter() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mu_);
    stop_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void DiskWriter::write(raft::Persist persist) {
  {
    const std::lock_guard lock(mu_);
    waiting_.push_back(std::move(persist));
  }
  changed_.notify_one();
}

void DiskWriter::run() {
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
bool DiskWriter::write_out(const std::vector<raft::Persist>& writes) {
  bool full = false;
  for (;;) {
    const auto written = store_.write(writes);
    if (written) {
      if (full) log_event(LogLevel::kInfo, "log_has_room", "node", self_, "directory", directory_);
      return true;
    }
    if (written.error().code != ErrorCode::kNoSpace)
      die(static_cast<int>(ErrorCode::kNoSpace),
          fmt::format("gallocy: node {}: {}; its log cannot be trusted to be whole on disk, so it ends", self_,
                      written.error().message));
    if (!full) {
      log_event(LogLevel::kError, "log_disk_full", "node", self_, "directory", directory_, "what",
                "nothing is acknowledged until there is room");
      events_.full();
      full = true;
    }
    if (!wait_for_room()) return false;
  }
}

bool DiskWriter::wait_for_room() {
  std::unique_lock lock(mu_);
  return !changed_.wait_for(lock, kRetry, [this] { return stop_; });
}

}  // namespace gallocy::runtime
