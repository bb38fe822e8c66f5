// /proc/self as the program would see it natively: its threads on all nodes, its descriptors, its size. Files are made
// when they are opened; directories are written below view_directory() when they are named.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "personality/guest_memory.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::trunc);
  return static_cast<bool>(file << text);
}

constexpr std::uint64_t bit(int number) { return std::uint64_t{1} << (number - 1); }

}  // namespace

// "/proc/self/NAME", "/proc/PID/NAME", "/proc/self/task/TID/NAME" and their kin; nothing for other paths.
std::optional<OwnFile> Process::own_proc_file(std::string_view path) const {
  const auto skip = [&path](std::string_view prefix) {
    if (!path.starts_with(prefix) || (path.size() > prefix.size() && path[prefix.size()] != '/')) return false;
    path.remove_prefix(std::min(path.size(), prefix.size() + 1));
    return true;
  };
  if (skip("/dev/fd")) return path.empty() ? std::optional(OwnFile{.name = "fd"}) : std::nullopt;
  if (!skip("/proc/self") && !skip("/proc/thread-self") && !skip(fmt::format("/proc/{}", home_pid_)))
    return std::nullopt;
  while (path.ends_with('/')) path.remove_suffix(1);
  OwnFile file;
  if (path.starts_with("task/")) {
    path.remove_prefix(std::strlen("task/"));
    const auto [end, error] = std::from_chars(path.data(), path.data() + path.size(), file.guest_tid);
    if (error != std::errc{} || (*end != '/' && end != path.data() + path.size())) return std::nullopt;
    path.remove_prefix(std::min<std::size_t>(path.size(), static_cast<std::size_t>(end - path.data()) + 1));
  }
  file.name = path;
  return file;
}

std::vector<TaskFacts> Process::tasks_here() {
  std::vector<std::pair<TaskFacts, int>> found;
  {
    const os::MutexLock lock(threads_mu_);
    for (const auto& [guest_tid, thread] : threads_) {
      TaskFacts task{.guest_tid = guest_tid, .blocked = thread->guest_mask};
      const os::MutexLock thread_lock(thread->mu);
      for (std::size_t i = 0; i < thread->pending_count; ++i) task.pending |= bit(thread->pending[i].number);
      found.emplace_back(task, thread->tid);
    }
  }
  std::vector<TaskFacts> tasks;
  for (auto& [task, tid] : found) {
    if (!read_stat(read_file(fmt::format("/proc/self/task/{}/stat", tid)), task)) continue;  // it has ended
    if (nodes_ > 1) task.processor = processor_number(static_cast<unsigned>(task.processor));
    tasks.push_back(task);
  }
  return tasks;
}

// At the home: the threads of all nodes, the first thread first.
std::vector<TaskFacts> Process::tasks() {
  std::vector<TaskFacts> all = tasks_here();
  for (std::uint16_t n = 1; n < nodes_; ++n) {
    wire::GuestRequest request{.kind = wire::GuestRequestKind::kTasks};
    std::vector<std::byte> answer;
    (void)questions_.ask(NodeId{n}, request, {}, &answer);
    std::vector<TaskFacts> more(answer.size() / sizeof(TaskFacts));
    if (!more.empty()) std::memcpy(more.data(), answer.data(), more.size() * sizeof(TaskFacts));
    for (TaskFacts& task : more) {
      const std::string name = read_file(name_file(task.guest_tid));
      if (name.empty()) continue;
      std::memset(task.name, 0, sizeof task.name);
      name.copy(task.name, std::min(name.size() - 1, sizeof task.name - 1));
    }
    all.insert(all.end(), more.begin(), more.end());
  }
  std::ranges::sort(all, {}, [&](const TaskFacts& t) { return t.guest_tid == home_pid_ ? 0 : t.guest_tid; });
  return all;
}

ProcessFacts Process::process_facts(std::size_t threads) {
  ProcessFacts facts{.threads = threads, .resident_bytes = usage_of_all().resident_bytes};
  {
    const std::lock_guard lock(space_mu_);
    space_->visit(0, end_, [&](const Area& area) { facts.mapped_bytes += area.end - area.begin; });
  }
  facts.resident_bytes = std::min(facts.resident_bytes, facts.mapped_bytes);
  const os::MutexLock lock(actions_mu_);
  for (int number = 1; number <= 64; ++number) {
    const std::uint64_t handler = actions_[number].handler;
    if (handler == reinterpret_cast<std::uint64_t>(SIG_IGN)) facts.ignored |= bit(number);
    if (handler > 1) facts.caught |= bit(number);
  }
  return facts;
}

// The text of stat, status, statm or comm; nothing for other names and for threads that are not there.
std::optional<std::string> Process::own_text(const OwnFile& file) {
  if (file.name != "stat" && file.name != "status" && file.name != "statm") return std::nullopt;
  const std::vector<TaskFacts> all = tasks();
  const ProcessFacts process = process_facts(all.size());
  if (file.name == "statm") return statm_line(process);
  const int tid = file.guest_tid != 0 ? file.guest_tid : home_pid_;
  const auto found = std::ranges::find(all, tid, &TaskFacts::guest_tid);
  TaskFacts task{.guest_tid = home_pid_};
  if (found != all.end()) {
    task = *found;
  } else if (tid != home_pid_ || !read_stat(read_file("/proc/self/stat"), task)) {
    return std::nullopt;
  }
  if (file.guest_tid == 0) {
    const rusage used = usage_of_all().resources;
    const auto ticks = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
    const auto in_ticks = [&](timeval t) {
      return static_cast<std::uint64_t>(t.tv_sec) * ticks + static_cast<std::uint64_t>(t.tv_usec) * ticks / 1'000'000;
    };
    task.user_ticks = in_ticks(used.ru_utime);
    task.system_ticks = in_ticks(used.ru_stime);
  }
  const std::string own = read_file("/proc/self/" + file.name);
  return file.name == "stat" ? stat_line(own, task, process) : status_text(own, task, process, allowed_facts(tid));
}

// The kernel's file with the thread's name, at the home: for a thread of another node that of its proxy.
std::string Process::name_file(int guest_tid) {
  int tid = 0;
  {
    const os::MutexLock lock(threads_mu_);
    if (const auto found = threads_.find(guest_tid); found != threads_.end()) tid = found->second->tid;
  }
  if (tid == 0) tid = proxies_.kernel_tid(guest_tid);
  return tid != 0 ? fmt::format("/proc/self/task/{}/comm", tid) : "";
}

// A directory of /proc/self as it is now; its path. Empty: it is not there.
std::string Process::write_own_directory(const OwnFile& file) {
  const std::lock_guard lock(own_view_mu_);
  std::error_code error;
  const std::filesystem::path top = std::filesystem::path(view_directory()) / "self";
  const std::filesystem::path path = top / (file.name == "fd" ? "fd" : "task");
  std::filesystem::remove_all(path, error);
  std::filesystem::create_directories(path, error);
  if (error) return "";
  if (file.name == "fd") {
    std::vector<int> open = open_descriptors();
    std::ranges::reverse(open);  // a memory file system lists the newest first, and /proc the lowest
    for (const int fd : open) {
      if (descriptors_.is_runtimes(fd)) continue;
      std::filesystem::create_symlink(std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", fd), error),
                                      path / std::to_string(fd), error);
    }
    return path.native();
  }
  const std::vector<TaskFacts> all = tasks();
  const ProcessFacts process = process_facts(all.size());
  const std::string stat = read_file("/proc/self/stat"), status = read_file("/proc/self/status");
  for (const TaskFacts& task : all) {
    const auto directory = path / std::to_string(task.guest_tid);
    std::filesystem::create_directory(directory, error);
    write_file(directory / "comm", std::string(task.name) + '\n');
    write_file(directory / "stat", stat_line(stat, task, process));
    write_file(directory / "status", status_text(status, task, process, allowed_facts(task.guest_tid)));
  }
  if (file.guest_tid == 0) return path.native();
  const auto wanted = path / std::to_string(file.guest_tid) / file.name;
  return std::filesystem::exists(wanted, error) ? wanted.native() : "";
}

// For a call that names a file below /proc/self: the name to use instead. Nothing: as it is; empty: it is not there.
std::optional<std::string> Process::own_file_to_use(const OwnFile& file) {
  if (file.name == "exe") return program_path_;
  if (file.name == "fd") return write_own_directory(file);
  if (file.name.starts_with("fd/")) {
    int fd = -1;
    std::from_chars(file.name.data() + 3, file.name.data() + file.name.size(), fd);
    if (descriptors_.is_runtimes(fd)) return "";
    return std::nullopt;
  }
  if (file.name == "comm" && file.guest_tid != 0) return name_file(file.guest_tid);
  if (file.name == "task" || (file.guest_tid != 0 && file.name.empty())) return write_own_directory(file);
  return std::nullopt;
}

// Of the calling thread of the home, which its name in /proc/self/task follows, and of the process.
void Process::name_program(const std::string& path) {
  program_name_ = std::filesystem::path(path).filename().string().substr(0, 15);
  ::prctl(PR_SET_NAME, program_name_.c_str());
  write_file("/proc/self/comm", program_name_);
}

// PR_SET_NAME and PR_GET_NAME, on the guest thread. The name of a thread of another node is its proxy's, where others
// find it; its own kernel thread gets it too, for whoever looks at that machine.
long Process::thread_name(GuestThread& thread, const Call& call) {
  char name[16] = {};
  if (call.arguments[0] == PR_SET_NAME) {
    const auto given = copy_string(argument(call, 1), 4096);
    if (!given) return -EFAULT;
    given->copy(name, sizeof name - 1);
    raw_system_call(SYS_prctl, PR_SET_NAME, reinterpret_cast<long>(name));
    return is_home() ? 0 : name_proxy(thread, name);
  }
  if (!is_home()) {
    wire::GuestRequest request = request_for(wire::GuestRequestKind::kCall, thread, call);
    return questions_.ask(kHome, request);
  }
  raw_system_call(SYS_prctl, PR_GET_NAME, reinterpret_cast<long>(name));
  return copy_out(argument(call, 1), name, sizeof name) ? 0 : -EFAULT;
}

long Process::name_proxy(const GuestThread& thread, const char (&name)[16]) {
  Call at_home{.number = SYS_prctl, .arguments = {PR_SET_NAME}};
  std::memcpy(&at_home.arguments[1], name, sizeof name);
  wire::GuestRequest request = request_for(wire::GuestRequestKind::kCall, thread, at_home);
  return questions_.ask(kHome, request);
}

// On the proxy.
long Process::proxy_name(const Call& call) {
  char name[16] = {};
  if (call.arguments[0] == PR_SET_NAME) {
    std::memcpy(name, &call.arguments[1], sizeof name);
    return raw_system_call(SYS_prctl, PR_SET_NAME, reinterpret_cast<long>(name));
  }
  raw_system_call(SYS_prctl, PR_GET_NAME, reinterpret_cast<long>(name));
  return copy_out(argument(call, 1), name, sizeof name) ? 0 : -EFAULT;
}

}  // namespace gallocy::personality
