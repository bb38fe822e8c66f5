// `gallocy run --stat`: what the program did where, on standard error at its end.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "personality/process.h"

namespace gallocy::personality {
namespace {

using SharedPage = coherence::Core::SharedPage;

constexpr std::size_t kMostPages = 5, kMostCalls = 10;
constexpr std::uint64_t kLineBytes = 64;

// Of one node, from the start on; behind it in its records are `stacks` of StackPlace and `pages` of SharedPage.
struct Counters {
  std::uint64_t threads = 0;  // of the program that were here, counted each time they came
  std::uint64_t moves = 0;    // of these, how often they came from another node
  std::uint64_t read_faults = 0, write_faults = 0, fault_wait_ns = 0, pages_received = 0, bytes_sent = 0;
  std::uint64_t stacks = 0, pages = 0;
};

template <typename T>
void put(std::vector<std::byte>& to, const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

template <typename T>
std::vector<T> take(std::span<const std::byte>& from, std::uint64_t count) {
  std::vector<T> values(std::min<std::uint64_t>(count, from.size() / sizeof(T)));
  if (!values.empty()) std::memcpy(static_cast<void*>(values.data()), from.data(), values.size() * sizeof(T));
  from = from.subspan(values.size() * sizeof(T));
  return values;
}

struct CallCount {
  std::uint64_t count;
  std::size_t number;
};

std::string text_of(std::vector<CallCount> calls) {
  std::ranges::sort(calls, std::ranges::greater{}, &CallCount::count);
  std::string text = "gallocy: system calls made for other nodes:";
  for (std::size_t i = 0; i < calls.size() && i < kMostCalls; ++i) {
    text += fmt::format("{} {} {}", i == 0 ? "" : ",", call_name(static_cast<long>(calls[i].number)), calls[i].count);
  }
  return text + (calls.empty() ? " none\n" : "\n");
}

// A page, who wrote where in it, and what lies there.
std::string text_of(const SharedPage& page, std::uint64_t address, const ObjectMap& objects) {
  const MappedObject* const object = objects.object_at(address);
  std::string text = fmt::format("gallocy:   {:#x}", address);
  const std::string place = object != nullptr ? object->path : objects.name(address);
  if (!place.empty()) text += fmt::format(" ({})", place);
  text += fmt::format(" {} times", page.hand_overs);
  std::uint64_t all = 0;
  bool apart = true;
  unsigned writers = 0;
  for (const auto& writer : page.writers) {
    if (writer.node == kNoNode || writer.lines == 0) continue;
    apart = apart && (all & writer.lines) == 0;
    all |= writer.lines;
    ++writers;
    text += fmt::format("; node {} writes", writer.node);
    for (std::uint64_t lines = writer.lines; lines != 0; lines &= lines - 1) {
      const std::uint64_t offset = static_cast<std::uint64_t>(std::countr_zero(lines)) * kLineBytes;
      text += fmt::format(" +{:#x}", offset);
      if (object != nullptr)
        text += fmt::format(" ({})", objects.names(address + offset, address + offset + kLineBytes));
    }
  }
  if (apart && writers > 1) text += "; never the same 64 bytes: false sharing";
  return text + "\n";
}

}  // namespace

std::vector<std::byte> Process::report_records() {
  const Statistics s = runtime_.statistics();
  const std::vector<SharedPage> pages = runtime_.memory().most_handed_over(kMostPages);
  std::vector<StackPlace> stacks;
  {
    const os::MutexLock lock(threads_mu_);
    stacks = stacks_;
  }
  std::vector<std::byte> records;
  put(records, std::vector{Counters{.threads = threads_started_.load(),
                                    .moves = threads_moved_.load(),
                                    .read_faults = s.read_faults,
                                    .write_faults = s.write_faults,
                                    .fault_wait_ns = s.fault_wait_ns,
                                    .pages_received = s.pages_received,
                                    .bytes_sent = s.bytes_sent,
                                    .stacks = stacks.size(),
                                    .pages = pages.size()}});
  put(records, stacks);
  put(records, pages);
  return records;
}

// At the home, when the program has ended.
void Process::report() {
  std::string text = fmt::format("gallocy: {:>4} {:>8} {:>12} {:>12} {:>12} {:>12} {:>12}\n", "node", "threads",
                                 "read faults", "write faults", "waited ms", "pages in", "KiB out");
  std::vector<StackPlace> stacks;
  std::vector<SharedPage> pages;
  std::uint64_t moves = 0;
  for (std::uint16_t n = 0; n < nodes_; ++n) {
    const std::vector<std::byte> records = records_of(NodeId{n}, Records::kReport);
    std::span<const std::byte> rest = records;
    const auto first = take<Counters>(rest, 1);
    const Counters c = first.empty() ? Counters{} : first.front();
    moves += c.moves;
    std::ranges::copy(take<StackPlace>(rest, c.stacks), std::back_inserter(stacks));
    std::ranges::copy(take<SharedPage>(rest, c.pages), std::back_inserter(pages));
    text += fmt::format("gallocy: {:>4} {:>8} {:>12} {:>12} {:>12} {:>12} {:>12}\n", n, c.threads, c.read_faults,
                        c.write_faults, c.fault_wait_ns / 1'000'000, c.pages_received, c.bytes_sent >> 10);
  }
  if (moves != 0) text += fmt::format("gallocy: threads moved to others, or back, {} times\n", moves);
  std::vector<CallCount> calls;
  for (std::size_t number = 0; number < forwarded_.size(); ++number) {
    if (const std::uint64_t count = forwarded_[number].load(); count != 0) calls.push_back({count, number});
  }
  text += text_of(std::move(calls));
  text += "gallocy: pages that the nodes took from each other most often:\n";
  const ObjectMap objects = object_map(stacks);
  std::ranges::sort(pages, std::ranges::greater{}, &SharedPage::hand_overs);
  for (std::size_t i = 0; i < pages.size() && i < kMostPages; ++i) {
    text += text_of(pages[i], program_address(address_of(pages[i].page)), objects);
  }
  (void)!::write(STDERR_FILENO, text.data(), text.size());
}

// Where the program sees what lies at this place of the window.
std::uint64_t Process::program_address(std::uint64_t address) const {
  const std::uint64_t outside = end_ - kOutsideBytes;
  return low_end_ != 0 && address >= outside ? low_begin_ + (address - outside) : address;
}

}  // namespace gallocy::personality
