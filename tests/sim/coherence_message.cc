// How coherence messages are summed up and printed.
#include "coherence_cluster.h"

namespace gallocy::sim {

std::uint64_t digest(const CoherenceMessage& message) {
  const wire::PageMessage& m = message.body;
  std::uint64_t sum = static_cast<std::uint64_t>(message.type);
  for (const std::uint64_t field :
       {m.block, m.pages, m.held, m.carried, std::uint64_t{m.requester}, std::uint64_t{m.origin},
        std::uint64_t{m.access}, std::uint64_t{m.demand}, std::uint64_t{m.flags}, std::uint64_t{m.home_version}}) {
    sum = mix(sum, field);
  }
  for (const PageWords& words : message.payload) {
    for (const std::uint64_t word : words) sum = mix(sum, word);
  }
  for (const coherence::DirectoryEntry& e : message.tail) sum = mix(sum, e.state_bits | e.owner << 2 | e.copyset << 16);
  return sum;
}

std::string_view name_of(wire::MessageType type) {
  static constexpr std::string_view kNames[] = {"Request",    "Forward",       "Data",     "WriteBack",
                                                "Invalidate", "InvalidateAck", "Done",     "Decline",
                                                "Put",        "PutAck",        "HandOver", "Lend"};
  return kNames[static_cast<unsigned>(type) - static_cast<unsigned>(wire::MessageType::kPageRequest)];
}

std::string describe(coherence::PageSet pages) {
  std::string text;
  coherence::for_each_run(pages, [&](unsigned first, unsigned length) {
    if (!text.empty()) text += ',';
    text += length == 1 ? fmt::format("{}", first) : fmt::format("{}-{}", first, first + length - 1);
  });
  return text.empty() ? "none" : text;
}

std::string describe(const CoherenceMessage& message) {
  static constexpr std::string_view kAccess[] = {"none", "read", "write"};
  const wire::PageMessage& m = message.body;
  std::string text = fmt::format("{} block {} pages {}", name_of(message.type), m.block, describe(m.pages));
  if (m.access != 0) text += fmt::format(" {}", kAccess[m.access]);
  text += fmt::format(" for {}", m.requester);
  if (m.held != 0) text += fmt::format(" held {}", describe(m.held));
  if (m.carried != 0) text += fmt::format(" carries {}", describe(m.carried));
  if (m.home_version != 0) text += fmt::format(" version {}", m.home_version);
  static constexpr std::pair<wire::PageFlag, std::string_view> kFlags[] = {
      {wire::kPageFromHome, "from-home"}, {wire::kPagePredicted, "predicted"}, {wire::kPageClean, "clean"},
      {wire::kPageLost, "lost"},          {wire::kPageConsumed, "consumed"},   {wire::kPageFence, "fence"}};
  for (const auto& [flag, name] : kFlags) {
    if ((m.flags & flag) != 0) text += fmt::format(" {}", name);
  }
  return text;
}

}  // namespace gallocy::sim
