#include "console.h"

#include <gtest/gtest.h>

namespace gallocy::command {
namespace {

TEST(LineAssembler, gives_whole_lines_only) {
  LineAssembler lines;
  std::string out;
  lines.feed("on", out);
  EXPECT_EQ(out, "");
  lines.feed("e\ntwo\nthr", out);
  EXPECT_EQ(out, "one\ntwo\n");
  lines.finish(out);
  EXPECT_EQ(out, "one\ntwo\nthr\n");
  lines.finish(out);
  EXPECT_EQ(out, "one\ntwo\nthr\n");
}

TEST(LineAssembler, prefixes_every_line_once) {
  LineAssembler lines("[3] ");
  std::string out;
  lines.feed("a\n\nb", out);
  lines.feed("c\n", out);
  EXPECT_EQ(out, "[3] a\n[3] \n[3] bc\n");
}

TEST(LineAssembler, passes_endless_lines_on_in_parts) {
  LineAssembler lines("[3] ");
  std::string out;
  const std::string piece(LineAssembler::kMaxLineBytes / 2, 'x');
  for (int i = 0; i < 5; ++i) lines.feed(piece, out);
  EXPECT_GE(out.size(), 2 * LineAssembler::kMaxLineBytes);
  lines.feed("\nnext\n", out);
  EXPECT_EQ(out, "[3] " + piece + piece + piece + piece + piece + "\n[3] next\n");
}

}  // namespace
}  // namespace gallocy::command
