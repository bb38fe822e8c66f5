#include "runtime/log_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <system_error>
#include <vector>

#include "os/os_error.h"
#include "wire/vmm.h"

namespace gallocy::runtime {
namespace {

constexpr const char* kLock = "lock";
constexpr const char* kIdentity = "identity";
constexpr const char* kContacts = "contacts";

void close(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

// 0 or an errno. After a power cut a folder is there only if the names in the one around it are durable.
int make_durable(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int result = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return result;
}

int create_folders(const std::string& path) {
  std::error_code error;
  std::vector<std::filesystem::path> around;
  for (auto at = std::filesystem::absolute(path, error); !error && !std::filesystem::exists(at, error) && !error;) {
    at = at.parent_path();
    around.push_back(at);
  }
  if (!error) std::filesystem::create_directories(path, error);
  for (const auto& folder : around) {
    if (error) break;
    error.assign(make_durable(folder), std::generic_category());
  }
  return error.value();
}

}  // namespace

Result<std::unique_ptr<LogDirectory>> LogDirectory::open(const std::string& path) {
  std::unique_ptr<LogDirectory> directory(new LogDirectory(path));
  GALLOCY_TRY(directory->take());
  return directory;
}

LogDirectory::~LogDirectory() {
  close(written_);
  close(lock_);
  close(folder_);
}

tl::unexpected<Error> LogDirectory::failed(int errnum, const std::string& name, const char* what) const {
  return os::os_failure(errnum, fmt::format("the log's directory {}: {} {}", path_, what, name));
}

// A lock of the process and not of the descriptor (flock), which children of the program would have, too.
Result<> LogDirectory::take() {
  if (const int error = create_folders(path_); error != 0) return failed(error, "it", "cannot create");
  folder_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_ < 0) return failed(errno, "it", "cannot open");
  lock_ = ::openat(folder_, kLock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_ < 0) return failed(errno, "in it", "cannot write");
  struct flock lock {};
  lock.l_type = F_WRLCK;
  if (::fcntl(lock_, F_SETLK, &lock) == 0) return {};
  if (errno != EACCES && errno != EAGAIN) return failed(errno, kLock, "cannot lock");
  ::fcntl(lock_, F_GETLK, &lock);
  return fail(ErrorCode::kExists,
              fmt::format("the log's directory {} is in use by process {}; give each node its own", path_, lock.l_pid));
}

// ---------------------------------------------------------------------------------------------- whose it is

Result<std::optional<LogIdentity>> LogDirectory::identity() {
  GALLOCY_ASSIGN(const auto line, text(kIdentity));
  if (!line) return std::nullopt;
  LogIdentity found;
  unsigned node = 0, nodes = 0, shards = 0;
  int end = 0;
  const int count =
      std::sscanf(line->c_str(), "gallocy log 2 cluster %" SCNx64 " node %u of %u shards %u life %" SCNu64 "\n%n",
                  &found.cluster, &node, &nodes, &shards, &found.life, &end);
  if (count != 5 || static_cast<std::size_t>(end) != line->size() || nodes > kMaxNodes || node >= nodes ||
      shards == 0 || shards > wire::kMaxShards)
    return fail(ErrorCode::kProtocol,
                fmt::format("{}/{} is damaged, or of another version of gallocy", path_, kIdentity));
  found.node = NodeId{static_cast<std::uint16_t>(node)};
  found.nodes = static_cast<std::uint16_t>(nodes);
  found.shards = shards;
  return found;
}

Result<> LogDirectory::set_identity(const LogIdentity& identity) {
  const std::string text = fmt::format("gallocy log 2 cluster {:016x} node {} of {} shards {} life {}\n",
                                       identity.cluster, identity.node, identity.nodes, identity.shards, identity.life);
  return replace(kIdentity, text);
}

Result<std::vector<std::string>> LogDirectory::contacts() {
  GALLOCY_ASSIGN(const auto found, text(kContacts));
  std::istringstream words(found.value_or(""));
  return std::vector<std::string>(std::istream_iterator<std::string>(words), {});
}

Result<> LogDirectory::set_contacts(const std::vector<std::string>& contacts) {
  return replace(kContacts, fmt::format("{}\n", fmt::join(contacts, "\n")));
}

Result<std::optional<std::string>> LogDirectory::text(const std::string& name) {
  const auto bytes = read(name);
  if (bytes) return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  if (bytes.error().code == ErrorCode::kNotFound) return std::nullopt;
  return tl::unexpected(bytes.error());
}

// Whole or not at all.
Result<> LogDirectory::replace(const std::string& name, const std::string& text) {
  const std::string anew = name + ".new";
  GALLOCY_TRY(remove(anew));
  GALLOCY_TRY(append(anew, std::as_bytes(std::span(text))));
  GALLOCY_TRY(sync(anew));
  GALLOCY_TRY(rename(anew, name));
  return sync_names();
}

// ---------------------------------------------------------------------------------------------- files

Result<std::vector<std::string>> LogDirectory::list() {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error))
    names.push_back(entry->path().filename());
  if (error) return failed(error.value(), "it", "cannot list");
  return names;
}

Result<raft::Bytes> LogDirectory::read(const std::string& name) {
  int fd = ::openat(folder_, name.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed(errno, name, "cannot read");
  raft::Bytes bytes;
  constexpr std::size_t kPiece = 1 << 20;
  for (;;) {
    const std::size_t had = bytes.size();
    bytes.resize(had + kPiece);
    const ssize_t got = ::read(fd, bytes.data() + had, kPiece);
    const int errnum = errno;
    bytes.resize(had + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got > 0 || (got < 0 && errnum == EINTR)) continue;
    close(fd);
    if (got < 0) return failed(errnum, name, "cannot read");
    return bytes;
  }
}

Result<int> LogDirectory::writable(const std::string& name) {
  if (written_ >= 0 && written_name_ == name) return written_;
  close(written_);
  written_ = ::openat(folder_, name.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (written_ < 0) return failed(errno, name, "cannot write");
  written_name_ = name;
  return written_;
}

void LogDirectory::forget(const std::string& name) {
  if (written_name_ == name) close(written_);
}

Result<> LogDirectory::append(const std::string& name, std::span<const std::byte> bytes) {
  GALLOCY_ASSIGN(const int fd, writable(name));
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return failed(errno, name, "cannot write");
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

Result<> LogDirectory::truncate(const std::string& name, std::size_t bytes) {
  GALLOCY_ASSIGN(const int fd, writable(name));
  if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0) return failed(errno, name, "cannot shorten");
  return {};
}

// What a failed call has lost is not known, so the error is never "no space", after which a caller would try again.
Result<> LogDirectory::sync(const std::string& name) {
  GALLOCY_ASSIGN(const int fd, writable(name));
  if (::fdatasync(fd) == 0) return {};
  auto error = failed(errno, name, "cannot write");
  error.value().code = ErrorCode::kOsError;
  return error;
}

Result<> LogDirectory::sync_names() {
  if (::fsync(folder_) != 0) return failed(errno, "it", "cannot write");
  return {};
}

Result<> LogDirectory::rename(const std::string& from, const std::string& to) {
  forget(from), forget(to);
  if (::renameat(folder_, from.c_str(), folder_, to.c_str()) != 0) return failed(errno, from, "cannot rename");
  return {};
}

Result<> LogDirectory::remove(const std::string& name) {
  forget(name);
  if (::unlinkat(folder_, name.c_str(), 0) != 0 && errno != ENOENT) return failed(errno, name, "cannot remove");
  return {};
}

}  // namespace gallocy::runtime
