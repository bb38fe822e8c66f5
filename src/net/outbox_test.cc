#include "net/outbox.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "base/prng.h"

namespace gallocy::net {
namespace {

std::string contents(const Outbox& outbox, std::size_t most_pieces) {
  std::vector<iovec> pieces(most_pieces);
  pieces.resize(outbox.gather(pieces));
  std::string text;
  for (const iovec& piece : pieces) text.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  return text;
}

TEST(OutboxTest, append_skips_what_was_sent) {
  Outbox outbox;
  std::string a = "abc", b = "defg";
  const std::array pieces{iovec{a.data(), a.size()}, iovec{b.data(), b.size()}};
  outbox.append(pieces, 4);
  EXPECT_EQ(contents(outbox, 8), "efg");
  outbox.append(pieces, 7);
  EXPECT_EQ(outbox.bytes(), 3u);
}

TEST(OutboxTest, behaves_like_a_string_under_random_use) {
  Prng prng(1);
  Outbox outbox;
  std::string twin;
  for (int step = 0; step < 3000; ++step) {
    if (prng.one_in(2)) {
      std::string text(prng.below(prng.one_in(5) ? 200'000 : 500), static_cast<char>('a' + prng.below(26)));
      const iovec piece{text.data(), text.size()};
      const std::size_t skip = prng.below(text.size() + 1);
      outbox.append({&piece, 1}, skip);
      twin += text.substr(skip);
    } else {
      const std::string front = contents(outbox, 1 + prng.below(10));
      ASSERT_EQ(front, twin.substr(0, front.size()));
      const std::size_t count = prng.below(front.size() + 1);
      outbox.pop(count);
      twin.erase(0, count);
    }
    ASSERT_EQ(outbox.bytes(), twin.size());
    ASSERT_EQ(outbox.empty(), twin.empty());
  }
  EXPECT_EQ(contents(outbox, 1'000'000), twin);
}

}  // namespace
}  // namespace gallocy::net
