#include "raft_linearizability.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace gallocy::sim {
namespace {

using Kind = RegisterOperation::Kind;

// The search over the operations of one register. Calls and returns in order of time form a list, from which an
// operation that got its moment is taken out.
class Search {
 public:
  explicit Search(std::vector<RegisterOperation> operations) : operations_(std::move(operations)) { make_list(); }

  bool succeeds() {
    std::size_t at = next_[0];
    while (next_[0] != end()) {
      if (at != end() && is_call(at) && try_take(at)) {
        at = next_[0];
        continue;
      }
      if (at != end() && is_call(at)) {
        at = next_[at];
        continue;
      }
      // A return whose operation has no moment yet: one that was taken before must wait.
      if (taken_.empty()) return false;
      at = put_back();
    }
    return true;
  }

 private:
  struct Taken {
    std::size_t call = 0;
    std::uint64_t value = 0;  // of the register before
  };
  struct Event {
    std::uint64_t time = 0;
    bool is_return = false;
    std::size_t operation = 0;
    auto operator<=>(const Event&) const = default;
  };

  // Places 1 … 2n are events, 0 and 2n + 1 the ends.
  std::size_t end() const { return events_.size() + 1; }
  bool is_call(std::size_t place) const { return !events_[place - 1].is_return; }

  void make_list() {
    for (std::size_t i = 0; i < operations_.size(); ++i) {
      events_.push_back({operations_[i].called, false, i});
      events_.push_back({operations_[i].returned, true, i});
    }
    std::sort(events_.begin(), events_.end());
    return_of_.resize(operations_.size());
    for (std::size_t i = 0; i < events_.size(); ++i) {
      if (events_[i].is_return) return_of_[events_[i].operation] = i + 1;
    }
    next_.resize(events_.size() + 2);
    before_.resize(events_.size() + 2);
    for (std::size_t place = 0; place < next_.size(); ++place) {
      next_[place] = place + 1;
      before_[place] = place == 0 ? 0 : place - 1;
    }
    done_.resize(operations_.size());
  }

  // What the register holds after the operation; nothing if its result was not possible.
  std::optional<std::uint64_t> after(const RegisterOperation& o) const {
    const bool known = o.returned != RegisterOperation::kNever;
    if (o.kind == Kind::kRead) return o.value == value_ ? std::optional(value_) : std::nullopt;
    if (o.kind == Kind::kWrite) return o.value;
    const bool success = value_ == o.expected;
    if (known && success != o.success) return std::nullopt;
    return success ? o.value : value_;
  }

  bool try_take(std::size_t call) {
    const std::size_t operation = events_[call - 1].operation;
    const auto value = after(operations_[operation]);
    if (!value) return false;
    done_[operation] = true;
    if (!seen_.emplace(done_, *value).second) {
      done_[operation] = false;
      return false;
    }
    taken_.push_back({call, value_});
    value_ = *value;
    unlink(call);
    unlink(return_of_[operation]);
    return true;
  }

  std::size_t put_back() {
    const Taken last = taken_.back();
    taken_.pop_back();
    const std::size_t operation = events_[last.call - 1].operation;
    done_[operation] = false;
    value_ = last.value;
    link(return_of_[operation]);
    link(last.call);
    return next_[last.call];
  }

  void unlink(std::size_t place) {
    next_[before_[place]] = next_[place];
    before_[next_[place]] = before_[place];
  }
  void link(std::size_t place) {
    next_[before_[place]] = place;
    before_[next_[place]] = place;
  }

  std::vector<RegisterOperation> operations_;
  std::vector<Event> events_;
  std::vector<std::size_t> return_of_;
  std::vector<std::size_t> next_, before_;
  std::vector<bool> done_;
  std::uint64_t value_ = 0;
  std::vector<Taken> taken_;
  std::set<std::pair<std::vector<bool>, std::uint64_t>> seen_;
};

std::string describe(const std::vector<RegisterOperation>& operations) {
  std::string text;
  for (const auto& o : operations) {
    const char* name = o.kind == Kind::kRead ? "read" : o.kind == Kind::kWrite ? "write" : "compare_and_set";
    text += fmt::format("\n  {} {} expected={} success={} [{}, {}]", name, o.value, o.expected, o.success, o.called,
                        o.returned == RegisterOperation::kNever ? "never" : fmt::format("{}", o.returned));
  }
  return text;
}

// Takes out what may have been written, or not, and was never seen: it happened after all others, if at all. They are
// what makes the search long, as each may have any place. A compare-and-set that failed may have seen any value but
// one.
void leave_out_the_unseen(std::vector<RegisterOperation>& operations) {
  std::set<std::uint64_t> seen;
  for (const RegisterOperation& o : operations) {
    const bool known = o.returned != RegisterOperation::kNever;
    if (o.kind == Kind::kCompareAndSet && known && !o.success) return;
    if (o.kind == Kind::kRead) seen.insert(o.value);
    if (o.kind == Kind::kCompareAndSet) seen.insert(o.expected);
  }
  std::erase_if(operations, [&](const RegisterOperation& o) {
    return o.returned == RegisterOperation::kNever && !seen.contains(o.value);
  });
}

}  // namespace

std::optional<std::string> find_violation(const std::vector<RegisterOperation>& history) {
  std::map<std::uint32_t, std::vector<RegisterOperation>> by_register;
  for (const RegisterOperation& o : history) {
    // A read that nobody got an answer to says nothing.
    if (o.kind != Kind::kRead || o.returned != RegisterOperation::kNever) by_register[o.reg].push_back(o);
  }
  for (auto& [reg, operations] : by_register) {
    leave_out_the_unseen(operations);
    std::sort(operations.begin(), operations.end(), [](const auto& a, const auto& b) { return a.called < b.called; });
    if (!Search(operations).succeeds())
      return fmt::format("register {} is not linearizable:{}", reg, describe(operations));
  }
  return std::nullopt;
}

}  // namespace gallocy::sim
