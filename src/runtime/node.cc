// The public Node, heap and thread interface over the Runtime of this process.
#include "gallocy/node.h"

#include <cstdio>
#include <cstring>

#include "base/check.h"
#include "gallocy/thread.h"
#include "runtime/runtime.h"

namespace gallocy {
namespace {

std::atomic<Node*> joined{nullptr};

runtime::Runtime& the_runtime(const char* what) {
  Node* const node = joined.load(std::memory_order_acquire);
  if (node == nullptr) [[unlikely]] {
    die(static_cast<int>(ErrorCode::kInvalidArgument), fmt::format("gallocy: {} needs Node::join() first", what));
  }
  return node->runtime();
}

Result<> check_range(const void* start, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uint64_t>(start);
  if (in_window(address) && (bytes == 0 || in_window(address + bytes - 1))) return {};
  return fail(ErrorCode::kInvalidArgument, fmt::format("{} is not global memory", start));
}

}  // namespace

// ---------------------------------------------------------------------------------------------- Node

Result<std::unique_ptr<Node>> Node::join(NodeOptions options) {
  static std::atomic<bool> once{false};
  if (once.exchange(true))
    return fail(ErrorCode::kExists, "this process has joined already; a process is one node, once");
  GALLOCY_ASSIGN(auto runtime, runtime::Runtime::join(options));
  std::unique_ptr<Node> node(new Node(std::move(runtime)));
  joined.store(node.get(), std::memory_order_release);
  return node;
}

Node::Node(std::unique_ptr<runtime::Runtime> runtime) : runtime_(std::move(runtime)) {}

Node::~Node() {
  runtime_->threads().wait_for_running();  // they may still use Node::current()
  joined.store(nullptr, std::memory_order_release);
}

Node* Node::current() { return joined.load(std::memory_order_acquire); }
unsigned Node::id() const { return runtime_->self().value; }
unsigned Node::count() const { return runtime_->present_nodes(); }
Result<Region> Node::map(const RegionOptions& options) { return runtime_->regions().map(options); }
Result<Region> Node::attach(std::string_view name, std::chrono::milliseconds timeout) {
  return runtime_->regions().attach(name, timeout);
}
Result<> Node::barrier() {
  if (!runtime_->is_open()) return runtime_->sync().meet();
  return fail(ErrorCode::kUnsupported,
              "the nodes of this cluster come and go, so it has no barrier of all nodes: use a gallocy::barrier, which "
              "says how many it waits for");
}

Result<> Node::prefault(const void* start, std::size_t bytes, Access access) {
  GALLOCY_TRY(check_range(start, bytes));
  return runtime_->memory().prefault(reinterpret_cast<std::uint64_t>(start), bytes, access);
}

Result<> Node::pinned(const void* start, std::size_t bytes, Access access, const std::function<void()>& f) {
  GALLOCY_TRY(check_range(start, bytes));
  return runtime_->memory().pinned(reinterpret_cast<std::uint64_t>(start), bytes, access, f);
}

unsigned Node::home_of(const void* address) const {
  const NodeId home = runtime_->memory().home_of(reinterpret_cast<std::uint64_t>(address));
  return home == kNoNode ? runtime_->nodes() : home.value;
}

Statistics Node::statistics() const { return runtime_->statistics(); }
std::string Node::sharing_report(std::size_t most_pages) const { return runtime_->memory().sharing_report(most_pages); }

int report(const Error& error) {
  std::fprintf(stderr, "gallocy: %s\n", error.message.c_str());
  return exit_status(error);
}

// ---------------------------------------------------------------------------------------------- threads

namespace thread_detail {

Result<std::uint64_t> start(ThreadPlace place, Entry entry, const void* closure, std::size_t closure_bytes) {
  return the_runtime("a thread").threads().start(place, entry, {static_cast<const std::byte*>(closure), closure_bytes});
}

Result<> join(std::uint64_t thread, void* result, std::size_t result_bytes, Timeout timeout) {
  return the_runtime("join()").threads().join(thread, result, result_bytes, timeout);
}

void detach(std::uint64_t thread) { the_runtime("detach()").threads().detach(thread); }

void lost(const Error& error) { die(exit_status(error), "gallocy: " + error.message); }

std::uint64_t program_base() noexcept { return runtime::program_base(); }

}  // namespace thread_detail

thread::~thread() {
  if (joinable())
    die(static_cast<int>(ErrorCode::kInvalidArgument), "gallocy: a joinable gallocy::thread was destroyed");
}

thread& thread::operator=(thread&& other) noexcept {
  if (joinable()) {
    die(static_cast<int>(ErrorCode::kInvalidArgument), "gallocy: a joinable gallocy::thread was assigned to");
  }
  id_ = std::exchange(other.id_, 0);
  return *this;
}

void thread::adopt(Result<std::uint64_t> id) {
  if (!id) thread_detail::lost(id.error());
  id_ = *id;
}

void thread::join() {
  if (auto joined_thread = join_for(kForever); !joined_thread) thread_detail::lost(joined_thread.error());
}

Result<> thread::join_for(Timeout timeout) {
  auto done = thread_detail::join(id_, nullptr, 0, timeout);
  if (done || done.error().code != ErrorCode::kTimeout) id_ = 0;
  return done;
}

void thread::detach() { thread_detail::detach(std::exchange(id_, 0)); }

}  // namespace gallocy
