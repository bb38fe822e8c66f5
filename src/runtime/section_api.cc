// The public Section over the Sections of this process.
#include <vector>

#include "base/check.h"
#include "gallocy/node.h"
#include "gallocy/section.h"
#include "runtime/runtime.h"

namespace gallocy {
namespace {

runtime::Sections& the_sections() {
  Node* const node = Node::current();
  if (node == nullptr) [[unlikely]] {
    die(static_cast<int>(ErrorCode::kInvalidArgument), "gallocy: a section needs Node::join() first");
  }
  return node->runtime().sections();
}

}  // namespace

struct Section::State {
  runtime::Sections& sections;
  std::unique_ptr<runtime::OpenSection> open;  // null: it is over
  const bool owner_died = open->owner_died();
};

Result<Section> Section::enter(std::span<const DurableLock> locks, Timeout timeout) {
  runtime::Sections& sections = the_sections();
  std::vector<runtime::Sections::Lock> wanted;
  for (const DurableLock& lock : locks) {
    wanted.push_back(
        {reinterpret_cast<std::uint64_t>(lock.start), (lock.bytes + kPageBytes - 1) / kPageBytes * kPageBytes});
  }
  GALLOCY_ASSIGN(auto open, sections.enter(std::move(wanted), timeout));
  return Section(std::unique_ptr<State>(new State{sections, std::move(open)}));
}

Section::Section(std::unique_ptr<State> state) : state_(std::move(state)) {}
Section::Section(Section&&) noexcept = default;

Section::~Section() {
  if (state_ != nullptr && state_->open != nullptr) state_->sections.roll_back(*state_->open);
}

bool Section::owner_died() const { return state_->owner_died; }

Result<> Section::commit() {
  const auto open = std::exchange(state_->open, nullptr);
  if (open == nullptr) return fail(ErrorCode::kInvalidArgument, "a section is committed once");
  return state_->sections.commit(*open);
}

}  // namespace gallocy
