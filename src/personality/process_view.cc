// What the program sees of the machine: all nodes as one NUMA machine, and of itself in /proc.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "personality/guest_memory.h"
#include "personality/preload.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

// A file that has just these bytes, open for reading.
long file_with(std::span<const std::byte> bytes) {
  const int fd = ::memfd_create("gallocy-proc", MFD_CLOEXEC);
  if (fd < 0) return -errno;
  if (::write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    ::close(fd);
    return -EIO;
  }
  ::lseek(fd, 0, SEEK_SET);
  return fd;
}

std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

constexpr std::string_view kViewFolder = "/dev/shm", kViewName = "gallocy-machine-";

// Of homes that were killed together with their launchers, which would have done it.
void forget_old_views() {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(kViewFolder, ignored)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with(kViewName)) continue;
    const int pid = std::atoi(name.c_str() + kViewName.size());
    if (pid > 0 && (pid == ::getpid() || (::kill(pid, 0) != 0 && errno == ESRCH))) {
      std::filesystem::remove_all(entry.path(), ignored);
    }
  }
}

}  // namespace

// The nodes' machines are asked for when a program wants to know them for the first time.
MachineView& Process::machine() {
  const std::lock_guard lock(view_mu_);
  if (view_ != nullptr) return *view_;
  std::vector<MachineFacts> facts(nodes_);
  for (std::uint16_t n = 0; n < nodes_; ++n) {
    if (NodeId{n} == self_) {
      facts[n] = machine_facts(runtime_.settings().memory_bytes);
      continue;
    }
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kFacts};
    std::vector<std::byte> answer;
    (void)questions_.ask(NodeId{n}, request, {}, &answer);
    facts[n] = decode(answer).value_or(MachineFacts{});
  }
  for (MachineFacts& node : facts) node.cpuinfo = hide(hidden_features_, node.cpuinfo);
  forget_old_views();
  view_ = std::make_unique<MachineView>(std::move(facts), view_directory());
  return *view_;
}

// In memory, and where the launcher finds it when this process is killed.
std::string Process::view_directory() const { return fmt::format("{}/{}{}", kViewFolder, kViewName, home_pid_); }

// For a call that names a file: the name to use instead. Empty: the file is not there.
std::string Process::file_to_use(std::string path) {
  if (path.empty() || path[0] != '/') return path;
  const auto own = own_proc_file(path);
  if (own) {
    if (auto other = own_file_to_use(*own)) return *other;
  }
  if (nodes_ == 1) return path;
  // Containers' limits are those of one node.
  if ((own && (own->name == "cpuset" || own->name == "cgroup")) || path == "/proc/cgroups" ||
      path.starts_with("/sys/fs/cgroup"))
    return "";
  if (!path.starts_with("/proc/") && !path.starts_with("/sys/")) return path;
  MachineView& view = machine();
  const auto other = view.redirect(path);
  if (!other) return path;
  const std::lock_guard lock(view_mu_);
  if (!view_written_) {
    view_written_ = true;
    if (auto written = view.write(); !written) return path;
  }
  return *other;
}

// open and openat of files that are made on the spot; -ENOSYS: an ordinary one.
long Process::open_own(const GuestThread* thread, const Call& call) {
  const auto path = copy_string(argument(call, call.number == SYS_openat ? 1 : 0), 4096);
  if (!path || (!path->starts_with("/proc/") && !path->starts_with("/dev/fd"))) return -ENOSYS;
  auto file = own_proc_file(*path);
  if (!file) return -ENOSYS;
  if (file->guest_tid == 0 && thread != nullptr && path->starts_with("/proc/thread-self"))
    file->guest_tid = thread->guest_tid;
  if (*path == preload_path()) return file_with(preload_image());
  if (file->name == "maps") {
    std::string text;
    {
      const std::lock_guard lock(space_mu_);
      text = space_->maps_text();
    }
    return file_with(as_bytes(text));
  }
  if (file->name == "cmdline") {
    std::string text;
    for (const std::string& argument : program_arguments_) text += argument + '\0';
    return file_with(as_bytes(text));
  }
  if (const auto text = own_text(*file)) return file_with(as_bytes(*text));
  return -ENOSYS;
}

// readlink of /proc/self/exe; -ENOSYS: of something else.
long Process::read_own_link(const Call& call) {
  const bool relative = call.number == SYS_readlinkat;
  const auto path = copy_string(static_cast<std::uint64_t>(call.arguments[relative ? 1 : 0]), 4096);
  if (!path) return -ENOSYS;
  if (const auto file = own_proc_file(*path); !file || file->name != "exe") return -ENOSYS;
  const auto to = static_cast<std::uint64_t>(call.arguments[relative ? 2 : 1]);
  const auto bytes =
      std::min<std::uint64_t>(static_cast<std::uint64_t>(call.arguments[relative ? 3 : 2]), program_path_.size());
  return copy_out(to, program_path_.data(), bytes) ? static_cast<long>(bytes) : -EFAULT;
}

long Process::system_information(const Call& call) {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return -errno;
  if (nodes_ > 1) {
    MachineView& view = machine();
    std::uint64_t total = 0, free = 0;
    for (std::uint16_t n = 0; n < nodes_; ++n) {
      total += view.facts(NodeId{n}).memory_bytes;
      free += view.facts(NodeId{n}).free_bytes;
    }
    info.totalram = total / info.mem_unit;
    info.freeram = free / info.mem_unit;
  }
  return store(static_cast<std::uint64_t>(call.arguments[0]), info) ? 0 : -EFAULT;
}

}  // namespace gallocy::personality
