// What the programs that test durable memory share.
#pragma once

#include <functional>
#include <map>

#include "durable_board.h"
#include "program.h"

namespace program {

struct Arguments {
  std::vector<std::string> all;
  std::uint64_t number(std::size_t i) const { return std::stoull(all.at(i)); }
};

// Zeroed objects of T in durable memory that all nodes reach under this name.
template <typename T>
T* durable(const std::string& name, std::size_t count, unsigned backups) {
  const auto region =
      need(gallocy::Node::current()->map({.name = name, .bytes = count * sizeof(T), .durable_backups = backups}));
  return static_cast<T*>(region.data());
}

using gallocy::testing::Board;
using gallocy::testing::kThreads;

inline constexpr std::size_t kBlockWords = (256 << 10) / sizeof(Word);

std::uint64_t now_ns();
void say(const char* what);  // "node N <what>"
Board& board_of(const Arguments& arguments);
void may_be_torn(Board& board, unsigned node);  // torn_disk.cc
// Runs f(thread) on kThreads threads; meanwhile says on the board how far durable memory is here.
void run_with_news(gallocy::Node& node, Board& board, const std::function<void(unsigned thread)>& f);
// The survivors meet without Node::barrier(), which has losses to report.
void finish(gallocy::Node& node);

constexpr std::size_t kAccounts = 64;
constexpr Word kFirstBalance = 1000;

// In blocks of their own, so that most transfers concern several companies.
struct Bank {
  Word* words;
  Word* opened() const { return words; }
  Word* account(std::size_t i) const { return words + kBlockWords * (1 + i % 7) + i; }
  // Transfers of this thread that happened.
  Word* ledger(unsigned node, unsigned thread) const { return words + kBlockWords * (8 + thread) + 100 + node; }
};
constexpr std::size_t kBankWords = kBlockWords * (8 + kThreads);
// How many transfers of a thread there are: those that it was told of. The last one of a node that died may have
// happened without its being told.
Word happened(const Bank& bank, const Board& board, unsigned node, unsigned thread);

// Sections (durable_sections.cc).
void section_refusals(gallocy::Node& node, const Arguments& arguments);
void sections(gallocy::Node& node, const Arguments& arguments);  // COUNT THREADS
void halfway(gallocy::Node& node, const Arguments& arguments);

// Workloads while nodes die; durable_crash_test.cc kills them, with a Board in the file that the first argument names.
void bank(gallocy::Node& node, const Arguments& arguments);          // FILE BACKUPS
void section_bank(gallocy::Node& node, const Arguments& arguments);  // FILE BACKUPS
void registers(gallocy::Node& node, const Arguments& arguments);     // FILE BACKUPS

}  // namespace program
