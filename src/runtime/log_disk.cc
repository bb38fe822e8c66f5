#include "runtime/log_disk.h"

#include <filesystem>

#include "base/check.h"
#include "base/log.h"
#include "os/os_error.h"
#include "wire/vmm.h"

namespace gallocy::runtime {
namespace {

bool is_of_store(std::string_view name) { return name.starts_with("log-") || name.starts_with("snapshot-"); }

// The folder itself stays: it may be where another disk is mounted.
Result<> empty(const std::string& folder) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::filesystem::remove_all(entry->path(), error);
    if (error) break;
  }
  if (!error || error == std::errc::no_such_file_or_directory) return {};
  return os::os_failure(error.value(), fmt::format("cannot delete what is in {}", folder));
}

}  // namespace

Result<std::unique_ptr<LogDisk>> LogDisk::open(const std::string& directory) {
  GALLOCY_ASSIGN(auto files, LogDirectory::open(directory));
  std::unique_ptr<LogDisk> disk(new LogDisk(std::move(files)));
  GALLOCY_TRY(disk->recover());
  return disk;
}

Result<> LogDisk::recover() {
  GALLOCY_ASSIGN(const auto known, files_->identity());
  if (!known) {
    GALLOCY_ASSIGN(const auto names, files_->list());
    for (const std::string& name : names) {
      if (is_of_store(name))
        return fail(ErrorCode::kExists,
                    fmt::format("{} holds a log, {}, but not whose: take another directory", path(), name));
    }
    return {};
  }
  identity_ = *known;
  return is_empty() ? Result<>() : open_logs();
}

Result<> LogDisk::begin_again() {
  ++identity_.life;
  return files_->set_identity(identity_);
}

// The identity goes first and last, so that what was broken off is begun again.
Result<> LogDisk::begin_anew(const LogIdentity& who, std::span<const raft::PersistentState> founding,
                             const std::vector<std::string>& contacts) {
  CHECK(founding.size() == who.shards, founding.size(), who.shards);
  logs_.clear();
  identity_ = who;
  identity_.life = 0;
  GALLOCY_TRY(files_->set_identity(identity_));
  GALLOCY_TRY(delete_all());
  GALLOCY_TRY(open_logs());
  for (std::size_t i = 0; i < logs_.size(); ++i) {
    const raft::PersistentState& state = logs_[i]->found = founding[i];
    const raft::Persist first{.term = state.term, .vote = state.vote, .first = LogIndex{1}, .entries = state.entries};
    GALLOCY_TRY(logs_[i]->store->write(std::span(&first, 1)));
  }
  GALLOCY_TRY(files_->set_contacts(contacts));
  identity_.life = 1;
  return files_->set_identity(identity_);
}

Result<> LogDisk::delete_all() {
  GALLOCY_ASSIGN(const auto names, files_->list());
  for (const std::string& name : names) {
    if (is_of_store(name)) GALLOCY_TRY(files_->remove(name));
  }
  std::vector<std::string> folders{durable_path()};
  for (std::uint32_t shard = 1; shard < wire::kMaxShards; ++shard) folders.push_back(shard_path(shard));
  for (const std::string& folder : folders) GALLOCY_TRY(empty(folder));
  return {};
}

Result<> LogDisk::open_logs() {
  for (std::uint32_t shard = 0; shard < identity_.shards; ++shard) GALLOCY_TRY(open_log(shard));
  return {};
}

Result<> LogDisk::open_log(std::uint32_t shard) {
  Log& log = *logs_.emplace_back(std::make_unique<Log>());
  if (shard > 0) {
    GALLOCY_ASSIGN(log.own_files, LogDirectory::open(shard_path(shard)));
  }
  LogDirectory& files = shard > 0 ? *log.own_files : *files_;
  GALLOCY_ASSIGN(log.store, open_store(files, identity_.node, log.found, "let it join with an empty directory"));
  log.writer.emplace(*log.store, files.path(), identity_.node);
  return {};
}

void LogDisk::start(const std::function<DiskEvents(std::uint32_t shard)>& events_of) {
  for (std::uint32_t shard = 0; shard < logs_.size(); ++shard) logs_[shard]->writer->start(events_of(shard));
}

LogDisk::~LogDisk() {
  logs_.clear();
  if (!forgets_) return;
  identity_.life = 0;
  if (const auto forgotten = files_->set_identity(identity_); !forgotten)
    log_event(LogLevel::kError, "log_kept", "directory", path(), "reason", forgotten.error().message);
}

}  // namespace gallocy::runtime
