#include "runtime/steward.h"

#include <algorithm>
#include <optional>
#include <random>

#include "base/log.h"
#include "os/clock.h"
#include "runtime/runtime.h"
#include "runtime/status.h"

namespace gallocy::runtime {
namespace {

using net::Visit;
using std::chrono::milliseconds;
using wire::VisitType;

// A visitor says at once what it wants.
constexpr milliseconds kRequestTimeout{5'000};
// And takes its answer soon.
constexpr milliseconds kAnswerTimeout{2'000};
constexpr Epoch kWhatever{~std::uint32_t{0}};
constexpr std::int64_t kLookAgainNs = 1'000'000;

std::int64_t deadline_after(milliseconds timeout) {
  return os::monotonic_ns() + std::chrono::nanoseconds(timeout).count();
}

std::uint64_t random_name() {
  std::random_device device;
  const std::uint64_t name = std::uint64_t{device()} << 32 | device();
  return name == 0 ? 1 : name;
}

std::vector<std::string> addresses_of(const std::vector<vmm::Peer>& peers) {
  std::vector<std::string> addresses;
  for (const vmm::Peer& peer : peers) addresses.push_back(peer.address);
  return addresses;
}

}  // namespace

Visit::Message refusal(const Error& error) {
  return {VisitType::kRefused, wire::encode(wire::Refusal{static_cast<int>(error.code), error.message})};
}

// ---------------------------------------------------------------------------------------------- joining

Result<std::unique_ptr<net::Mesh>> Steward::enter(net::MeshOptions options) {
  options.membership = net::Membership::kOpen;
  options.nodes = kMaxNodes;
  options.secret = cluster_.secret;
  options.encrypt = cluster_.encrypt;
  options.connect_timeout = cluster_.link_timeout;
  if (disk_ != nullptr && !disk_->is_empty()) return come_back(std::move(options));
  return found_or_join(std::move(options));
}

Result<std::unique_ptr<net::Mesh>> Steward::found_or_join(net::MeshOptions options) {
  net::PeerAddress mine = cluster_.listen;
  if (cluster_.contact) {
    GALLOCY_ASSIGN(admission_, Visit::pay(*cluster_.contact, cluster_.visitor()));
    if (mine.host.empty()) mine.host = admission_->local_host();
  }
  options.listen_host = mine.host;
  options.listen_port = mine.port;
  GALLOCY_ASSIGN(auto mesh, net::Mesh::open(options));
  mesh_ = mesh.get();
  mine.port = mesh->address().port;
  address_ = net::to_string(mine);
  std::vector<net::Peer> peers;
  if (cluster_.contact) {
    GALLOCY_ASSIGN(place_, ask_to_be_admitted(mine));
    // Those who were let in after it find it, as it finds those before.
    std::erase_if(place_.peers, [this](const vmm::Peer& peer) { return peer.node > place_.node; });
    for (const vmm::Peer& peer : place_.peers) {
      GALLOCY_ASSIGN(net::PeerAddress address, net::parse_address("the address of a member", peer.address));
      peers.push_back({peer.node, std::move(address)});
    }
    way_ = Way::kJoins;
  } else {
    place_ = {.node = NodeId{0},
              .life = 1,
              .epoch = {},
              .cluster = disk_ != nullptr ? random_name() : 0,
              .shards = shards_,
              .peers = {}};
  }
  if (disk_ != nullptr) {
    const RegionsOptions founder{.self = place_.node, .founders = begins_with(), .shards = place_.shards};
    const LogIdentity who{.cluster = place_.cluster, .node = place_.node, .nodes = kMaxNodes, .shards = place_.shards};
    GALLOCY_TRY(disk_->begin_anew(who, Regions::founding_states(founder), addresses_of(place_.peers)));
  }
  if (const auto entered = mesh->enter(place_.node, peers); !entered) {
    bad_moment_ = !peers.empty();
    return tl::unexpected(entered.error());
  }
  return mesh;
}

Result<vmm::Admitted> Steward::ask_to_be_admitted(const net::PeerAddress& mine) {
  const vmm::Wish wish{
      .newcomer = random_name(), .node = kNoNode, .address = net::to_string(mine), .on_disk = disk_ != nullptr};
  GALLOCY_TRY(admission_->say({VisitType::kJoin, vmm::encode(wish).body}));
  vmm::AnswerReader reader(wish.newcomer);
  for (bool complete = false; !complete;) {
    GALLOCY_ASSIGN(const Visit::Message part, admission_->hear(Visit::Clock::now() + cluster_.join_timeout));
    wire::ByteReader frame(part.body);
    const auto type = frame.get<wire::MessageType>();
    if (part.type != VisitType::kAdmission)
      return fail(ErrorCode::kProtocol, "the member does not know how to let a node in");
    GALLOCY_ASSIGN(complete, reader.take(type, frame.get_bytes(frame.left())));
  }
  return reader.answer();
}

std::vector<NodeId> Steward::others() const {
  std::vector<NodeId> nodes;
  for (const vmm::Peer& peer : place_.peers) nodes.push_back(peer.node);
  return nodes;
}

Result<> Steward::await_welcome() {
  if (way_ == Way::kReturns) return {};  // nobody was here before
  welcomes_.expect(others(), Epoch{});
  if (!runtime_.waiting().wait(welcomes_.all_here(), deadline_after(cluster_.join_timeout))) {
    return fail(ErrorCode::kTimeout, fmt::format("node {} has not let this one in", welcomes_.missing().front()));
  }
  if (somebody_is_gone_) {
    bad_moment_ = true;
    return fail(ErrorCode::kPeerLost, "a member died or left while this node joined");
  }
  return {};
}

std::vector<NodeId> Steward::begins_with() const { return way_ == Way::kJoins ? std::vector<NodeId>() : present(); }

std::vector<NodeId> Steward::present() const {
  std::vector<NodeId> nodes = others();
  nodes.insert(std::ranges::upper_bound(nodes, self()), self());
  return nodes;
}

void Steward::open_door() {
  is_settled_ = true;
  if (way_ != Way::kReturns) mesh_->open_door([this](Visit& visit) { receive(visit); });
  if (admission_ != nullptr) (void)admission_->say({VisitType::kArrived, {}});
  admission_.reset();
}

// The contact's side. The log says who the newcomer is before it is there; if it does not come, it is as good as dead.
void Steward::admit(Visit& visit, std::span<const std::byte> wish) {
  WaitFlag decided;
  std::vector<vmm::Frame> answer;
  os::Mutex mu;
  const auto take = [&](const vmm::Frame& frame) {
    const os::MutexLock lock(mu);
    answer.push_back(frame);
    decided.set();
  };
  if (!runtime_.regions().admit(wish, take))
    return (void)visit.say(refusal({ErrorCode::kProtocol, "not a wish to join"}));
  (void)runtime_.waiting().wait(decided);
  // All frames of the answer are handed over in one turn of the log, under its lock.
  (void)runtime_.regions().members();
  std::optional<NodeId> newcomer;
  vmm::AnswerReader reader(vmm::decode_wish(wish)->newcomer);
  {
    const os::MutexLock lock(mu);
    for (const vmm::Frame& frame : answer) {
      wire::Bytes body;
      wire::ByteWriter writer(body);
      writer.put(frame.type);
      writer.put_bytes(frame.body);
      (void)visit.say({VisitType::kAdmission, std::move(body)});
      (void)reader.take(frame.type, frame.body);
    }
  }
  if (!reader.answer()) return;
  const auto arrived = visit.hear(Visit::Clock::now() + cluster_.join_timeout);
  if (arrived && arrived->type == VisitType::kArrived) return;
  runtime_.did_not_arrive(reader.answer()->node);
}

// ---------------------------------------------------------------------------------------------- visitors

void Steward::receive(Visit& visit) {
  Waiting::may_poll(false);  // this thread is not one of the program's
  const auto request = visit.hear(Visit::Clock::now() + kRequestTimeout);
  if (!request) return;
  if (!is_settled_) return receive_early(visit, *request);
  switch (request->type) {
    case VisitType::kJoin:
      return admit(visit, request->body);
    case VisitType::kStatus: {
      const std::string text = status_json(runtime_, address_);
      const auto bytes = std::as_bytes(std::span(text));
      return (void)visit.say({VisitType::kStatusText, {bytes.begin(), bytes.end()}});
    }
    case VisitType::kLeave:
      return see_off(visit, request->body);
    case VisitType::kReturn:
      return receive_returning(visit, request->body);
    default:
      return (void)visit.say(refusal({ErrorCode::kProtocol, "this member does not know that request"}));
  }
}

void Steward::see_off(Visit& visit, std::span<const std::byte> body) {
  wire::LeaveRequest request;
  if (!wire::decode(body, request)) return (void)visit.say(refusal({ErrorCode::kProtocol, "not a request to leave"}));
  ++to_be_answered_;
  const auto left = ask_to_leave(request.node == kNoNode ? self() : request.node);
  (void)visit.say(left ? Visit::Message{VisitType::kHasLeft, {}} : refusal(left.error()));
  --to_be_answered_;
}

Result<> Steward::ask_to_leave(NodeId node) {
  if (node == self()) {
    WaitFlag over;
    Result<> outcome;
    {
      const os::MutexLock lock(mu_);
      if (!asked_to_leave_)
        return fail(ErrorCode::kNotPermitted,
                    fmt::format("node {} runs a program of its own, and leaves when that ends", node));
      wait_for_leave_.emplace_back(&over, &outcome);
      asked_to_leave_();
    }
    (void)runtime_.waiting().wait(over);
    return outcome;
  }
  for (const vmm::Peer& peer : runtime_.regions().members()) {
    if (peer.node != node) continue;
    GALLOCY_ASSIGN(const net::PeerAddress address, net::parse_address("the address of a member", peer.address));
    GALLOCY_ASSIGN(const auto visit, Visit::pay(address, cluster_.visitor()));
    GALLOCY_TRY(visit->say({VisitType::kLeave, wire::encode(wire::LeaveRequest{node})}));
    GALLOCY_ASSIGN(const Visit::Message answer, visit->hear());
    if (answer.type == VisitType::kHasLeft) return {};
    wire::Refusal refused;
    if (!wire::decode(answer.body, refused)) return fail(ErrorCode::kProtocol, "the answer makes no sense");
    return fail(static_cast<ErrorCode>(refused.code), refused.message);
  }
  return fail(ErrorCode::kNotFound, fmt::format("there is no node {} in this cluster", node));
}

void Steward::may_be_asked_to_leave(std::function<void()> asked) {
  const os::MutexLock lock(mu_);
  asked_to_leave_ = std::move(asked);
}

void Steward::has_left(const Result<>& outcome) {
  {
    const os::MutexLock lock(mu_);
    for (auto& [flag, result] : std::exchange(wait_for_leave_, {})) {
      *result = outcome;
      flag->set();
    }
  }
  const std::int64_t deadline = deadline_after(kAnswerTimeout);
  while (to_be_answered_ != 0 && os::monotonic_ns() < deadline) {
    runtime_.waiting().pause_until(os::monotonic_ns() + kLookAgainNs);
  }
}

// ---------------------------------------------------------------------------------------------- answers

void Steward::welcomed_by(NodeId node) { welcomes_.answered(node, kWhatever); }
void Steward::farewell_of(NodeId node, Epoch epoch) { farewells_.answered(node, epoch); }

void Steward::gone(NodeId node) {
  somebody_is_gone_ = true;
  welcomes_.answered(node, kWhatever);
  farewells_.answered(node, kWhatever);
}

void Steward::RollCall::expect(std::vector<NodeId> nodes, Epoch epoch) {
  const os::MutexLock lock(mu_);
  all_here_.reset();
  missing_ = std::move(nodes);
  epoch_ = epoch;
  look();
}

void Steward::RollCall::answered(NodeId node, Epoch epoch) {
  const os::MutexLock lock(mu_);
  Epoch& so_far = answers_[node];
  so_far = std::max(so_far, epoch);
  look();
}

void Steward::RollCall::look() {
  if (!epoch_) return;
  std::erase_if(missing_, [&](NodeId node) {
    const auto found = answers_.find(node);
    return found != answers_.end() && found->second >= *epoch_;
  });
  if (missing_.empty()) all_here_.set();
}

std::vector<NodeId> Steward::RollCall::missing() {
  const os::MutexLock lock(mu_);
  return missing_;
}

}  // namespace gallocy::runtime
