#include "vmm/sessions.h"

#include <gtest/gtest.h>

namespace gallocy::vmm {
namespace {

Record request(std::uint64_t number, std::uint64_t first_open = 1) {
  return {NodeId{3}, RequestId{number}, RequestId{first_open}, UnbindName{"x"}};
}

TEST(Sessions, a_new_request_has_no_answer_and_a_repeated_one_has_the_first) {
  Sessions sessions;
  EXPECT_FALSE(sessions.find(request(1)));
  sessions.remember(request(1), Outcome{.address = 42});
  ASSERT_TRUE(sessions.find(request(1)));
  EXPECT_EQ((*sessions.find(request(1)))->address, 42u);
  EXPECT_FALSE(sessions.find(request(2)));
}

TEST(Sessions, errors_are_answers_too) {
  Sessions sessions;
  sessions.remember(request(1), fail(ErrorCode::kNotFound, "why"));
  EXPECT_EQ((*sessions.find(request(1))).error().message, "why");
}

TEST(Sessions, requests_may_come_out_of_order) {
  Sessions sessions;
  sessions.remember(request(5), Outcome{});
  EXPECT_FALSE(sessions.find(request(4)));
}

TEST(Sessions, answers_that_the_proposer_has_are_dropped_and_not_carried_out_again) {
  Sessions sessions;
  sessions.remember(request(1), Outcome{});
  sessions.remember(request(2), Outcome{});
  sessions.remember(request(3, 3), Outcome{});
  EXPECT_FALSE(sessions.answer(NodeId{3}, RequestId{2}));
  ASSERT_TRUE(sessions.find(request(2)));
  EXPECT_EQ(sessions.find(request(2))->error().code, ErrorCode::kInvalidArgument);
}

TEST(Sessions, a_proposer_that_never_says_what_it_has_is_refused_in_the_end) {
  Sessions sessions;
  for (std::uint64_t i = 1; i <= kMaxOpenRequests; ++i) sessions.remember(request(i), Outcome{});
  ASSERT_TRUE(sessions.find(request(kMaxOpenRequests + 1)));
  EXPECT_EQ(sessions.find(request(kMaxOpenRequests + 1))->error().code, ErrorCode::kOutOfMemory);
  EXPECT_FALSE(sessions.find(request(kMaxOpenRequests + 1, 2)));
}

TEST(Sessions, a_node_that_comes_back_begins_anew) {
  Sessions sessions;
  sessions.remember(request(7, 7), Outcome{});
  sessions.forget(NodeId{3});
  EXPECT_FALSE(sessions.find(request(1)));
}

TEST(Sessions, come_back_from_their_encoding) {
  Sessions sessions;
  sessions.remember(request(4, 2), Outcome{Epoch{1}, RegionId{2}, 3, false});
  sessions.remember(request(5, 2), fail(ErrorCode::kExists, "taken"));
  wire::Bytes bytes, again;
  wire::ByteWriter writer(bytes), rewriter(again);
  sessions.put(writer);
  wire::ByteReader reader(bytes);
  const auto restored = Sessions::get(reader);
  ASSERT_TRUE(restored && reader.done());
  restored->put(rewriter);
  EXPECT_EQ(bytes, again);
  EXPECT_EQ(restored->find(request(4))->value(), (Outcome{Epoch{1}, RegionId{2}, 3, false}));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    wire::ByteReader cut(std::span<const std::byte>(bytes).first(length));
    EXPECT_FALSE(Sessions::get(cut));
  }
}

}  // namespace
}  // namespace gallocy::vmm
