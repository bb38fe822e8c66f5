// How a node comes back that has its log on disk from an earlier life. If the cluster has gone on without it, it is a
// new member, with nothing; what it had is at others by then, as after any death. If all have ended, those with a disk
// find each other (reunion.h) and begin again together. docs/decisions/0019 tells why.
#include <poll.h>

#include "base/log.h"
#include "runtime/runtime.h"
#include "runtime/steward.h"
#include "vmm/last_members.h"

namespace gallocy::runtime {
namespace {

using net::Visit;
using std::chrono::milliseconds;
using wire::VisitType;

// Somebody who listens answers at once; those who do not are asked again anyway.
constexpr milliseconds kAskTimeout{500};
constexpr int kAskAgainMs = 100;
constexpr milliseconds kSayAgain{5'000};

}  // namespace

Result<std::unique_ptr<net::Mesh>> Steward::come_back(net::MeshOptions options) {
  const LogIdentity& known = disk_->identity();
  if (known.nodes != kMaxNodes)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} holds the log of a launch of {} nodes: take another directory", disk_->path(), known.nodes));
  GALLOCY_ASSIGN(Reunion reunion, remember());
  {
    const os::MutexLock lock(mu_);
    reunion_ = std::move(reunion);
  }
  net::MeshOptions returning = options;
  returning.self = known.node;
  returning.listen_host = cluster_.listen.host;
  returning.listen_port = cluster_.listen.port;
  GALLOCY_ASSIGN(auto mesh, net::Mesh::open(returning));
  mesh->open_door([this](Visit& visit) { receive(visit); });
  GALLOCY_ASSIGN(const auto contact, find_others());
  if (contact) {
    mesh.reset();
    log_event(LogLevel::kInfo, "joins_anew", "formerly", known.node, "reason", "the cluster has gone on without it");
    cluster_.contact = *contact;
    return found_or_join(std::move(options));
  }
  if (const auto begun = begin_again(*mesh); !begun) {
    bad_moment_ = true;
    return tl::unexpected(begun.error());
  }
  mesh_ = mesh.get();
  return mesh;
}

// As far as this node's own log goes. A founder that ended before it had written down even itself is one all the same.
Result<Reunion> Steward::remember() {
  const raft::PersistentState& found = disk_->found();
  GALLOCY_ASSIGN(const auto members, vmm::last_members(found));
  wire::Returning mine{.cluster = disk_->identity().cluster,
                       .node = disk_->identity().node,
                       .term = found.entries.empty() ? found.snapshot.term.value : found.entries.back().term.value,
                       .index = found.snapshot.index.value + found.entries.size(),
                       .members = {}};
  for (const auto& [node, member] : members) mine.members.push_back({node, member.on_disk, member.address});
  if (mine.members.empty() && mine.node == NodeId{0})
    mine.members.push_back({mine.node, true, net::to_string(cluster_.listen)});
  return Reunion(std::move(mine), without_);
}

// Members of which anybody knows; the log names none yet if the node ended just when it had been let in.
Result<std::set<std::string>> Steward::whom_to_ask() {
  GALLOCY_ASSIGN(const auto contacts, disk_->contacts());
  std::set<std::string> addresses(contacts.begin(), contacts.end());
  if (cluster_.contact) addresses.insert(net::to_string(*cluster_.contact));
  const os::MutexLock lock(mu_);
  for (const Reunion::Member& member : reunion_->says().members) {
    if (member.on_disk) addresses.insert(member.address);
  }
  addresses.erase(net::to_string(cluster_.listen));
  return addresses;
}

// Nothing: all are there. Otherwise the address of one whose cluster has gone on.
Result<std::optional<net::PeerAddress>> Steward::find_others() {
  const auto begin = Visit::Clock::now();
  auto said = begin;
  for (;;) {
    GALLOCY_ASSIGN(const auto addresses, whom_to_ask());
    {
      const os::MutexLock lock(mu_);
      reunion_->ask_anew();
    }
    for (const std::string& text : addresses) {
      GALLOCY_ASSIGN(const net::PeerAddress address, net::parse_address("the address of a member", text));
      GALLOCY_ASSIGN(const News news, ask(address));
      if (news == News::kGoesOn) return address;
    }
    {
      const os::MutexLock lock(mu_);
      if (reunion_->is_complete()) return std::nullopt;
    }
    const auto now = Visit::Clock::now();
    if (now > begin + cluster_.join_timeout)
      return fail(ErrorCode::kTimeout,
                  fmt::format("{} within {} s", whom_it_waits_for(), cluster_.join_timeout.count() / 1000));
    if (now > said + kSayAgain) {
      said = now;
      log_event(LogLevel::kInfo, "waits_for_others", "node", disk_->identity().node, "what", whom_it_waits_for());
    }
    ::poll(nullptr, 0, kAskAgainMs);
  }
}

// Nobody there is no error: all start in their own time.
Result<Steward::News> Steward::ask(const net::PeerAddress& member) {
  Visit::Options options = cluster_.visitor();
  options.timeout = kAskTimeout;
  const auto visit = Visit::pay(member, options);
  if (!visit) {
    const bool may_come = visit.error().code == ErrorCode::kUnreachable || visit.error().code == ErrorCode::kTimeout ||
                          visit.error().code == ErrorCode::kPeerLost;
    return may_come ? Result<News>(News::kNone) : tl::unexpected(visit.error());
  }
  wire::Bytes body;
  {
    const os::MutexLock lock(mu_);
    body = wire::encode(reunion_->says());
  }
  if (!(*visit)->say({VisitType::kReturn, std::move(body)})) return News::kNone;
  const auto answer = (*visit)->hear(Visit::Clock::now() + kAskTimeout);
  if (!answer) return News::kNone;
  wire::GoesOn goes_on;
  wire::Refusal refused;
  if (answer->type == VisitType::kGoesOn && wire::decode(answer->body, goes_on))
    return goes_on.may_join ? News::kGoesOn : News::kNone;
  if (answer->type == VisitType::kRefused && wire::decode(answer->body, refused))
    return fail(static_cast<ErrorCode>(refused.code), refused.message);
  if (answer->type == VisitType::kReturns) GALLOCY_TRY(hear(answer->body));
  return News::kNone;
}

Result<> Steward::hear(std::span<const std::byte> body) {
  wire::Returning other;
  if (!wire::decode(body, other)) return fail(ErrorCode::kProtocol, "what a returning node says makes no sense");
  const os::MutexLock lock(mu_);
  return reunion_->heard(other);
}

Result<> Steward::begin_again(net::Mesh& mesh) {
  GALLOCY_TRY(disk_->begin_again());
  const LogIdentity& known = disk_->identity();
  std::vector<net::Peer> others;
  {
    const os::MutexLock lock(mu_);
    place_ = {.node = known.node,
              .life = known.life,
              .epoch = {},
              .cluster = known.cluster,
              .shards = known.shards,
              .peers = {}};
    absent_ = reunion_->absent();
    for (const Reunion::Member& member : reunion_->company()) {
      if (member.node == known.node) continue;
      GALLOCY_ASSIGN(net::PeerAddress address, net::parse_address("the address of a member", member.address));
      others.push_back({member.node, std::move(address)});
      place_.peers.push_back({member.node, 0, member.address});  // it says which life it begins
    }
  }
  way_ = Way::kReturns;
  address_ = net::to_string(mesh.address());
  return mesh.reunite(others);
}

std::string Steward::whom_it_waits_for() {
  const os::MutexLock lock(mu_);
  if (reunion_->company().empty())
    return fmt::format("the others went on without node {}, which this was, and none of them was at work",
                       reunion_->says().node);
  std::string text;
  for (const Reunion::Member& member : reunion_->missing())
    text += fmt::format("{}node {} at {}", text.empty() ? "" : ", ", member.node, member.address);
  return fmt::format("{} did not start again (all others: --without, if a node is lost for good)", text);
}

// ---------------------------------------------------------------------------------------------- visitors

void Steward::receive_early(Visit& visit, const Visit::Message& request) {
  const auto says = [this]() -> std::optional<wire::Returning> {
    const os::MutexLock lock(mu_);
    return reunion_ ? std::optional(reunion_->says()) : std::nullopt;
  };
  const auto mine = says();
  if (!mine) return (void)visit.say(refusal({ErrorCode::kUnreachable, "this node is about to join"}));
  if (request.type != VisitType::kReturn)
    return (void)visit.say(refusal({ErrorCode::kTimeout, "the cluster starts again: " + whom_it_waits_for()}));
  if (const auto heard = hear(request.body); !heard) return (void)visit.say(refusal(heard.error()));
  (void)visit.say({VisitType::kReturns, wire::encode(*says())});
}

// One that was a member, and starts again while the cluster is at work.
void Steward::receive_returning(Visit& visit, std::span<const std::byte> body) {
  wire::Returning returning;
  if (!wire::decode(body, returning)) return (void)visit.say(refusal({ErrorCode::kProtocol, "not a return"}));
  if (returning.cluster != cluster())
    return (void)visit.say(refusal(
        {ErrorCode::kConflict, fmt::format("node {} at {} is of another cluster than the log of this node; give it an "
                                           "empty --log-dir to join that one",
                                           self(), address_)}));
  bool is_member = false;
  runtime_.regions().look([&](const vmm::Log& log) { is_member = log.machine().is_member(returning.node); });
  // Its former life has to be over first: its successor would wait for a link to it.
  if (is_member && returning.node != self()) runtime_.began_again(returning.node);
  (void)visit.say({VisitType::kGoesOn, wire::encode(wire::GoesOn{.may_join = !is_member})});
}

}  // namespace gallocy::runtime
