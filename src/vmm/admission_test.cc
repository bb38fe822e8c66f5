#include "vmm/admission.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace gallocy::vmm {
namespace {

Admitted answer_with(std::size_t peers) {
  Admitted answer{.node = NodeId{999}, .life = 3, .epoch = Epoch{17}, .cluster = 0xc1, .shards = 2};
  for (std::size_t i = 0; i < peers; ++i)
    answer.peers.push_back({NodeId{static_cast<std::uint16_t>(i)}, 1 + i, std::string(1 + i % kMaxTextBytes, 'a')});
  return answer;
}

TEST(Admission, a_wish_comes_as_it_went) {
  const Wish wish{.newcomer = 77, .node = NodeId{5}, .address = "10.0.0.1:7000", .life = 3, .on_disk = true};
  const Frame frame = encode(wish);
  EXPECT_EQ(frame.type, wire::kVmmAdmit);
  const auto decoded = decode_wish(frame.body);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, wish);
}

TEST(Admission, a_wish_without_name_or_address_is_none) {
  EXPECT_FALSE(decode_wish(encode(Wish{.newcomer = 0, .address = "here"}).body));
  EXPECT_FALSE(decode_wish(encode(Wish{.newcomer = 7, .address = ""}).body));
  EXPECT_FALSE(decode_wish(encode(Wish{.newcomer = 7, .node = NodeId{kMaxNodes}, .address = "here", .life = 2}).body));
  EXPECT_FALSE(decode_wish(encode(Wish{.newcomer = 7, .node = NodeId{5}, .address = "here"}).body)) << "which life?";
  EXPECT_FALSE(decode_wish({}));
}

TEST(Admission, an_answer_of_any_length_comes_in_frames) {
  for (const std::size_t peers : {std::size_t{0}, std::size_t{1}, std::size_t{60}, kMaxNodes - std::size_t{1}}) {
    const Admitted answer = answer_with(peers);
    const auto frames = encode(77, answer);
    EXPECT_EQ(frames.size() > 1, peers > 100);
    AnswerReader reader(77);
    for (std::size_t i = 0; i < frames.size(); ++i) {
      ASSERT_LE(frames[i].body.size(), wire::kMaxBodyBytes);
      const auto complete = reader.take(frames[i].type, frames[i].body);
      ASSERT_TRUE(complete) << complete.error().message;
      EXPECT_EQ(*complete, i + 1 == frames.size());
    }
    ASSERT_TRUE(reader.answer());
    EXPECT_EQ(*reader.answer(), answer);
  }
}

TEST(Admission, an_answer_may_begin_anew) {
  const auto first = encode(77, answer_with(500)), second = encode(77, answer_with(400));
  AnswerReader reader(77);
  ASSERT_TRUE(reader.take(first[0].type, first[0].body));
  for (const Frame& frame : second) ASSERT_TRUE(reader.take(frame.type, frame.body));
  EXPECT_EQ(*reader.answer(), answer_with(400));
}

TEST(Admission, a_refusal_says_why) {
  const auto frames = encode(77, fail(ErrorCode::kOutOfMemory, "full"));
  ASSERT_EQ(frames.size(), 1u);
  AnswerReader reader(77);
  EXPECT_TRUE(*reader.take(frames[0].type, frames[0].body));
  ASSERT_FALSE(reader.answer());
  EXPECT_EQ(reader.answer().error().code, ErrorCode::kOutOfMemory);
  EXPECT_EQ(reader.answer().error().message, "full");
}

TEST(Admission, what_is_for_another_or_makes_no_sense_is_refused) {
  AnswerReader reader(78);
  const auto frames = encode(77, answer_with(3));
  EXPECT_FALSE(reader.take(frames[0].type, frames[0].body));
  EXPECT_FALSE(reader.take(wire::kVmmAppend, frames[0].body));
  EXPECT_FALSE(reader.take(encode(77, answer_with(500))[1].type, encode(78, answer_with(500))[1].body)) << "a gap";
  Prng random(3);
  for (int round = 0; round < 5000; ++round) {
    Bytes body = frames[0].body;
    for (auto& byte : body) {
      if (random.one_in(8)) byte = std::byte(random.below(256));
    }
    body.resize(random.below(body.size() + 1));
    AnswerReader each(77);
    const auto complete = each.take(frames[0].type, body);
    if (complete && *complete) {
      EXPECT_LE(each.answer()->peers.size(), 3u);
    }
    const auto wish = decode_wish(body);
    if (wish) {
      EXPECT_EQ(encode(*wish).body.size(), body.size());
    }
  }
}

}  // namespace
}  // namespace gallocy::vmm
