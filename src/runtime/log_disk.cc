#include "runtime/log_disk.h"

#include <filesystem>

#include "base/log.h"
#include "os/os_error.h"

namespace gallocy::runtime {
namespace {

bool is_of_store(std::string_view name) { return name.starts_with("log-") || name.starts_with("snapshot-"); }

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
  return is_empty() ? Result<>() : open_store();
}

Result<> LogDisk::begin_again() {
  ++identity_.life;
  return files_->set_identity(identity_);
}

// The identity goes first and last, so that what was broken off is begun again.
Result<> LogDisk::begin_anew(const LogIdentity& who, const raft::PersistentState& founding,
                             const std::vector<std::string>& contacts) {
  writer_.reset();
  store_.reset();
  identity_ = who;
  identity_.life = 0;
  GALLOCY_TRY(files_->set_identity(identity_));
  GALLOCY_TRY(delete_all());
  GALLOCY_TRY(open_store());
  found_ = founding;
  const raft::Persist first{.term = found_.term, .vote = found_.vote, .first = LogIndex{1}, .entries = found_.entries};
  GALLOCY_TRY(store_->write(std::span(&first, 1)));
  GALLOCY_TRY(files_->set_contacts(contacts));
  identity_.life = 1;
  return files_->set_identity(identity_);
}

Result<> LogDisk::delete_all() {
  GALLOCY_ASSIGN(const auto names, files_->list());
  for (const std::string& name : names) {
    if (is_of_store(name)) GALLOCY_TRY(files_->remove(name));
  }
  std::error_code error;
  std::filesystem::remove_all(durable_path(), error);
  return error ? os::os_failure(error.value(), fmt::format("cannot delete {}", durable_path())) : Result<>();
}

Result<> LogDisk::open_store() {
  std::vector<std::string> said;
  found_ = {};
  auto store = raft::Store::open(*files_, {}, found_, said);
  for (const std::string& line : said)
    log_event(LogLevel::kWarn, "log_recovered", "node", identity_.node, "directory", path(), "what", line);
  if (!store) return fail(store.error().code, fmt::format("{}: {}", path(), store.error().message));
  store_ = std::make_unique<raft::Store>(*std::move(store));
  writer_.emplace(*store_, path(), identity_.node);
  return {};
}

LogDisk::~LogDisk() {
  writer_.reset();
  if (!forgets_) return;
  identity_.life = 0;
  if (const auto forgotten = files_->set_identity(identity_); !forgotten)
    log_event(LogLevel::kError, "log_kept", "directory", path(), "reason", forgotten.error().message);
}

}  // namespace gallocy::runtime
