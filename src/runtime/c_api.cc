// The C interface, in terms of the public C++ one.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gallocy/gallocy_c.h"
#include "gallocy/heap.h"
#include "gallocy/node.h"
#include "gallocy/section.h"
#include "gallocy/transaction.h"

static_assert(GALLOCY_INVALID_ARGUMENT == static_cast<int>(gallocy::ErrorCode::kInvalidArgument));
static_assert(GALLOCY_OUT_OF_MEMORY == static_cast<int>(gallocy::ErrorCode::kOutOfMemory));
static_assert(GALLOCY_OWNER_DIED == static_cast<int>(gallocy::ErrorCode::kOwnerDied));
static_assert(GALLOCY_CONFLICT == static_cast<int>(gallocy::ErrorCode::kConflict));
static_assert(GALLOCY_LOST == static_cast<int>(gallocy::ErrorCode::kLost));
static_assert(GALLOCY_BLOCKED == static_cast<int>(gallocy::Placement::Kind::kBlocked));

struct gallocy_node {
  std::unique_ptr<gallocy::Node> node;
};

struct gallocy_transaction {
  gallocy::Transaction transaction;
};
struct gallocy_commitment {
  gallocy::Commitment commitment;
};

struct gallocy_section {
  gallocy::Section section;
};

namespace {

using gallocy::Error;
using gallocy::ErrorCode;

struct LastError {
  int code = GALLOCY_OK;
  std::string message;
};
thread_local LastError last_error;

int failed(const Error& error) {
  last_error = {gallocy::exit_status(error), error.message};
  return last_error.code;
}

void* failed_allocation(int error_number, ErrorCode code, std::string message) {
  failed({code, std::move(message)});
  errno = error_number;
  return nullptr;
}

void* or_out_of_memory(void* pointer, std::size_t bytes) {
  if (pointer != nullptr) return pointer;
  return failed_allocation(ENOMEM, ErrorCode::kOutOfMemory,
                           "the global heap of this node has no room for " + std::to_string(bytes) + " bytes");
}

}  // namespace

extern "C" {

const char* gallocy_error_message(void) { return last_error.message.c_str(); }
int gallocy_error_code(void) { return last_error.code; }
int gallocy_report(void) {
  std::fprintf(stderr, "gallocy: %s\n", last_error.message.c_str());
  return last_error.code;
}

gallocy_node* gallocy_join(const gallocy_options* options) {
  gallocy::NodeOptions wanted;
  if (options != nullptr) {
    wanted.memory_bytes = options->memory_bytes;
    if (options->fault_engine != nullptr) wanted.fault_engine = options->fault_engine;
    if (options->continue_on_peer_lost != 0) wanted.on_peer_lost = gallocy::OnPeerLost::kContinue;
  }
  auto node = gallocy::Node::join(std::move(wanted));
  if (!node) return failed(node.error()), nullptr;
  return new gallocy_node{std::move(*node)};
}

void gallocy_leave(gallocy_node* node) { delete node; }

unsigned gallocy_node_id(const gallocy_node* node) { return node->node->id(); }
unsigned gallocy_node_count(const gallocy_node* node) { return node->node->count(); }

void* gallocy_map(gallocy_node* node, const char* name, uint64_t bytes, gallocy_placement placement, unsigned on_node) {
  if (name == nullptr || static_cast<unsigned>(placement) > GALLOCY_BLOCKED) {
    return failed({ErrorCode::kInvalidArgument, "gallocy_map: no name, or no such placement"}), nullptr;
  }
  const gallocy::Placement where{static_cast<gallocy::Placement::Kind>(placement), on_node};
  const auto region = node->node->map({.name = name, .bytes = bytes, .placement = where});
  if (!region) return failed(region.error()), nullptr;
  return region->data();
}

void* gallocy_map_durable(gallocy_node* node, const char* name, uint64_t bytes, unsigned backups) {
  if (name == nullptr || backups == 0) {
    return failed({ErrorCode::kInvalidArgument, "gallocy_map_durable: no name, or no backups"}), nullptr;
  }
  const auto region = node->node->map({.name = name, .bytes = bytes, .durable_backups = backups});
  if (!region) return failed(region.error()), nullptr;
  return region->data();
}

gallocy_transaction* gallocy_begin(void) { return new gallocy_transaction; }
void gallocy_end(gallocy_transaction* transaction) { delete transaction; }

int gallocy_read(gallocy_transaction* transaction, const void* at, void* to, size_t bytes) {
  transaction->transaction.read(at, to, bytes);
  const auto so_far = transaction->transaction.so_far();
  return so_far ? GALLOCY_OK : failed(so_far.error());
}

int gallocy_write(gallocy_transaction* transaction, void* at, const void* from, size_t bytes) {
  transaction->transaction.write(at, from, bytes);
  return GALLOCY_OK;
}

int gallocy_commit(gallocy_transaction* transaction) {
  const auto done = transaction->transaction.commit();
  return done ? GALLOCY_OK : failed(done.error());
}

gallocy_commitment* gallocy_submit(gallocy_transaction* transaction) {
  return new gallocy_commitment{transaction->transaction.submit()};
}

int gallocy_wait_commit(gallocy_commitment* commitment) {
  const std::unique_ptr<gallocy_commitment> owned(commitment);
  const auto done = commitment->commitment.wait();
  return done ? GALLOCY_OK : failed(done.error());
}

gallocy_section* gallocy_enter(const gallocy_durable_lock* locks, size_t count, int* owner_died) {
  std::vector<gallocy::DurableLock> wanted;
  for (size_t i = 0; i < count; ++i) wanted.emplace_back(locks[i].start, locks[i].bytes);
  auto section = gallocy::Section::enter(wanted);
  if (!section) return failed(section.error()), nullptr;
  if (owner_died != nullptr) *owner_died = section->owner_died() ? 1 : 0;
  return new gallocy_section{std::move(*section)};
}

int gallocy_commit_section(gallocy_section* section) {
  const std::unique_ptr<gallocy_section> ends(section);
  const auto done = section->section.commit();
  return done ? GALLOCY_OK : failed(done.error());
}

void gallocy_roll_back(gallocy_section* section) { delete section; }

int gallocy_barrier(gallocy_node* node) {
  const auto met = node->node->barrier();
  return met ? GALLOCY_OK : failed(met.error());
}

void* gallocy_malloc(size_t bytes) { return or_out_of_memory(gallocy::allocate(bytes), bytes); }

void gallocy_free(void* pointer) { gallocy::deallocate(pointer); }

void* gallocy_calloc(size_t count, size_t bytes) {
  if (bytes != 0 && count > std::numeric_limits<size_t>::max() / bytes) {
    return or_out_of_memory(nullptr, std::numeric_limits<size_t>::max());
  }
  void* const pointer = gallocy_malloc(count * bytes);
  if (pointer != nullptr) std::memset(pointer, 0, count * bytes);
  return pointer;
}

void* gallocy_aligned_alloc(size_t alignment, size_t bytes) {
  if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > 4096) {
    return failed_allocation(EINVAL, ErrorCode::kInvalidArgument,
                             "alignment " + std::to_string(alignment) + ": a power of two up to 4096 is wanted");
  }
  return or_out_of_memory(gallocy::allocate(bytes, alignment), bytes);
}

void* gallocy_realloc(void* pointer, size_t bytes) {
  if (pointer == nullptr) return gallocy_malloc(bytes);
  const size_t usable = gallocy::usable_size(pointer);
  if (usable == 0) {
    return failed_allocation(EINVAL, ErrorCode::kInvalidArgument,
                             "gallocy_realloc: not an object of this node; only its own node knows its size");
  }
  // In place, unless more than half would be wasted.
  if (bytes <= usable && bytes >= usable / 2) return pointer;
  void* const moved = gallocy_malloc(bytes);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, pointer, bytes < usable ? bytes : usable);
  gallocy::deallocate(pointer);
  return moved;
}

size_t gallocy_usable_size(const void* pointer) { return gallocy::usable_size(pointer); }

}  // extern "C"
