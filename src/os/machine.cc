#include "os/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/membarrier.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

#include "base/ids.h"
#include "os/page_frames.h"

namespace gallocy::os {
namespace {

std::string first_line(const char* file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

MachineFact ok_or(bool good, std::string name, std::string value, Verdict otherwise, std::string advice) {
  return {.name = std::move(name),
          .value = std::move(value),
          .verdict = good ? Verdict::kOk : otherwise,
          .advice = good ? "" : std::move(advice)};
}

std::string readable(std::uint64_t bytes) {
  return bytes >= 1 << 30 ? fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30))
                          : fmt::format("{} MiB", bytes >> 20);
}

MachineFact kernel() {
  utsname name{};
  ::uname(&name);
  return ok_or(std::string_view(name.machine) == "x86_64", "kernel", fmt::format("{} {}", name.release, name.machine),
               Verdict::kMissing, "gallocy runs on x86-64 only: choose such a machine.");
}

MachineFact page_size() {
  const long bytes = ::sysconf(_SC_PAGESIZE);
  return ok_or(bytes == static_cast<long>(kPageBytes), "page size", std::to_string(bytes), Verdict::kMissing,
               "gallocy needs pages of 4096 bytes: boot a kernel that has them.");
}

MachineFact cores() {
  const unsigned count = usable_cores();
  return ok_or(count >= 2, "cores", std::to_string(count), Verdict::kDegraded,
               "With one processor the program and the network take turns: every fault costs two more switches.");
}

MachineFact memory() {
  const MemorySize size = memory_size();
  return ok_or(size.available_bytes >= 256 << 20, "memory",
               fmt::format("{}, {} available{}", readable(size.total_bytes), readable(size.available_bytes),
                           size.limited_by_group ? " (limited by the control group)" : ""),
               Verdict::kDegraded,
               "Little memory is available: stop other programs or raise the control group's limit.");
}

MachineFact window() {
  const auto reserved = Window::reserve(kWindowBase, kWindowBytes);
  return ok_or(reserved.has_value(), "address window",
               fmt::format("{:#x}-{:#x} {}", kWindowBase, kWindowBase + kWindowBytes, reserved ? "free" : "taken"),
               Verdict::kMissing, reserved ? "" : reserved.error().message);
}

MachineFact max_map_count() {
  const std::string value = first_line("/proc/sys/vm/max_map_count");
  return ok_or(std::atol(value.c_str()) >= 65'530, "vm.max_map_count", value, Verdict::kDegraded,
               "The sigsegv fault engine may run out of mappings: run `sysctl -w vm.max_map_count=1048576`.");
}

MachineFact overcommit() {
  // Regions are sparse shared files and the window is inaccessible: neither counts as committed in any mode.
  const std::string value = first_line("/proc/sys/vm/overcommit_memory");
  return ok_or(value != "2", "vm.overcommit_memory", value, Verdict::kDegraded,
               "Programs that reserve much more private memory than they use may fail: run `sysctl -w "
               "vm.overcommit_memory=0`.");
}

MachineFact limit(const char* name, int resource, rlim_t enough, Verdict otherwise, const char* advice) {
  rlimit limits{};
  ::getrlimit(static_cast<__rlimit_resource>(resource), &limits);
  return ok_or(limits.rlim_cur >= enough, name,
               limits.rlim_cur == RLIM_INFINITY ? "unlimited" : std::to_string(limits.rlim_cur), otherwise, advice);
}

MachineFact huge_pages() {
  const std::string value = first_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  const bool always = value.find("[always]") != std::string::npos || value.find("[force]") != std::string::npos;
  return ok_or(!always, "huge pages for shared memory", value.empty() ? "none" : value, Verdict::kDegraded,
               "One touched page may take 2 MiB of a node's memory: run `echo advise > "
               "/sys/kernel/mm/transparent_hugepage/shmem_enabled`.");
}

MachineFact unprivileged_userfaultfd() {
  const std::string value = first_line("/proc/sys/vm/unprivileged_userfaultfd");
  const bool device = ::access("/dev/userfaultfd", R_OK | W_OK) == 0;
  return ok_or(value == "1" || device || ::geteuid() == 0, "vm.unprivileged_userfaultfd",
               value.empty() ? "none" : value + (device ? ", /dev/userfaultfd usable" : ""), Verdict::kDegraded,
               "System calls on pages that are not here fail (EFAULT; not under `gallocy run`): as root run `sysctl -w "
               "vm.unprivileged_userfaultfd=1`, or give this user /dev/userfaultfd.");
}

MachineFact membarrier() {
  const long commands = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  const bool has = commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0;
  return ok_or(
      has, "membarrier", has ? "expedited" : "none", Verdict::kDegraded,
      "Nothing needs it; code that could use it takes a dearer way. Linux 4.14 has it; a seccomp profile may hide it.");
}

MachineFact restartable_sequences() {
  // Registering nothing is refused with EINVAL where the call exists.
  const bool has = ::syscall(SYS_rseq, nullptr, 0, 0, 0) == 0 || errno != ENOSYS;
  return ok_or(
      has, "rseq", has ? "yes" : "no", Verdict::kDegraded,
      "Nothing needs it; code that could use it takes a dearer way. Linux 4.18 has it; a seccomp profile may hide it.");
}

MachineFact fuse() {
  const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  const int error = errno;
  if (device >= 0) ::close(device);
  return ok_or(
      device >= 0, "FUSE",
      device >= 0       ? "yes"
      : error == ENOENT ? "no /dev/fuse"
                        : "not permitted",
      Verdict::kMissing,
      "The distributed filesystem cannot be mounted (all else works): load the fuse module, and give this user "
      "/dev/fuse.");
}

MachineFact tls_offload() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  // On a socket without a peer: ENOTCONN where the kernel has TLS, ENOENT where not.
  const bool has =
      socket >= 0 && (::setsockopt(socket, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") == 0 || errno == ENOTCONN);
  if (socket >= 0) ::close(socket);
  return ok_or(has, "kernel TLS", has ? "yes" : "no", Verdict::kDegraded,
               "Encryption between machines is done in user space, with one more copy: run `modprobe tls`.");
}

}  // namespace

std::vector<MachineFact> examine_machine() {
  // A region takes its size twice, in the window and as the runtime view.
  constexpr rlim_t kEnoughAddresses = 2 * kWindowBytes;
  return {
      kernel(),
      page_size(),
      cores(),
      memory(),
      window(),
      limit("address space limit", RLIMIT_AS, kEnoughAddresses, Verdict::kMissing, "Run `ulimit -v unlimited`."),
      limit("file size limit", RLIMIT_FSIZE, RLIM_INFINITY, Verdict::kDegraded,
            "Regions may not be larger than this: run `ulimit -f unlimited`."),
      limit("open files limit", RLIMIT_NOFILE, 1024, Verdict::kDegraded,
            "Large clusters need a descriptor per node and region: run `ulimit -n 4096`."),
      limit("locked memory limit", RLIMIT_MEMLOCK, 0, Verdict::kOk, ""),
      max_map_count(),
      overcommit(),
      huge_pages(),
      unprivileged_userfaultfd(),
      membarrier(),
      restartable_sequences(),
      fuse(),
      tls_offload(),
  };
}

}  // namespace gallocy::os
