#include "vmm/sessions.h"

#include <algorithm>

namespace gallocy::vmm {
namespace {

using wire::ByteReader;
using wire::ByteWriter;

void put_answer(ByteWriter& w, const Result<Outcome>& answer) {
  w.put(static_cast<std::uint8_t>(answer ? ErrorCode{} : answer.error().code));
  if (!answer) return w.put_text(answer.error().message);
  w.put(answer->epoch), w.put(answer->region), w.put(answer->address);
  w.put(static_cast<std::uint8_t>(answer->changed)), w.put(answer->node), w.put(answer->life);
}

Result<Outcome> get_answer(ByteReader& r) {
  if (const auto code = r.get<std::uint8_t>(); code != 0) return fail(static_cast<ErrorCode>(code), r.get_text());
  return Outcome{r.get<Epoch>(),  r.get<RegionId>(),     r.get<std::uint64_t>(), r.get<std::uint8_t>() != 0,
                 r.get<NodeId>(), r.get<std::uint64_t>()};
}

}  // namespace

std::deque<Sessions::Answer>::const_iterator Sessions::Session::from(RequestId request) const {
  if (answers.empty() || answers.back().request < request) return answers.end();
  return std::ranges::lower_bound(answers, request, {}, &Answer::request);
}

const Sessions::Answer* Sessions::Session::find(RequestId request) const {
  const auto found = from(request);
  return found != answers.end() && found->request == request ? &*found : nullptr;
}

std::optional<Result<Outcome>> Sessions::find(const Record& record) const {
  const auto found = sessions_.find(record.proposer);
  if (found == sessions_.end()) return std::nullopt;
  const Session& session = found->second;
  if (const Answer* known = session.find(record.request)) return known->outcome;
  if (record.request < session.first_open)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("request {} of node {} was answered before", record.request, record.proposer));
  if (static_cast<std::size_t>(session.answers.end() - session.from(record.first_open)) >= kMaxOpenRequests)
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("node {} has {} requests open", record.proposer, kMaxOpenRequests));
  return std::nullopt;
}

void Sessions::remember(const Record& record, const Result<Outcome>& answer) {
  Session& session = sessions_[record.proposer];
  session.first_open = std::max(session.first_open, record.first_open);
  session.answers.erase(session.answers.begin(), session.from(session.first_open));
  session.answers.insert(session.from(record.request), {record.request, answer});
}

std::optional<Result<Outcome>> Sessions::answer(NodeId proposer, RequestId request) const {
  const auto session = sessions_.find(proposer);
  if (session == sessions_.end()) return std::nullopt;
  const Answer* const found = session->second.find(request);
  return found != nullptr ? std::optional(found->outcome) : std::nullopt;
}

void Sessions::put(ByteWriter& w) const {
  w.put(static_cast<std::uint32_t>(sessions_.size()));
  for (const auto& [node, session] : sessions_) {
    w.put(node), w.put(session.first_open), w.put(static_cast<std::uint32_t>(session.answers.size()));
    for (const auto& [request, answer] : session.answers) w.put(request), put_answer(w, answer);
  }
}

Result<Sessions> Sessions::get(ByteReader& r) {
  Sessions sessions;
  for (auto nodes = r.get<std::uint32_t>(); nodes > 0 && r.ok(); --nodes) {
    Session& session = sessions.sessions_[r.get<NodeId>()];
    session.first_open = r.get<RequestId>();
    for (auto answers = r.get<std::uint32_t>(); answers > 0 && r.ok(); --answers) {
      const auto request = r.get<RequestId>();
      session.answers.push_back({request, get_answer(r)});
    }
    const auto& answers = session.answers;
    const bool ascending = std::ranges::is_sorted(answers, std::ranges::less_equal(), &Answer::request);
    const bool wrong = answers.size() > kMaxOpenRequests || session.first_open.value == 0 || !ascending ||
                       (!answers.empty() && answers.front().request < session.first_open);
    if (wrong) return fail(ErrorCode::kProtocol, "a snapshot of the VMM with a session that cannot be");
  }
  if (!r.ok()) return fail(ErrorCode::kProtocol, "a snapshot of the VMM with sessions cut short");
  return sessions;
}

}  // namespace gallocy::vmm
