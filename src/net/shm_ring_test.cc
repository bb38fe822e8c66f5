#include "net/shm_ring.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>

#include "base/prng.h"

namespace gallocy::net {
namespace {

class ShmRingTest : public ::testing::Test {
 protected:
  std::size_t write(const std::string& text) {
    const iovec pieces[] = {{const_cast<char*>(text.data()), text.size() / 2},
                            {const_cast<char*>(text.data()) + text.size() / 2, text.size() - text.size() / 2}};
    return writer.write(pieces).value();
  }
  std::string read(std::size_t most) {
    const auto bytes = reader.readable().value();
    std::string text(reinterpret_cast<const char*>(bytes.data()), std::min(most, bytes.size()));
    reader.consume(text.size());
    return text;
  }
  std::unique_ptr<Ring> ring = std::make_unique<Ring>();
  RingWriter writer{*ring};
  RingReader reader{*ring};
};

TEST_F(ShmRingTest, bytes_pass_in_order_around_the_end) {
  Prng prng(1);
  std::string expected;
  for (std::size_t total = 0; total < 3 * kRingBytes;) {
    std::string text(1 + prng.below(300'000), static_cast<char>('a' + prng.below(26)));
    const std::size_t taken = write(text);
    expected += text.substr(0, taken);
    total += taken;
    for (std::string got; prng.below(3) > 0 && !(got = read(prng.below(400'000))).empty();) {
      ASSERT_EQ(got, expected.substr(0, got.size()));
      expected.erase(0, got.size());
    }
  }
}

TEST_F(ShmRingTest, takes_no_more_than_it_holds) {
  EXPECT_EQ(write(std::string(kRingBytes - 10, 'x')), kRingBytes - 10);
  EXPECT_EQ(write(std::string(20, 'y')), 10u);
  EXPECT_EQ(write("z"), 0u);
  EXPECT_TRUE(writer.announce_wait());
  read(5);
  EXPECT_TRUE(reader.must_wake_writer());
  EXPECT_FALSE(reader.must_wake_writer());  // one ring a wait
  EXPECT_FALSE(writer.announce_wait());
  EXPECT_EQ(write("123456"), 5u);
}

TEST_F(ShmRingTest, a_sleeping_reader_is_woken_once) {
  EXPECT_TRUE(reader.announce_sleep());
  write("a");
  EXPECT_TRUE(writer.must_wake_reader());
  EXPECT_FALSE(writer.must_wake_reader());
  EXPECT_TRUE(reader.end_sleep());
  EXPECT_FALSE(reader.announce_sleep());  // there is something to read
  EXPECT_FALSE(reader.end_sleep());
  write("b");
  EXPECT_FALSE(writer.must_wake_reader());  // it is awake
}

TEST_F(ShmRingTest, impossible_positions_are_refused) {
  write("some bytes");
  ring->written = kRingBytes + 1;  // more than fits
  EXPECT_FALSE(reader.readable());
  ring->written = 4;
  read(4);
  ring->written = 3;  // goes back
  EXPECT_FALSE(reader.readable());
  ring->read = 1'000'000;  // read what was never written
  EXPECT_FALSE(writer.write(std::vector<iovec>{{ring.get(), kRingBytes}}));
}

TEST_F(ShmRingTest, two_threads_pass_bytes) {
  constexpr std::size_t kTotal = 3 * kRingBytes;
  std::thread producer([&] {
    Prng prng(7);
    for (std::size_t sent = 0; sent < kTotal;) {
      std::string text(std::min<std::size_t>(kTotal - sent, 1 + prng.below(100'000)), '\0');
      for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>((sent + i) * 31);
      for (std::size_t done = 0; done < text.size();) {
        const iovec piece{text.data() + done, text.size() - done};
        const std::size_t taken = writer.write({&piece, 1}).value();
        if (taken == 0) std::this_thread::yield();
        done += taken;
      }
      sent += text.size();
    }
  });
  for (std::size_t got = 0; got < kTotal;) {
    const std::string text = read(70'000);
    if (text.empty()) std::this_thread::yield();
    for (std::size_t i = 0; i < text.size(); ++i) ASSERT_EQ(text[i], static_cast<char>((got + i) * 31)) << got + i;
    got += text.size();
  }
  producer.join();
}

}  // namespace
}  // namespace gallocy::net
