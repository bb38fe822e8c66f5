#include "personality/proxies.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>

namespace gallocy::personality {
namespace {

using namespace std::chrono_literals;

constexpr int kThread = 4711, kOtherThread = 4712;
constexpr NodeId kNode{3}, kOtherNode{4};
enum TestCall : long { kWhichThread, kReverseData, kPause };

class NoFrames final : public net::FrameSink {
  std::size_t payload_target(NodeId, const wire::FrameHeader&, std::span<const std::byte>,
                             std::span<iovec, 64>) override {
    return 0;
  }
  void frame_arrived(NodeId, const wire::FrameHeader&, std::span<const std::byte>,
                     std::span<const std::byte>) override {}
  void peer_down(NodeId, std::string_view) override {}
};

struct Replied {
  CallFor call;
  long result = 0;
  std::vector<std::byte> answer;
};

// Never destroyed: the last that a proxy does is not seen from outside.
class World {
 public:
  static World& make() {
    static auto& worlds = *new std::vector<World*>;
    return *worlds.emplace_back(new World);
  }

  Proxies& proxies() { return proxies_; }
  void call(int thread, NodeId node, std::uint64_t ticket, TestCall number, std::vector<std::byte> data = {}) {
    const bool with_data = !data.empty();
    proxies_.begin(
        thread,
        {.node = node, .ticket = ticket, .call = {.number = number}, .data = std::move(data), .with_data = with_data});
  }
  Replied reply(std::size_t index) {
    std::unique_lock lock(mu_);
    changed_.wait_for(lock, 60s, [&] { return replies_.size() > index; });
    return replies_.at(index);
  }
  bool waits_in_call() {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, 60s, [&] { return waits_in_call_; });
  }

 private:
  World() { ::signal(kKickSignal, SIG_IGN); }

  long make_call(const GuestThread& proxy, const CallFor& call, std::vector<std::byte>& answer) {
    switch (call.call.number) {
      case kWhichThread:
        if (proxy.signal_pending.load() != 0) return -EINTR;
        return proxy.tid == ::gettid() ? proxy.tid : -ESRCH;
      case kReverseData:
        answer = {call.data.rbegin(), call.data.rend()};
        return static_cast<long>(call.data.size());
      default: {
        {
          const std::lock_guard lock(mu_);
          waits_in_call_ = true;
          changed_.notify_all();
        }
        const timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
        for (int i = 0; i < 60'000 && proxy.signal_pending.load() == 0; ++i) ::nanosleep(&pause, nullptr);
        return proxy.signal_pending.load() != 0 ? -EINTR : 0;
      }
    }
  }

  NoFrames sink_;
  runtime::Waiting waiting_{nullptr, sink_, [] { return std::int64_t{0}; }};
  const std::string program_name_ = "a program";
  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<Replied> replies_;
  bool waits_in_call_ = false;
  Proxies proxies_{waiting_, program_name_,
                   [this](GuestThread& proxy, const CallFor& call, std::vector<std::byte>& answer) {
                     return make_call(proxy, call, answer);
                   },
                   [this](const CallFor& call, long result, const std::vector<std::byte>& answer) {
                     const std::lock_guard lock(mu_);
                     replies_.push_back({call, result, answer});
                     changed_.notify_all();
                   }};
};

TEST(Proxies, each_thread_has_a_kernel_thread_of_its_own) {
  World& world = World::make();
  EXPECT_EQ(world.proxies().kernel_tid(kThread), 0);
  world.call(kThread, kNode, 1, kWhichThread);
  const Replied first = world.reply(0);
  EXPECT_EQ(first.call.ticket, 1u);
  EXPECT_EQ(first.call.node, kNode);
  EXPECT_GT(first.result, 0);
  EXPECT_EQ(world.proxies().kernel_tid(kThread), first.result);
  world.call(kThread, kNode, 2, kWhichThread);
  EXPECT_EQ(world.reply(1).result, first.result);
  world.call(kOtherThread, kNode, 3, kWhichThread);
  EXPECT_NE(world.reply(2).result, first.result);
  world.proxies().end(kThread);
  EXPECT_EQ(world.proxies().kernel_tid(kThread), 0);
  EXPECT_EQ(world.proxies().kernel_tid(kOtherThread), world.reply(2).result);
}

TEST(Proxies, memory_goes_along_both_ways) {
  World& world = World::make();
  world.call(kThread, kNode, 1, kReverseData, {std::byte{1}, std::byte{2}, std::byte{3}});
  const Replied replied = world.reply(0);
  EXPECT_TRUE(replied.call.with_data);
  EXPECT_EQ(replied.result, 3);
  EXPECT_EQ(replied.answer, (std::vector{std::byte{3}, std::byte{2}, std::byte{1}}));
}

TEST(Proxies, a_call_that_waits_is_interrupted_and_no_other) {
  World& world = World::make();
  world.call(kThread, kNode, 7, kPause);
  ASSERT_TRUE(world.waits_in_call());
  world.proxies().interrupt(kOtherThread, 7);
  world.proxies().interrupt(kThread, 7);
  EXPECT_EQ(world.reply(0).result, -EINTR);
  world.proxies().interrupt(kThread, 7);  // too late
  world.call(kThread, kNode, 8, kWhichThread);
  EXPECT_GT(world.reply(1).result, 0);
}

TEST(Proxies, who_moves_calls_from_elsewhere) {
  World& world = World::make();
  EXPECT_FALSE(world.proxies().caller_node(kThread).has_value());
  for (const NodeId node : {kNode, kOtherNode}) {
    world.call(kThread, node, 1, kWhichThread);
    EXPECT_EQ(world.proxies().caller_node(kThread), node);
    (void)world.reply(node == kNode ? 0 : 1);
  }
}

}  // namespace
}  // namespace gallocy::personality
