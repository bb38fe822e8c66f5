#include "vmm/record.h"

#include <array>
#include <utility>

#include "base/check.h"
#include "wire/vmm.h"

namespace gallocy::vmm {
namespace {

using wire::ByteReader;
using wire::ByteWriter;

constexpr std::size_t kRunBytes = 14;
static_assert(2 + 8 + 8 + 1 + 4 + 2 + kMaxHomeRuns * kRunBytes <= wire::kMaxRecordBytes);

void put(ByteWriter& w, const MemberJoined& e) {
  w.put(e.node), w.put_text(e.address), w.put(e.life), w.put(e.newcomer), w.put(e.kept),
      w.put(static_cast<std::uint8_t>(e.on_disk));
}
void put(ByteWriter& w, const MemberLeft& e) { w.put(e.node), w.put(e.life); }
void put(ByteWriter& w, const MemberLeaves& e) { w.put(e.node); }
void put(ByteWriter& w, const MemberStays& e) { w.put(e.node); }
void put(ByteWriter& w, const MemberDied& e) { w.put(e.node), w.put(e.life); }
void put(ByteWriter& w, const MemberMissed& e) { w.put(e.node), w.put(e.life); }
void put(ByteWriter& w, const MemberSettles& e) { w.put(e.node), w.put(e.step), w.put(e.epoch); }
void put(ByteWriter& w, const MapRegion& e) {
  w.put_text(e.name), w.put(e.bytes), vmm::put(w, e.placement), w.put(e.durable_backups);
}
void put(ByteWriter& w, const UnmapRegion& e) { w.put(e.region); }
void put(ByteWriter& w, const BindName& e) { w.put_text(e.name), w.put(e.value); }
void put(ByteWriter& w, const UnbindName& e) { w.put_text(e.name); }
void put(ByteWriter& w, const BlockHomes& e) {
  w.put(e.region), w.put(static_cast<std::uint16_t>(e.runs.size()));
  for (const HomeRun& run : e.runs) w.put(run.first), w.put(run.count), w.put(run.home);
}

// Braced initializers are evaluated in order, so fields are read in the order they are declared.
void get(ByteReader& r, MemberJoined& e) {
  e = {r.get<NodeId>(), r.get_text(), r.get<std::uint64_t>(), r.get<std::uint64_t>(), r.get<Epoch>(), r.get_flag()};
}
void get(ByteReader& r, MemberLeft& e) { e = {r.get<NodeId>(), r.get<std::uint64_t>()}; }
void get(ByteReader& r, MemberLeaves& e) { e = {r.get<NodeId>()}; }
void get(ByteReader& r, MemberStays& e) { e = {r.get<NodeId>()}; }
void get(ByteReader& r, MemberDied& e) { e = {r.get<NodeId>(), r.get<std::uint64_t>()}; }
void get(ByteReader& r, MemberMissed& e) { e = {r.get<NodeId>(), r.get<std::uint64_t>()}; }
void get(ByteReader& r, MemberSettles& e) { e = {r.get<NodeId>(), r.get<SettleStep>(), r.get<Epoch>()}; }
void get(ByteReader& r, MapRegion& e) {
  e = {r.get_text(), r.get<std::uint64_t>(), get_placement(r), r.get<std::uint8_t>()};
}
void get(ByteReader& r, UnmapRegion& e) { e = {r.get<RegionId>()}; }
void get(ByteReader& r, BindName& e) { e = {r.get_text(), r.get<std::uint64_t>()}; }
void get(ByteReader& r, UnbindName& e) { e = {r.get_text()}; }
void get(ByteReader& r, BlockHomes& e) {
  e.region = r.get<RegionId>();
  const std::size_t count = r.get<std::uint16_t>();
  if (count * kRunBytes > r.left()) return void(r.get_bytes(r.left() + 1));  // never reserve more than there is
  e.runs.resize(count);
  for (HomeRun& run : e.runs) run = {r.get<BlockId>(), r.get<std::uint32_t>(), r.get<NodeId>()};
}

template <std::size_t... tags>
Entry get_entry(ByteReader& reader, std::size_t tag, std::index_sequence<tags...>) {
  Entry entry;
  ((tags == tag ? get(reader, entry.emplace<tags>()) : void()), ...);
  return entry;
}

Result<> wrong(std::string message) { return fail(ErrorCode::kInvalidArgument, std::move(message)); }

Result<> check_node(NodeId node) {
  if (node.value >= kMaxNodes) return wrong(fmt::format("there is no node {}: nodes are 0 to {}", node, kMaxNodes - 1));
  return {};
}

Result<> check_text(std::string_view what, std::string_view text) {
  if (!valid_text(text)) return wrong(fmt::format("{} has {} bytes, not 1 to {}", what, text.size(), kMaxTextBytes));
  return {};
}

Result<> check(const MemberLeft& e) {
  if (e.life > kMaxLife) return wrong(fmt::format("life {} of a node", e.life));
  return check_node(e.node);
}
Result<> check(const MemberLeaves& e) { return check_node(e.node); }
Result<> check(const MemberStays& e) { return check_node(e.node); }
Result<> check(const MemberDied& e) { return check_node(e.node); }
Result<> check(const MemberMissed& e) { return check_node(e.node); }
Result<> check(const MemberSettles& e) {
  if (e.step < SettleStep::kTakenIn || e.step > SettleStep::kSettled)
    return wrong(fmt::format("step {} of a node that settles", static_cast<int>(e.step)));
  return check_node(e.node);
}
Result<> check(const UnmapRegion&) { return {}; }
Result<> check(const BindName& e) { return check_text("a name", e.name); }
Result<> check(const UnbindName& e) { return check_text("a name", e.name); }

Result<> check(const MemberJoined& e) {
  if (e.node != kNoNode) GALLOCY_TRY(check_node(e.node));
  if (e.life > kMaxLife || (e.life == 0) != (e.node == kNoNode)) return wrong(fmt::format("life {} of a node", e.life));
  return check_text("an address", e.address);
}

Result<> check(const MapRegion& e) {
  GALLOCY_TRY(check_text("a region's name", e.name));
  if (e.bytes == 0 || e.bytes > kMaxRegionBytes)
    return wrong(fmt::format("region '{}' of {} bytes: a region has 1 byte to 8 TiB", e.name, e.bytes));
  if (!valid(e.placement)) return wrong(fmt::format("region '{}': its placement is none that exists", e.name));
  if (e.durable_backups > kMaxDurableBackups)
    return wrong(fmt::format("region '{}': durable with {} backups, at most {} are possible", e.name, e.durable_backups,
                             kMaxDurableBackups));
  if (e.durable_backups > 0 && !equal(e.placement, Placement{}))
    return wrong(fmt::format("region '{}': durable memory has no placement", e.name));
  return {};
}

Result<> check(const BlockHomes& e) {
  if (e.runs.empty() || e.runs.size() > kMaxHomeRuns)
    return wrong(fmt::format("{} runs of homes, not 1 to {}", e.runs.size(), kMaxHomeRuns));
  constexpr std::uint64_t kBlocks = kWindowBytes / kBlockBytes;
  for (const HomeRun& run : e.runs) {
    GALLOCY_TRY(check_node(run.home));
    if (run.count == 0 || run.first.value >= kBlocks || run.count > kBlocks - run.first.value)
      return wrong(fmt::format("{} blocks from {} on do not lie in the window", run.count, run.first));
  }
  return {};
}

}  // namespace

std::string_view kind_of(const Entry& entry) {
  static constexpr std::array<std::string_view, std::variant_size_v<Entry>> kNames = {
      "member-joined", "member-left", "member-died",   "map-region",   "unmap-region",  "block-homes",
      "bind-name",     "unbind-name", "member-leaves", "member-stays", "member-missed", "member-settles"};
  return kNames[entry.index()];
}

bool equal(const Placement& a, const Placement& b) {
  return a.kind == b.kind && (a.kind != Placement::Kind::kNode || a.node == b.node);
}

bool valid_text(std::string_view text) { return !text.empty() && text.size() <= kMaxTextBytes; }

bool valid(const Placement& placement) {
  if (placement.kind == Placement::Kind::kNode) return placement.node < kMaxNodes;
  return placement.kind <= Placement::Kind::kBlocked && placement.node == 0;
}

void put(ByteWriter& writer, const Placement& placement) {
  writer.put(placement.kind);
  writer.put(static_cast<std::uint16_t>(placement.node));
}

Placement get_placement(ByteReader& reader) {
  const auto kind = reader.get<Placement::Kind>();
  return {kind, reader.get<std::uint16_t>()};
}

Result<> validate(const Entry& entry) {
  return std::visit([](const auto& e) { return check(e); }, entry);
}

Bytes encode(const Record& record) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.put(record.proposer), writer.put(record.request), writer.put(record.first_open);
  writer.put(static_cast<std::uint8_t>(record.entry.index()));
  std::visit([&](const auto& entry) { put(writer, entry); }, record.entry);
  CHECK(bytes.size() <= wire::kMaxRecordBytes, bytes.size(), kind_of(record.entry));
  return bytes;
}

Result<Record> decode(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Record record;
  record.proposer = reader.get<NodeId>();
  record.request = reader.get<RequestId>();
  record.first_open = reader.get<RequestId>();
  const std::size_t tag = reader.get<std::uint8_t>();
  if (tag >= std::variant_size_v<Entry>) return fail(ErrorCode::kProtocol, fmt::format("log entry of kind {}", tag));
  record.entry = get_entry(reader, tag, std::make_index_sequence<std::variant_size_v<Entry>>());
  if (!reader.done()) return fail(ErrorCode::kProtocol, "a log record is cut short or too long");
  if (record.proposer.value >= kMaxNodes || record.first_open.value == 0 || record.request < record.first_open)
    return fail(ErrorCode::kProtocol, "a log record with a wrong proposer or request");
  if (auto well_formed = validate(record.entry); !well_formed)
    return fail(ErrorCode::kProtocol, "in a log record: " + well_formed.error().message);
  return record;
}

}  // namespace gallocy::vmm
