// Views: parts of file mappings that a node's kernel maps straight from the file, because so far the program only reads
// them. They cost neither a copy nor memory, and stay unread for the coherence protocol. Who is to write to such pages
// first has all nodes end their views, and reads them. See "File mappings" in docs/process-mode.md.
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/check.h"
#include "personality/file_task.h"
#include "personality/process.h"

namespace gallocy::personality {
namespace {

// A view is dearer to begin and to end than a small mapping is to read. Programs and libraries are seldom larger.
constexpr std::uint64_t kLeastViewedBytes = 1 << 20;

std::uint64_t up(std::uint64_t bytes) { return (bytes + kPageBytes - 1) & ~(kPageBytes - 1); }

}  // namespace

// At the home. Code is not: the runtime patches it.
bool Process::is_viewable(const FilePart& part) const {
  const Area* const area = space_->find(part.begin);
  return area != nullptr && (area->protection & PROT_EXEC) == 0 && area->end - area->begin >= kLeastViewedBytes;
}

// In a fault handler or a copy from the program's memory: the bytes of the pages that are viewed now.
std::uint64_t Process::view_part(const FileTask& task) {
  const FilePart& part = task.part;
  const int fd = reach_file(task);
  struct stat status {};
  if (fd < 0 || ::fstat(fd, &status) != 0) return can_view_.store(false), 0;
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const std::size_t bytes =
      std::min<std::uint64_t>(part.end - part.begin, size > part.offset ? up(size - part.offset) : 0);
  if (bytes == 0) return 0;
  const auto map = [&](int protection) {
    return ::mmap(reinterpret_cast<void*>(part.begin), bytes, protection,
                  MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | MAP_POPULATE, fd,
                  static_cast<off_t>(part.offset)) != MAP_FAILED;
  };
  runtime_.memory().lend(part.begin, bytes);
  // As the limits have it, which are set below; from some file systems nothing may be executed.
  if (!map(PROT_READ | PROT_EXEC) && !map(PROT_READ)) {
    runtime_.memory().take_back(part.begin, bytes);
    return can_view_.store(false), 0;
  }
  limits_.set_viewed(part.begin, part.begin + bytes, true);
  return bytes;
}

// On any thread, the poller too. What of the range is viewed here is no more.
void Process::end_view(std::uint64_t begin, std::uint64_t end) {
  for (const auto& [from, to] : limits_.viewed(begin, end)) {
    limits_.set_viewed(from, to, false);
    runtime_.memory().take_back(from, to - from);
  }
}

void Process::end_views(std::uint64_t begin, std::uint64_t end, std::span<const NodeId> viewers) {
  QuestionGroup group(questions_);
  for (const NodeId node : viewers) {
    if (node == self_) continue;
    wire::GuestRequest request{
        .ticket = group.ticket(), .kind = wire::GuestRequestKind::kEndView, .words = {begin, end}};
    questions_.post(node, request);
  }
  end_view(begin, end);
  (void)group.wait();
}

}  // namespace gallocy::personality
