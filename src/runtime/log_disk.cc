#include "runtime/log_disk.h"

#include "base/log.h"

namespace gallocy::runtime {

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
  writer_.emplace(*store_, files_->path(), options_.self);
  return {};
}

}  // namespace gallocy::runtime
