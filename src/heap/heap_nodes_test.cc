// Several nodes' heaps in one process, with their messages delivered by hand.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <vector>

#include "base/prng.h"
#include "heap/testing/fake_node.h"

namespace gallocy::heap {
namespace {

using testing::address_of;
using testing::FakeNode;
using testing::pointer_to;

class HeapNodesTest : public ::testing::Test {
 protected:
  static constexpr std::uint16_t kNodes = 3;
  HeapNodesTest() {
    for (std::uint16_t n = 0; n < kNodes; ++n) {
      nodes_.push_back(std::make_unique<FakeNode>(kNodes, NodeId{n}));
      caches_.push_back(nodes_.back()->heap().attach_thread());
    }
  }
  Heap& heap(std::size_t n) { return nodes_[n]->heap(); }
  void deliver() {
    for (std::uint16_t n = 0; n < kNodes; ++n) {
      for (const auto& message : nodes_[n]->take_messages()) {
        heap(message.to.value).remote_freed(NodeId{n}, message.addresses);
      }
    }
  }
  std::vector<std::unique_ptr<FakeNode>> nodes_;
  std::vector<ThreadCache*> caches_;
};

TEST_F(HeapNodesTest, nodes_allocate_from_their_own_slices) {
  for (std::uint16_t n = 0; n < kNodes; ++n) {
    const auto address = address_of(caches_[n]->allocate(100));
    EXPECT_EQ(heap(0).layout().owner_of(address), NodeId{n});
    EXPECT_TRUE(heap(0).layout().contains(address));
  }
  EXPECT_FALSE(heap(0).layout().contains(FakeNode::kStart + kNodes * kMinSliceBytes));
}

TEST_F(HeapNodesTest, remote_frees_travel_when_the_batch_is_full) {
  std::vector<void*> objects(kRemoteBatch);
  for (void*& object : objects) object = caches_[1]->allocate(64);
  for (std::size_t i = 0; i + 1 < kRemoteBatch; ++i) caches_[0]->deallocate(objects[i]);
  EXPECT_TRUE(nodes_[0]->take_messages().empty());
  caches_[0]->deallocate(objects.back());
  const auto messages = nodes_[0]->take_messages();
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].to, NodeId{1});
  EXPECT_EQ(messages[0].addresses.size(), kRemoteBatch);
  heap(1).remote_freed(NodeId{0}, messages[0].addresses);
  EXPECT_EQ(heap(1).statistics().allocated_objects, 0u);
  EXPECT_EQ(heap(1).statistics().remote_frees_received, kRemoteBatch);
  EXPECT_EQ(heap(0).statistics().remote_frees_sent, kRemoteBatch);
  EXPECT_EQ(heap(0).statistics().remote_messages_sent, 1u);
}

TEST_F(HeapNodesTest, flush_tick_and_thread_exit_send_what_is_gathered) {
  const auto free_one = [&] { caches_[0]->deallocate(caches_[1]->allocate(64)); };
  free_one();
  caches_[0]->flush();
  EXPECT_EQ(nodes_[0]->take_messages().size(), 1u);
  free_one();
  heap(0).tick();
  EXPECT_EQ(nodes_[0]->take_messages().size(), 1u);
  free_one();
  heap(0).detach_thread(*caches_[0]);
  EXPECT_EQ(nodes_[0]->take_messages().size(), 1u);
  heap(0).tick();
  EXPECT_TRUE(nodes_[0]->take_messages().empty());
}

TEST_F(HeapNodesTest, owner_allocates_again_what_others_freed) {
  std::set<void*> first;
  while (first.size() < 64) first.insert(caches_[1]->allocate(kGranuleBytes / 64));
  for (void* object : first) caches_[2]->deallocate(object);
  caches_[2]->flush();
  deliver();
  for (std::size_t i = 0; i < 64; ++i) EXPECT_TRUE(first.contains(caches_[1]->allocate(kGranuleBytes / 64)));
  heap(1).check_invariants();
}

TEST_F(HeapNodesTest, remote_double_free_is_named_with_the_node_that_freed) {
  for (const std::size_t bytes : {64u, 1'000'000u}) {
    void* const object = caches_[1]->allocate(bytes);
    caches_[0]->deallocate(object);
    caches_[2]->deallocate(object);
    caches_[0]->flush();
    deliver();
    EXPECT_TRUE(nodes_[1]->take_bad_frees().empty());
    caches_[2]->flush();
    deliver();
    const auto bad = nodes_[1]->take_bad_frees();
    ASSERT_EQ(bad.size(), 1u);
    EXPECT_EQ(bad[0].error, FreeError::kDoubleFree);
    EXPECT_EQ(bad[0].freed_by, NodeId{2});
    EXPECT_EQ(bad[0].owner, NodeId{1});
    EXPECT_EQ(bad[0].address, address_of(object));
  }
}

TEST_F(HeapNodesTest, free_at_home_after_a_remote_free_is_named) {
  void* const object = caches_[1]->allocate(64);
  caches_[0]->deallocate(object);
  caches_[0]->flush();
  deliver();
  caches_[1]->deallocate(object);
  ASSERT_EQ(nodes_[1]->take_bad_frees().size(), 1u);
}

TEST_F(HeapNodesTest, misaligned_remote_pointer_is_named_by_the_node_that_frees) {
  caches_[0]->deallocate(static_cast<char*>(caches_[1]->allocate(64)) + 8);
  const auto bad = nodes_[0]->take_bad_frees();
  ASSERT_EQ(bad.size(), 1u);
  EXPECT_EQ(bad[0].error, FreeError::kInsideObject);
  EXPECT_EQ(bad[0].owner, NodeId{1});
}

TEST_F(HeapNodesTest, usable_size_is_known_at_home_only) {
  void* const object = caches_[1]->allocate(64);
  EXPECT_EQ(heap(1).usable_size(object), 64u);
  EXPECT_EQ(heap(0).usable_size(object), 0u);
}

TEST_F(HeapNodesTest, garbage_addresses_do_no_harm) {
  Prng random(5);
  std::vector<void*> live;
  for (int i = 0; i < 2000; ++i) live.push_back(caches_[1]->allocate(random.below(200'000)));
  const std::uint64_t start = heap(1).layout().slice_start(NodeId{1});
  for (int message = 0; message < 2000; ++message) {
    std::vector<std::uint64_t> addresses(random.below(kRemoteBatch + 1));
    for (auto& address : addresses) {
      switch (random.below(4)) {
        case 0:
          address = random();
          break;
        case 1:
          address = start + random.below(kMinSliceBytes);
          break;
        case 2:
          address = start + random.below(1 << 28);
          break;
        default:
          address = address_of(live[random.below(live.size())]) + 1 + random.below(15);
          break;
      }
      // Only addresses of live objects could be taken for good ones; none of these may be freed.
      if (address % kQuantumBytes == 0) address += 1;
    }
    heap(1).remote_freed(NodeId{0}, addresses);
  }
  EXPECT_FALSE(nodes_[1]->take_bad_frees().empty());
  EXPECT_EQ(heap(1).statistics().allocated_objects, live.size());
  heap(1).check_invariants();
  for (void* object : live) caches_[1]->deallocate(object);
  EXPECT_TRUE(nodes_[1]->take_bad_frees().empty());
  heap(1).check_invariants();
}

TEST_F(HeapNodesTest, aligned_garbage_frees_at_most_what_is_there) {
  Prng random(6);
  const std::uint64_t start = heap(1).layout().slice_start(NodeId{1});
  for (int round = 0; round < 200; ++round) {
    std::vector<void*> live;
    for (int i = 0; i < 100; ++i) live.push_back(caches_[1]->allocate(1 + random.below(100'000)));
    std::vector<std::uint64_t> addresses(1000);
    for (auto& address : addresses) address = start + random.below(1 << 24) / 16 * 16;
    heap(1).remote_freed(NodeId{0}, addresses);
    heap(1).check_invariants();
    for (void* object : live) caches_[1]->deallocate(object);  // some are double frees now
  }
  heap(1).check_invariants();
}

TEST_F(HeapNodesTest, random_traffic_between_nodes_loses_nothing) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Prng random(seed);
    std::set<std::uint64_t> live;
    std::vector<std::uint64_t> order;
    for (int step = 0; step < 3000; ++step) {
      const std::size_t n = random.below(kNodes);
      if (order.empty() || random.below(100) < 55) {
        const auto address = address_of(caches_[n]->allocate(random.below(random.one_in(20) ? 300'000 : 600)));
        ASSERT_TRUE(live.insert(address).second);
        order.push_back(address);
      } else {
        std::swap(order[random.below(order.size())], order.back());
        live.erase(order.back());
        caches_[n]->deallocate(pointer_to(order.back()));
        order.pop_back();
      }
      if (random.one_in(20)) deliver();
      if (random.one_in(50)) caches_[n]->flush();
      if (random.one_in(100)) heap(n).tick();
    }
    for (const auto address : order) caches_[random.below(kNodes)]->deallocate(pointer_to(address));
    for (ThreadCache* cache : caches_) cache->flush();
    deliver();
    for (std::size_t n = 0; n < kNodes; ++n) {
      heap(n).check_invariants();
      EXPECT_EQ(heap(n).statistics().allocated_objects, 0u);
      EXPECT_TRUE(nodes_[n]->take_bad_frees().empty());
    }
  }
}

}  // namespace
}  // namespace gallocy::heap
