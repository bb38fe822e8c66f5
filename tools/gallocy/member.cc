#include "member.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "net/open_cluster.h"
#include "net/visit.h"
#include "status_table.h"

namespace gallocy::command {
namespace {

using net::Visit;
using nlohmann::json;
using wire::VisitType;

// How long a member may take to answer that it is there; leaving takes as long as it takes.
constexpr std::chrono::seconds kAnswerTimeout{10};

Outcome<net::OpenCluster> cluster_of(const MemberOptions& options) {
  auto cluster = net::open_cluster({.listen = {},
                                    .join = options.address,
                                    .secret_file = options.secret_file,
                                    .insecure_network = options.insecure_network});
  if (!cluster) return tl::unexpected(Failure(cluster.error()));
  if (!*cluster || !(*cluster)->contact) {
    return fail_with(ErrorCode::kInvalidArgument, "whom to ask? Say the address of a member, or set GALLOCY_JOIN");
  }
  (*cluster)->join_timeout = std::chrono::seconds(options.timeout_s);
  return std::move(**cluster);
}

Outcome<Visit::Message> ask(const net::OpenCluster& cluster, const net::PeerAddress& address,
                            const Visit::Message& question, Visit::Clock::time_point deadline) {
  auto visit = Visit::pay(address, cluster.visitor());
  if (!visit) return tl::unexpected(Failure(visit.error()));
  if (auto said = (*visit)->say(question); !said) return tl::unexpected(Failure(said.error()));
  auto answer = (*visit)->hear(deadline);
  if (!answer) {
    return fail_with(answer.error().code,
                     fmt::format("the node at {} gave no answer: {}", net::to_string(address), answer.error().message));
  }
  wire::Refusal refused;
  if (answer->type == VisitType::kRefused && wire::decode(answer->body, refused))
    return tl::unexpected(Failure(refused.code, std::move(refused.message)));
  return std::move(*answer);
}

Outcome<json> status_of(const net::OpenCluster& cluster, const net::PeerAddress& address) {
  auto answer = ask(cluster, address, {VisitType::kStatus, {}}, Visit::Clock::now() + kAnswerTimeout);
  if (!answer) return tl::unexpected(answer.error());
  const auto* text = reinterpret_cast<const char*>(answer->body.data());
  auto parsed = json::parse(text, text + answer->body.size(), nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return fail_with(ErrorCode::kProtocol, "the answer of the member makes no sense");
  return parsed;
}

// The cluster as the first member sees it, and what each member says of itself.
Outcome<int> status(const MemberOptions& options) try {
  auto cluster = cluster_of(options);
  if (!cluster) return tl::unexpected(cluster.error());
  auto first = status_of(*cluster, *cluster->contact);
  if (!first) return tl::unexpected(first.error());
  json report = {{"cluster", first->at("cluster")}, {"nodes", json::array()}};
  const std::string asked = first->at("node").at("address");
  cluster->join_timeout = std::chrono::seconds(2);  // those that do not answer are shown as such
  for (const json& member : first->at("cluster").at("members")) {
    const std::string address = member.at("address");
    if (address == asked) {
      report["nodes"].push_back(first->at("node"));
      continue;
    }
    const auto where = net::parse_address("the address of a member", address);
    auto told = where ? status_of(*cluster, *where) : fail_with(ErrorCode::kProtocol, "no address");
    json node = told ? told->at("node") : json{{"node", member.at("node")}, {"address", address}};
    if (!told) node["silent"] = told.error().message;
    report["nodes"].push_back(std::move(node));
  }
  fmt::print("{}", options.json ? report.dump(2) + "\n" : status_table(report));
  std::fflush(stdout);
  return 0;
} catch (const json::exception& error) {
  return fail_with(ErrorCode::kProtocol, fmt::format("the answer of the member makes no sense: {}", error.what()));
}

Outcome<int> leave(const MemberOptions& options) {
  auto cluster = cluster_of(options);
  if (!cluster) return tl::unexpected(cluster.error());
  const NodeId node = options.node ? NodeId{static_cast<std::uint16_t>(*options.node)} : kNoNode;
  auto answer = ask(*cluster, *cluster->contact, {VisitType::kLeave, wire::encode(wire::LeaveRequest{node})},
                    Visit::Clock::time_point::max());
  if (!answer) return tl::unexpected(answer.error());
  if (answer->type != VisitType::kHasLeft)
    return fail_with(ErrorCode::kProtocol, "the answer of the member makes no sense");
  return 0;
}

}  // namespace

Outcome<int> member(const MemberOptions& options) {
  return options.verb == MemberOptions::Verb::kStatus ? status(options) : leave(options);
}

}  // namespace gallocy::command
