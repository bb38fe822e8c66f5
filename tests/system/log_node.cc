// log_node COUNTER FROM COUNT: a program that uses the cluster's log, for the tests of the log on disk. All nodes check
// that the names n1 … n(FROM - 1) are bound, as an earlier run has bound them. Then node COUNTER binds COUNT more, and
// says "acknowledged I" of each. At last all check that they see them, and use a region that may have been there
// before.
#include "program.h"
#include "runtime/runtime.h"
#include "vmm/entry.h"

namespace {

using gallocy::Node;
using program::Word;
using program::wrong;

std::string name_of(std::uint64_t i) { return "n" + std::to_string(i); }

void await_bound(std::uint64_t last) {
  auto& regions = Node::current()->runtime().regions();
  for (std::uint64_t i = 1; i <= last; ++i) {
    for (int patience = 0; regions.bound(name_of(i)) != i; ++patience) {
      if (patience == 30'000) wrong("node %u: the log has no %s", Node::current()->id(), name_of(i).c_str());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

void bind(std::uint64_t i) {
  const auto bound =
      Node::current()->runtime().regions().propose({gallocy::vmm::BindName{name_of(i), i}}, std::chrono::seconds(60));
  // It may have come into the log just before the end of an earlier run.
  if (!bound && bound.error().code != gallocy::ErrorCode::kExists) program::end(bound.error());
  std::printf("acknowledged %lu\n", i);
  std::fflush(stdout);
}

// Where the region is, every node sees what every other one wrote.
void use_region(Node& node) {
  auto* const words = program::shared<Word>("region", node.count() * program::kPageBytes);
  words[node.id() * program::kPageBytes] = 100 + node.id();
  program::need(node.barrier());
  for (unsigned n = 0; n < node.count(); ++n) {
    if (words[n * program::kPageBytes] != 100 + n) wrong("node %u does not see what node %u wrote", node.id(), n);
  }
  if (node.id() == 0) std::printf("the region is at %p\n", static_cast<void*>(words));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) wrong("log_node COUNTER FROM COUNT");
  const std::uint64_t counter = std::stoull(argv[1]), from = std::stoull(argv[2]), count = std::stoull(argv[3]);
  auto node = Node::join();
  if (!node) program::end(node.error());
  std::printf("node %u is %d\n", (*node)->id(), ::getpid());
  std::fflush(stdout);
  await_bound(from - 1);
  for (std::uint64_t i = from; i < from + count && (*node)->id() == counter; ++i) bind(i);
  await_bound(from + count - 1);
  use_region(**node);
  program::need((*node)->barrier());
  return 0;
}
