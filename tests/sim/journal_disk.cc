#include "journal_disk.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace gallocy::sim {
namespace {

constexpr std::size_t kMostOfAnAppend = 3000;  // bytes, of one in the midst of which a process ends

}  // namespace

durable::Kept JournalDisk::start() {
  raft::PersistentState found;
  std::vector<std::string> said;
  // It ends again while it looks what there is.
  while (prng_.one_in(4)) {
    files_.set_budget(prng_.below(5));
    const auto opened = open(found, said);
    CHECK(opened || opened.error().code != ErrorCode::kProtocol, self_, opened.error().message);
    counters_.interrupted += !opened;
    ends(prng_.one_in(2) ? Ending::kProcess : Ending::kPower);
  }
  said.clear();
  const auto opened = open(found, said);
  CHECK(opened.has_value(), self_, opened.error().message);
  counters_.torn += said.size();
  journal_.emplace(self_, options_.journal);
  auto kept = journal_->recover(found);
  CHECK(kept.has_value(), self_, kept.error().message);
  return *std::move(kept);
}

Result<> JournalDisk::open(raft::PersistentState& found, std::vector<std::string>& said) {
  GALLOCY_ASSIGN(store_, raft::Store::open(files_, options_.store, found, said));
  return {};
}

std::uint64_t JournalDisk::write(raft::Persist persist) {
  waiting_.push_back(std::move(persist));
  return waiting_.back().sequence;
}

bool JournalDisk::is_writing_anew() const {
  return std::ranges::any_of(under_way_, [](const raft::Persist& persist) { return persist.snapshot.has_value(); });
}

std::uint64_t JournalDisk::go_on() {
  if (under_way_.empty()) {
    under_way_.swap(waiting_);
    return written_;
  }
  const auto written = store_->write(under_way_);
  CHECK(written.has_value(), self_, written.error().message);
  written_ = under_way_.back().sequence;
  under_way_.clear();
  return written_;
}

void JournalDisk::end() {
  if (under_way_.empty()) under_way_.swap(waiting_);
  if (!under_way_.empty()) {
    const bool anew = is_writing_anew();
    files_.set_budget(prng_.one_in(2) ? 1 : prng_.below(anew ? 20 : 5), prng_.below(kMostOfAnAppend));
    const auto written = store_->write(under_way_);
    counters_.anew += anew && !written;
  }
  ends(prng_.one_in(3) ? Ending::kProcess : Ending::kPower);
}

void JournalDisk::ends(Ending ending) {
  store_.reset();
  journal_.reset();
  waiting_.clear(), under_way_.clear();
  written_ = 0;
  if (ending == Ending::kProcess) files_.process_ends();
  if (ending == Ending::kPower) files_.power_goes(prng_);
}

}  // namespace gallocy::sim
