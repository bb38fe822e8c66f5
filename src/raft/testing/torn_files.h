// TornFiles: for tests of raft::Store. A directory that remembers what is durable, and what may have become of the rest
// when the power goes.
//
// Invariants
// 1. Bytes that were synced, and names that were when the names were synced, are there after any crash.
// 2. Of other bytes each piece may be there or not, whatever is around it; of other names each alone. A renamed file
// has
//    one of its two names, or none if it had none that was durable.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "raft/store.h"

namespace gallocy::raft {

class TornFiles final : public StoreFiles {
 public:
  static constexpr std::size_t kUnlimited = ~std::size_t{0};
  // What the budget counts. A write of which a part is in the page cache is of interest where no chance is to decide.
  enum class Counts : std::uint8_t { kBytesAndCalls, kCalls };
  explicit TornFiles(Counts counts = Counts::kBytesAndCalls) : counts_(counts) {}

  // From now on; what exceeds it is done in part, and then all fails, until process_ends() or power_goes(). `part`:
  // where calls are counted, so many bytes of an append.
  void set_budget(std::size_t budget, std::size_t part = 0) { budget_ = budget, used_ = 0, part_ = part; }
  std::size_t used() const { return used_; }  // since then
  std::size_t room = kUnlimited;              // of the disk, in bytes
  bool sync_fails = false;

  Result<std::vector<std::string>> list() override {
    std::vector<std::string> names;
    for (const auto& [name, file] : names_) names.push_back(name);
    return names;
  }
  Result<Bytes> read(const std::string& name) override { return names_.at(name)->bytes; }
  Result<> append(const std::string& name, std::span<const std::byte> bytes) override {
    std::size_t held = 0;
    for (const auto& [each, file] : names_) held += file->bytes.size();
    const std::size_t fits = room > held ? room - held : 0;
    const std::size_t done = std::min({bytes.size(), spend_on(bytes.size()), fits});
    if (is_down() && done == 0) return down();
    auto& file = names_[name];
    if (file == nullptr) file = std::make_shared<File>();
    file->bytes.insert(file->bytes.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(done));
    if (is_down()) return down();
    if (done < bytes.size()) return fail(ErrorCode::kNoSpace, "no space");
    return {};
  }
  Result<> truncate(const std::string& name, std::size_t bytes) override {
    if (spend(1) == 0) return down();
    names_.at(name)->shorten(bytes);
    return {};
  }
  Result<> sync(const std::string& name) override {
    if (sync_fails) return fail(ErrorCode::kOsError, "the disk is broken");
    if (spend(1) == 0) return down();
    names_.at(name)->all_durable();
    return {};
  }
  Result<> sync_names() override {
    if (spend(1) == 0) return down();
    durable_names_ = names_;
    renamed_.clear();
    return {};
  }
  Result<> rename(const std::string& from, const std::string& to) override {
    if (spend(1) == 0) return down();
    renamed_.push_back({from, to, names_.at(from)});
    names_[to] = names_.at(from);
    names_.erase(from);
    return {};
  }
  Result<> remove(const std::string& name) override {
    if (spend(1) == 0) return down();
    names_.erase(name);
    return {};
  }

  // The process ends: what it has written is there, and no more durable than before.
  void process_ends() { set_budget(kUnlimited); }

  // The power goes.
  void power_goes(Prng& random) {
    names_ = names_after(random);
    for (const auto& [name, file] : names_) file->tear(random);
    durable_names_ = names_;
    renamed_.clear();
    process_ends();
  }

  const Bytes& bytes(const std::string& name) const { return names_.at(name)->bytes; }
  // As if somebody had changed the disk.
  void set_bytes(const std::string& name, Bytes bytes) {
    auto& file = names_[name];
    file = std::make_shared<File>();
    file->bytes = std::move(bytes);
    file->all_durable();
    durable_names_[name] = file;
  }
  void forget(const std::string& name) {
    names_.erase(name);
    durable_names_.erase(name);
  }

 private:
  struct File {
    Bytes bytes;
    std::size_t durable = 0;  // so many of them
    Bytes cut;                // durable ones that followed these, and may be there again

    void shorten(std::size_t to) {
      if (to < durable) {
        cut.insert(cut.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(to),
                   bytes.begin() + static_cast<std::ptrdiff_t>(durable));
        durable = to;
      }
      bytes.resize(to);
    }
    void all_durable() {
      durable = bytes.size();
      cut.clear();
    }
    void tear(Prng& random);
  };
  using Names = std::map<std::string, std::shared_ptr<File>>;
  struct Renamed {
    std::string from, to;
    std::shared_ptr<File> file;
  };

  Names names_after(Prng& random) const;
  bool is_down() const { return used_ > budget_; }
  std::size_t spend(std::size_t wanted) {
    const std::size_t left = budget_ > used_ ? budget_ - used_ : 0;
    used_ = used_ > kUnlimited - wanted ? kUnlimited : used_ + wanted;
    return std::min(left, wanted);
  }
  std::size_t spend_on(std::size_t bytes) {
    if (counts_ == Counts::kBytesAndCalls) return spend(bytes);
    return spend(1) == 0 ? std::min(bytes, std::exchange(part_, 0)) : bytes;
  }
  static tl::unexpected<Error> down() { return fail(ErrorCode::kOsError, "the machine is down"); }

  const Counts counts_;
  std::size_t budget_ = kUnlimited, used_ = 0, part_ = 0;
  Names names_, durable_names_;
  std::vector<Renamed> renamed_;  // since names were durable
};

// It has any length from the durable one on. What was not durable is there up to some byte, or in pieces; elsewhere is
// what was there before, zeros, or noise.
inline void TornFiles::File::tear(Prng& random) {
  const std::size_t before = durable + cut.size(), shorter = std::min(before, bytes.size()) - durable;
  const std::size_t loose = std::max(before, bytes.size()) - durable;
  if (loose == 0) return;
  const std::size_t piece = std::size_t{1} << random.below(13);
  const bool in_pieces = random.one_in(2), noise = random.one_in(2);
  const std::size_t up_to = random.below(loose + 1);
  Bytes torn;
  while (torn.size() < loose) {
    const bool there = in_pieces ? random.one_in(2) : torn.size() < up_to;
    std::size_t end = std::min(loose, torn.size() + piece - (durable + torn.size()) % piece);
    if (there && !in_pieces) end = up_to;
    for (std::size_t at = torn.size(); at < end; ++at) {
      if (there && durable + at < bytes.size()) {
        torn.push_back(bytes[durable + at]);
      } else {
        torn.push_back(at < cut.size() ? cut[at] : std::byte(noise ? random.below(256) : 0));
      }
    }
  }
  if (random.one_in(2)) torn.resize(shorter + random.below(loose - shorter + 1));
  bytes.resize(durable);
  bytes.insert(bytes.end(), torn.begin(), torn.end());
  all_durable();
}

inline TornFiles::Names TornFiles::names_after(Prng& random) const {
  Names after;
  const auto has = [](const Names& names, const std::string& name, const std::shared_ptr<File>& file) {
    const auto found = names.find(name);
    return found != names.end() && found->second == file;
  };
  for (const auto& [name, file] : durable_names_) {
    if (has(names_, name, file) || random.one_in(2)) after.insert({name, file});
  }
  for (const auto& [name, file] : names_) {
    if (!after.contains(name) && random.one_in(2)) after.insert({name, file});
  }
  for (const auto& [from, to, file] : renamed_) {
    if (has(after, to, file)) {
      if (has(after, from, file)) after.erase(from);
    } else if (!after.contains(from) && (has(durable_names_, from, file) || random.one_in(2))) {
      after.insert({from, file});
    }
  }
  return after;
}

}  // namespace gallocy::raft
