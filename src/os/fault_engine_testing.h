// For tests of the fault engines: a region with the simplest coherence there is. A fault is granted what it asks for at
// once; set() takes it away again.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/ids.h"
#include "os/fault_engine.h"
#include "os/mutex.h"
#include "os/page_frames.h"

namespace gallocy::os {

#ifdef GALLOCY_SANITIZE_THREAD
inline constexpr std::uint64_t kTestWindow = 0;  // ThreadSanitizer keeps the window's addresses for itself
#else
inline constexpr std::uint64_t kTestWindow = kWindowBase;
#endif

// The value of a Result, or the end of the test program with its message.
template <typename T>
T must(Result<T> result) {
  if (!result) die(1, result.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class TestRegion final : public FaultHandler {
 public:
  TestRegion(FaultEngineKind kind, std::size_t pages)
      : states_(pages, Protection::kNone),
        window_(must(Window::reserve(kTestWindow, pages * kPageBytes))),
        frames_(must(PageFrames::map(window_->base(), window_->bytes()))),
        engine_(must(FaultEngine::create(kind, *this))) {
    must(engine_->add(frames_->program_view(), frames_->bytes()));
    ready_.store(true);
  }
  ~TestRegion() override { engine_->remove(frames_->program_view(), frames_->bytes()); }

  bool fault(std::uint64_t address, FaultKind kind, bool in_faulting_thread) override {
    if (!ready_.load() || address - reinterpret_cast<std::uint64_t>(page(0)) >= frames_->bytes()) return false;
    const MutexLock lock(mutex_);
    const std::size_t index = (address - reinterpret_cast<std::uint64_t>(page(0))) / kPageBytes;
    if (refused_page == index) return false;
    last_address_ = address;
    last_in_thread_ = in_faulting_thread;
    ++(kind == FaultKind::kRead ? read_faults_ : write_faults_);
    const Protection before = states_[index];
    const Protection wanted = kind == FaultKind::kRead ? Protection::kRead : Protection::kReadWrite;
    states_[index] = std::max(before, wanted);
    engine_->protect(page(index), kPageBytes, before, states_[index]);
    return true;
  }

  // Sets the protection of pages; `then` runs before any fault on them is answered.
  template <typename Then>
  void set(std::size_t first, std::size_t count, Protection to, Then then) {
    const MutexLock lock(mutex_);
    for (std::size_t i = first; i < first + count;) {
      std::size_t end = i + 1;
      while (end < first + count && states_[end] == states_[i]) ++end;
      engine_->protect(page(i), (end - i) * kPageBytes, states_[i], to);
      for (; i < end; ++i) states_[i] = to;
    }
    then();
  }
  void set(std::size_t first, std::size_t count, Protection to) {
    set(first, count, to, [] {});
  }

  // As runtime::Memory does it.
  void limit(std::size_t first, std::size_t count, Protection most) {
    const MutexLock lock(mutex_);
    engine_->limit(page(first), count * kPageBytes, most);
    for (std::size_t i = first; i < first + count && engine_->applies_limits_later(); ++i) {
      if (states_[i] != Protection::kNone) engine_->protect(page(i), kPageBytes, states_[i], states_[i]);
    }
  }

  std::byte* page(std::size_t index) const { return frames_->program_view() + index * kPageBytes; }
  std::atomic_ref<std::uint64_t> word(std::size_t page_index, std::size_t slot = 0) const {
    return std::atomic_ref(reinterpret_cast<std::uint64_t*>(page(page_index))[slot]);
  }
  // The same word through the runtime view.
  std::atomic_ref<std::uint64_t> behind(std::size_t page_index, std::size_t slot = 0) const {
    auto* const start = frames_->runtime_view() + page_index * kPageBytes;
    return std::atomic_ref(reinterpret_cast<std::uint64_t*>(start)[slot]);
  }

  FaultEngine& engine() { return *engine_; }
  PageFrames& frames() { return *frames_; }
  unsigned read_faults() const { return read_faults_; }
  unsigned write_faults() const { return write_faults_; }
  unsigned faults() const { return read_faults_ + write_faults_; }
  std::uint64_t last_address() const { return last_address_; }
  bool last_in_thread() const { return last_in_thread_; }

  std::atomic<std::size_t> refused_page{~std::size_t{0}};  // fault() says that this one is not its

 private:
  Mutex mutex_;
  std::atomic<bool> ready_{false};
  std::atomic<std::uint64_t> last_address_{0};
  std::atomic<bool> last_in_thread_{false};
  std::atomic<unsigned> read_faults_{0}, write_faults_{0};
  std::vector<Protection> states_ GUARDED_BY(mutex_);
  std::unique_ptr<Window> window_;
  std::unique_ptr<PageFrames> frames_;
  std::unique_ptr<FaultEngine> engine_;
};

// A test that runs once per engine, skipped with the probe's sentence where the machine does not permit one.
class EngineTest : public testing::TestWithParam<FaultEngineKind> {
 protected:
  void SetUp() override {
    for (const auto& probe : probe_fault_engines(/*measure=*/false)) {
      if (probe.kind == GetParam() && !probe.available) GTEST_SKIP() << probe.detail;
    }
  }
};

inline std::string engine_test_name(const testing::TestParamInfo<FaultEngineKind>& info) {
  std::string name(name_of(info.param));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

#define ON_EVERY_ENGINE(suite) \
  INSTANTIATE_TEST_SUITE_P(Engines, suite, testing::ValuesIn(kFaultEngineKinds), engine_test_name)

}  // namespace gallocy::os
