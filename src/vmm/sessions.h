// Sessions: what each member asked for and was answered, so that a proposal that reaches the log twice is carried out
// once and its proposer gets the first answer both times (Ongaro's dissertation, section 6.3). Part of the replicated
// state.
//
// Answers are kept until the proposer says that it has them, by the first_open of a later record.
//
// Invariant: only members have a session, of at most kMaxOpenRequests answers, none of them below first_open.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>

#include "base/result.h"
#include "vmm/record.h"

namespace gallocy::vmm {

// Proposals of one node without an answer. More than its threads that map regions at one time, small enough that the
// answers of 1000 members stay below 1 GiB.
inline constexpr std::size_t kMaxOpenRequests = 1024;

class Sessions {
 public:
  // The answer if this record was seen before, or has no place; nothing if it is to be carried out now.
  std::optional<Result<Outcome>> find(const Record& record) const;
  // Keeps the answer to a record for which find() gave nothing, and drops those that its proposer has.
  void remember(const Record& record, const Result<Outcome>& answer);
  // The answer to a request, if there is one.
  std::optional<Result<Outcome>> answer(NodeId proposer, RequestId request) const;
  void forget(NodeId node) { sessions_.erase(node); }

  void put(wire::ByteWriter& writer) const;
  static Result<Sessions> get(wire::ByteReader& reader);

 private:
  struct Answer {
    RequestId request{};
    Result<Outcome> outcome;
  };
  // Answers by ascending request. Almost always the next one comes last, and the first ones go.
  struct Session {
    RequestId first_open{1};
    std::deque<Answer> answers;
    std::deque<Answer>::const_iterator from(RequestId request) const;
    const Answer* find(RequestId request) const;
  };
  std::map<NodeId, Session> sessions_;
};

}  // namespace gallocy::vmm
