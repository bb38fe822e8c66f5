// Process: one node's part of a program that `gallocy run` executes as a single process on all nodes.
//
// Every node maps the guest window, a region of coherent memory in which the whole program lives: its segments, its
// libraries, heaps and stacks. Node 0, the home, runs the program's first thread and owns everything the kernel keeps
// for a process: files, sockets, children, the address space's map, futex queues. Threads run anywhere. A system call
// of a guest thread is served (process_calls.cc) on the spot where it concerns only the thread, and otherwise at the
// home: a thread of another node sends it there, where a proxy thread makes it on its behalf.
//
// Threads: all functions are called by guest threads inside the runtime (signals blocked), by proxies, or by the poller
// where that is said. No lock here is held while the program's memory is touched, but space_mu_, which only mmap and
// its family take.
#pragma once

#include <setjmp.h>
#include <sys/resource.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "os/clock.h"
#include "personality/address_space.h"
#include "personality/affinity.h"
#include "personality/backtrace.h"
#include "personality/call.h"
#include "personality/call_table.h"
#include "personality/descriptors.h"
#include "personality/elf_image.h"
#include "personality/file_pages.h"
#include "personality/file_task.h"
#include "personality/futex_table.h"
#include "personality/gathering.h"
#include "personality/guest_entry.h"
#include "personality/held_locks.h"
#include "personality/machine_view.h"
#include "personality/mapped_files.h"
#include "personality/memory_policy.h"
#include "personality/moved_thread.h"
#include "personality/object_map.h"
#include "personality/page_limits.h"
#include "personality/patched_sites.h"
#include "personality/processor_features.h"
#include "personality/proxies.h"
#include "personality/questions.h"
#include "personality/signal_frame.h"
#include "personality/task_texts.h"
#include "personality/thread_places.h"
#include "personality/thread_traces.h"
#include "personality/timers.h"
#include "personality/trace_ring.h"
#include "runtime/runtime.h"
#include "wire/guest.h"

namespace gallocy::personality {

inline constexpr NodeId kHome{0};
inline constexpr std::uint64_t kOutsideBytes = std::uint64_t{4} << 30;  // the largest executable with fixed addresses
inline constexpr int kTidNodeShift = 22;  // guest tid: node << 22 | the kernel's tid; fits a futex word's 30 bits

struct ProcessOptions {
  std::string place;              // of new threads (thread_places.h)
  bool report = false;            // say at the end what was done where
  rlimit descriptors{};           // RLIMIT_NOFILE as this process was started with
  std::string trace_file;         // empty: no trace
  Backtrace backtrace = nullptr;  // to be shown of a thread that ends the program
  bool trace_calls = false;       // each system call on standard error, to find out what a program needs
};

// What a node has noted, for the home to ask for at the end.
enum class Records : std::uint64_t { kReport, kTrace };

// Memory that goes along with a call in one message, each way; frames have a limit (wire/frame.h).
inline constexpr std::size_t kMostTravelling = 128 << 10;

// What a process of one node has used.
struct NodeUsage {
  rusage resources{};
  std::int64_t processor_ns = 0;
  std::uint64_t resident_bytes = 0;  // of the program's memory
};

// A path below /proc/self.
struct OwnFile {
  int guest_tid = 0;  // of /proc/self/task/TID; 0: the process
  std::string name;   // what follows
};

// What execve is given.
struct ProgramCall {
  std::string path;
  std::vector<std::string> arguments, environment;
};

// Nothing if a pointer leads nowhere.
std::optional<ProgramCall> program_of(const Call& call);

// What a thread needs to begin.
struct ThreadStart {
  GuestRegisters registers;
  std::uint64_t mask = 0;
  std::uint64_t parent_tid = 0, child_tid = 0, clear_tid = 0;  // addresses, or 0
  int guest_tid = 0;                                           // 0: a new one
  NodeId belongs_on = kNoNode;                                 // kNoNode: where it begins
  ProcessorMask affinity;
};

// What a node tells of itself before the program begins.
struct Introduction {
  std::uint32_t processors = 1;
  bool can_hide = false;                 // features of its processor
  std::uint64_t signal_stack_bytes = 0;  // AT_MINSIGSTKSZ
  std::uint64_t state_layout = 0;        // of its processor's vector registers in a signal frame
  FeatureSet features;
};

// What follows from all of these; the nodes' numbers of processors go with it.
struct Agreement {
  FeatureSet features;        // that all nodes have
  bool threads_move = false;  // their frames can be exchanged
};

// A signal that ends the program.
struct Crash {
  PendingSignal signal;
  int guest_tid = 0;
  NodeId node{};
  GuestRegisters registers;
};

class Process final : private GuestHandler, private ImageTarget {
 public:
  Process(runtime::Runtime& runtime, const ProcessOptions& options);

  Result<> prepare();
  // Node 0: becomes the program's first thread.
  Result<> run(const std::string& path, std::vector<std::string> arguments);
  // Other nodes: until the program has ended.
  [[noreturn]] void serve();

 private:
  // GuestHandler
  void system_call(GuestThread& thread, int number, ucontext_t& context) override;
  void signal(GuestThread* thread, int number, siginfo_t& info, ucontext_t& context, bool in_guest) override;

  // ImageTarget
  long map(std::uint64_t address, std::uint64_t bytes, int protection, int flags, int fd, std::uint64_t offset,
           const std::string& name) override;
  bool allow_range(std::uint64_t begin, std::uint64_t end) override;
  bool write(std::uint64_t to, const void* from, std::size_t bytes) override;
  bool zero(std::uint64_t to, std::size_t bytes) override;

  // process_memory.cc, for others
  static os::Protection limit_of(int protection);

  // process_calls.cc: which part serves a call
  static bool needs_frame(long number);
  bool is_repeated(GuestThread& thread, long number);
  long serve(GuestThread& thread, const Call& call, ucontext_t& context);
  long serve_with_frame(GuestThread& thread, const Call& call, ucontext_t& context);
  long send_home(GuestThread& thread, const Call& call);
  long serve_plain(GuestThread& thread, const Call& call);
  long serve_at_home(GuestThread* thread, const Call& call);  // on a guest thread or a proxy

  // process_patches.cc: system calls without a trap
  void patched_call(GuestThread& thread, PatchedFrame& frame) override;
  void leave_patched_call(GuestThread& thread, ucontext_t& context);
  void queue_deferred(GuestThread& thread);
  void count_trap(std::uint64_t call_at, long number);
  void patch(std::uint64_t call_at, long number);
  void write_site(std::uint64_t begin, std::uint64_t before, std::uint64_t after);
  long slot_for(const PatchedSite& site);  // at the home, the poller too
  PatchedSite site_of(std::uint32_t slot);

  // process_kernel.cc: passing calls on to the kernel
  long pass_on(GuestThread* thread, const Call& call, const CallSpec& spec);
  long kernel(GuestThread* thread, const CallSpec& spec, const Call& call);
  static bool is_vector_call(long number);
  long vectors(GuestThread* thread, const Call& call);
  long messages(GuestThread* thread, const Call& call);
  long many_messages(GuestThread* thread, const Call& call);
  long socket_address(GuestThread* thread, const Call& call);
  long device_control(GuestThread* thread, const Call& call);
  long descriptor_control(GuestThread* thread, const Call& call);
  long select_with_mask(GuestThread* thread, const Call& call);

  // process_data_calls.cc: calls of other nodes' threads that take their memory along
  long with_pipe_signal(GuestThread& thread, const Call& call, long result);
  static bool names_descriptor(long number);
  static std::size_t bytes_of(const PointerArgument& p, const Call& call);
  static bool travels_with_data(const Call& call, const CallSpec& spec);
  long send_with_data(GuestThread& thread, const Call& original, const Call& call, const CallSpec& spec,
                      std::array<std::vector<std::byte>, 4>& buffers);
  long serve_with_data(GuestThread& thread, const Call& call, std::span<const std::byte> data,
                       std::vector<std::byte>& answer);

  // process_view.cc
  MachineView& machine();
  std::string view_directory() const;
  std::string file_to_use(std::string path);
  long open_own(const GuestThread* thread, const Call& call);
  long read_own_link(const Call& call);
  long system_information(const Call& call);

  // process_features.cc
  Introduction introduce() const;
  void agree();
  bool agree_to(std::span<const std::byte> message);
  void hide_features() const;
  void show_features() const;
  bool answer_cpuid(const siginfo_t& info, ucontext_t& context) const;
  std::vector<std::string> environment_for(std::vector<std::string> environment) const;
  std::string lacks_text(NodeId node);

  // process_policy.cc
  long policy_call(const GuestThread* thread, const Call& call);
  void set_policy(int guest_tid, const MemoryPolicy& policy);
  MemoryPolicy policy(int guest_tid);
  void forget_policy(int guest_tid);
  long policy_of(int guest_tid, const Call& call);
  long move_pages(int guest_tid, const Call& call);
  bool is_mapped(std::uint64_t begin, std::uint64_t end);
  void give_homes(std::uint64_t begin, std::uint64_t end, const MemoryPolicy& policy, bool moves_pages);
  std::optional<MemoryPolicy> policy_sent(std::span<const std::byte> list) const;
  bool give_homes_here(std::uint64_t begin, std::uint64_t end, const MemoryPolicy& policy);
  void take_homes_here(std::uint64_t begin, std::uint64_t end, const MemoryPolicy& policy, bool moves_pages);
  NodeId home_of_page(int guest_tid, std::uint64_t address);
  void place_new_memory(const GuestThread* thread, const Call& call, long result);

  // process_affinity.cc
  void number_processors(const std::vector<std::uint32_t>& counts);
  NodeId place_thread(const GuestThread& parent, NodeId& belongs_on);
  ProcessorMask affinity_set(int guest_tid);
  long affinity_call(const GuestThread& thread, const Call& call);
  long affinity_of(int guest_tid, bool sets, ProcessorMask& mask);
  long affinity_here(int guest_tid, bool sets, ProcessorMask& mask);
  AllowedFacts allowed_facts(int guest_tid);
  long present_processor(const Call& call);

  // process_tasks.cc: at the home, but tasks_here and thread_name
  std::optional<OwnFile> own_proc_file(std::string_view path) const;
  std::vector<TaskFacts> tasks_here();
  std::vector<TaskFacts> tasks();
  ProcessFacts process_facts(std::size_t threads);
  std::optional<std::string> own_text(const OwnFile& file);
  std::string name_file(int guest_tid);
  std::string write_own_directory(const OwnFile& file);
  std::optional<std::string> own_file_to_use(const OwnFile& file);
  void name_program(const std::string& path);
  long thread_name(GuestThread& thread, const Call& call);
  static long proxy_name(const Call& call);
  long name_proxy(const GuestThread& thread, const char (&name)[16]);

  // process_usage.cc
  NodeUsage usage_here();
  NodeUsage usage_of_all();
  long usage_call(GuestThread& thread, const Call& call);
  long process_times(const Call& call);
  std::int64_t processor_time(const GuestThread& thread, long clock);
  std::int64_t thread_time_here(int guest_tid, long clock);
  static std::int64_t kernel_thread_time(int tid, long clock);

  // process_memory.cc: at the home
  long memory_call(const Call& call);
  long residency(const Call& call);
  void carry_out(const Changes& changes);
  bool place_outside(std::uint64_t low, std::uint64_t window, std::uint64_t bytes);
  bool change_here(const wire::GuestRequest& request);
  void leave_huge_pages_to_program();
  void protect_everywhere(std::uint64_t begin, std::uint64_t end, int protection);
  void discard_everywhere(std::uint64_t begin, std::uint64_t end, const FilePart* unread = nullptr);
  void move_bytes(std::uint64_t begin, std::uint64_t end, std::uint64_t to);
  void freeze_elsewhere(std::uint64_t begin, std::uint64_t end);

  // process_mappings.cc: at the home
  long map_file(const Call& call);
  void release_file(int file);
  void reload(const FilePart& part);
  int map_in_kernel(const FilePart& part);
  bool move_in_kernel(std::uint64_t begin, std::uint64_t end, std::uint64_t to);
  void end_kernel_mappings(std::uint64_t begin, std::uint64_t end);
  void write_back(const Change& change);
  void write_back_all();

  // process_common.cc
  enum class Bytes : std::uint8_t { kInFile, kInPages };
  void close_to_others(std::uint64_t begin, std::uint64_t end);
  int make_common(const FilePart& part, Bytes bytes);
  void write_pages(const FilePart& part);
  void end_common(std::uint64_t begin, std::uint64_t end);
  bool move_common(std::uint64_t begin, std::uint64_t end, std::uint64_t to);
  void share_with_child();
  bool may_be_common(int file);
  bool joins_alias(const FilePart& part);
  int nameless_file(std::uint64_t bytes);
  bool touched_common(GuestThread* thread, ucontext_t& context, bool in_guest);
  bool visit_home(GuestThread& thread, ucontext_t& context);
  void copy_for(NodeId node, const wire::GuestRequest& request, std::span<const std::byte> bytes);
  void send_visitors_back();

  // process_file_pages.cc
  bool read_touched(std::uint64_t address, bool view_would_do);
  std::uint64_t read_part(const FileTask& task);
  int reach_file(const FileTask& task);
  void forget_file(int file);
  std::vector<std::byte> contents_from_home(const FilePart& part);
  void send_file_bytes(NodeId to, std::uint64_t ticket, int file, std::uint64_t offset, std::size_t bytes);
  void touch_file_page(NodeId node, std::uint64_t ticket, std::uint64_t address, bool view_would_do);
  void file_part_done(NodeId node, const wire::GuestRequest& request);
  void answer_file_waiters() REQUIRES(file_pages_mu_);
  void close_file_pages(std::uint64_t begin, std::uint64_t end);
  void open_file_pages(std::uint64_t begin, std::uint64_t end);
  void remove_file_pages(std::uint64_t begin, std::uint64_t end);
  void replace_file_pages(const FilePart& part);
  void leave_unread(const FilePart& part);
  std::vector<FilePart> unread_parts(std::uint64_t begin, std::uint64_t end);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> read_ranges(std::uint64_t begin, std::uint64_t end);
  void read_all(std::uint64_t begin, std::uint64_t end);

  // process_file_views.cc
  bool is_viewable(const FilePart& part) const;
  std::uint64_t view_part(const FileTask& task);
  void end_view(std::uint64_t begin, std::uint64_t end);
  void end_views(std::uint64_t begin, std::uint64_t end, std::span<const NodeId> viewers);

  // process_threads.cc
  long clone(GuestThread& thread, const Call& call, const ucontext_t& context);
  long fork_anywhere(const ThreadStart& start, bool waits);
  long start_thread(NodeId node, const ThreadStart& start);
  long start_thread_here(const ThreadStart& start);
  long make_thread(std::function<void(struct StartReport&)> body);
  static void report_start(StartReport& report, long result);
  void run_thread(const ThreadStart& start, StartReport& report);
  [[noreturn]] void end_thread(GuestThread& thread);
  [[noreturn]] void end_thread_quietly(GuestThread& thread);
  void delist(GuestThread& thread);
  void withdraw(GuestThread& thread);
  void thread_ended(int guest_tid);
  bool end_other_threads(int guest_tid);
  bool end_threads_here(int but_guest_tid);
  void enlist(GuestThread& thread, std::uint64_t stack);
  void release_robust_locks(GuestThread& thread);
  [[noreturn]] void exit_process(int status);
  [[noreturn]] void leave(int status);
  void finish();

  // process_moves.cc
  struct Parked;
  static NodeId origin_of(int guest_tid);
  long ask_about_thread(int guest_tid, wire::GuestRequest& request, std::span<const std::byte> trailing,
                        const std::function<long()>& here, std::vector<std::byte>* answer = nullptr);
  long found_here(int guest_tid, long result);
  bool is_movable(const GuestThread& thread, const ucontext_t& context) const;
  bool is_of_node(const ucontext_t& context) const;
  bool move_if_asked(GuestThread& thread, ucontext_t& context);
  bool hold_threads(bool hold);
  bool hold_all_threads(bool hold);
  void come_back(GuestThread& thread, const MovedThread& moved);
  long receive_thread(NodeId from, std::vector<std::byte> bytes);
  void run_moved_thread(NodeId from, const std::vector<std::byte>& bytes, StartReport& report);
  bool unpark(int guest_tid, std::vector<std::byte> thread);
  void note_away(int guest_tid, NodeId node);

  // process_gathering.cc
  void note_threads_elsewhere();
  bool may_gather() const;
  [[noreturn]] void watch_sharing();
  [[noreturn]] void shuffle_places(long period_ns);
  void tell_places(const Gathering::Places& places);
  SharingTotals sharing_of(NodeId node);
  ThreadTimes times_of(const GuestThread& thread, std::int64_t now_ns) const;
  std::vector<std::byte> sharing_record();
  bool take_places(std::span<const std::byte> places);

  // process_helpers.cc
  void move_helpers();

  // process_children.cc: at the home
  // What the child maps from files itself.
  struct ChildMapping {
    FilePart part;
    int descriptor = -1, protection = 0, flags = 0;
  };
  std::vector<ChildMapping> mappings_of_child();
  long fork_process(const ThreadStart& start, bool waits);
  long lend_memory(GuestThread& thread, const ThreadStart& start);
  long serve_borrower(GuestThread& thread, const Call& call, ucontext_t& context);
  bool copy_memory_to_child(int file, std::uint64_t file_begin, const std::vector<ChildMapping>& mappings);
  void fetch_memory();
  [[noreturn]] void become_child(const ThreadStart& start);

  // process_execute.cc
  long execute(GuestThread& thread, const Call& call, ucontext_t& context);
  long execute_at_home(const GuestThread& proxy, const Call& call);
  bool make_way(int guest_tid);
  void forget_handlers();
  Result<> load_image(const std::string& path, std::vector<std::string> arguments,
                      const std::vector<std::string>& environment, GuestRegisters& registers);
  GuestRegisters replace_program(ProgramCall program);

  // process_signals.cc
  long signal_call(GuestThread& thread, const Call& call, ucontext_t& context);
  std::uint64_t pending_at_home();
  long wait_for_signal(GuestThread& thread, const Call& call);
  long wait_in_kernel(GuestThread& thread, const Call& call);
  long set_action(const Call& call);
  void publish_action(int number, const GuestAction& action);
  long send_to_thread(int guest_tid, int number, const siginfo_t& info);
  void send_of_timer(int guest_tid, siginfo_t& info);
  long deliver_here(int guest_tid, const PendingSignal& signal);
  void queue(GuestThread& thread, const PendingSignal& signal);
  void interrupt_at_home(const GuestThread& thread);
  static void note_pending(GuestThread& thread);
  void deliver_pending(GuestThread& thread, ucontext_t& context);
  void deliver(GuestThread& thread, const PendingSignal& signal, ucontext_t& context);
  bool restarts(GuestThread& thread);
  GuestAction action(int number);

  // process_crash.cc
  [[noreturn]] void die_of(GuestThread& thread, const PendingSignal& signal, const ucontext_t& context);
  [[noreturn]] void end_by(const Crash& crash);
  bool catches_end(int number) const;
  void catch_ends();
  void describe(const Crash& crash);
  [[noreturn]] static void end_by_signal(int number);

  // process_unclaimed.cc
  [[noreturn]] void watch_unclaimed();
  void hand_over(int number);
  int taker_here(int number);
  GuestAction take_action(int number);
  void stop_process();

  // process_futex.cc
  long futex(GuestThread& thread, const Call& call);
  bool is_kernels_futex(const Call& call) const;
  static long futex_in_kernel(GuestThread& thread, const Call& call);
  long futex_wait(GuestThread& thread, std::uint64_t address, std::uint32_t value, std::uint32_t bits,
                  std::int64_t deadline_ns);
  long lock_owned(GuestThread& thread, std::uint64_t address, std::int64_t deadline_ns);
  long unlock_owned(GuestThread& thread, std::uint64_t address);
  long futex_at_home(NodeId from, const std::uint64_t (&words)[8]);
  long futex_request(wire::GuestRequest& request);
  void wake(const FutexWaiter& waiter);
  void wake_here(std::uint64_t ticket);
  long wake_address(std::uint64_t address, std::uint32_t most);
  void wake_range(std::uint64_t begin, std::uint64_t end);
  void let_held_pages_go(GuestThread& thread);
  void hold_pages_again(GuestThread& thread);
  long let_page_go(std::uint64_t page);  // kReleaseCall

  // process_records.cc
  std::vector<std::byte> records_here(Records which);
  std::vector<std::byte> records_of(NodeId node, Records which);
  void reply_with_records(NodeId node, std::uint64_t ticket, Records which, std::uint64_t offset);
  ObjectMap object_map(const std::vector<StackPlace>& stacks);

  // process_report.cc
  std::vector<std::byte> report_records();
  void report();
  std::uint64_t program_address(std::uint64_t window_address) const;

  // process_trace.cc
  Result<> open_trace();
  static std::int64_t trace_time(const GuestThread& thread) { return thread.trace == nullptr ? 0 : os::monotonic_ns(); }
  void trace_call(GuestThread& thread, const Call& call, long result, std::int64_t begin_ns) const;
  static void serve_fault(const struct sigaction& engine, GuestThread* thread, int number, siginfo_t& info,
                          ucontext_t& context, bool write);
  void finish_trace();

  // process_messages.cc
  bool message(NodeId from, wire::MessageType type, std::span<const std::byte> body,
               std::span<const std::byte> payload);
  bool request(NodeId from, const wire::GuestRequest& request, std::span<const std::byte> trailing);
  void reply_about_thread(NodeId node, const wire::GuestRequest& request, long result,
                          std::span<const std::byte> answer = {});
  static wire::GuestRequest request_for(wire::GuestRequestKind kind, const GuestThread& thread, const Call& call);
  static Call call_in(const wire::GuestRequest& request);
  long ask_home(GuestThread& thread, wire::GuestRequest& request, std::span<const std::byte> data = {},
                std::vector<std::byte>* answer = nullptr);
  NodeId node_of_caller(int guest_tid);

  // Whether there is something to say when the program ends.
  bool looks_inside() const { return options_.report || !options_.trace_file.empty() || options_.backtrace != nullptr; }
  bool is_home() const { return self_ == kHome; }
  // Of this process, or of one of its threads on another node.
  bool is_own_id(long id) const { return id == 0 || id == home_pid_ || id >> kTidNodeShift != 0; }
  bool in_guest(std::uint64_t address) const {
    return address - begin_ < end_ - begin_ || address - low_begin_ < low_end_ - low_begin_;
  }

  runtime::Runtime& runtime_;
  const ProcessOptions options_;
  const NodeId self_;
  const std::uint16_t nodes_;
  std::uint64_t begin_ = 0, end_ = 0;          // the guest window
  std::uint64_t low_begin_ = 0, low_end_ = 0;  // of an executable with fixed addresses
  int home_pid_ = 0;
  PageLimits limits_;
  os::Mutex reached_mu_;
  std::map<int, int> reached_ GUARDED_BY(reached_mu_);  // the home's mapped files: our descriptor, or -1
  std::atomic<bool> can_view_{true};                    // no file so far was out of reach
  struct sigaction bus_action_ {
  }, segv_action_{};  // of the fault engine

  // The home's.
  std::mutex space_mu_;
  std::unique_ptr<AddressSpace> space_;
  // What the kernel maps itself: on one node all that is of a file, on several what is common.
  IntervalMap<bool> in_kernel_{false};
  os::Mutex common_mu_;           // while pages become common
  std::set<int> common_files_;    // all mappings of these are
  std::set<int> nameless_files_;  // of shared memory without a file
  Descriptors descriptors_;
  MappedFiles files_{descriptors_};
  HeldLocks held_locks_;
  // Who waits until a page can be touched, or until nobody reads pages that it closes.
  struct FileWaiter {
    NodeId node;
    std::uint64_t ticket = 0, begin = 0, end = 0;
    bool closes = false;
  };
  os::Mutex file_pages_mu_;  // taken before that of limits_
  FilePages file_pages_ GUARDED_BY(file_pages_mu_);
  std::vector<FileWaiter> file_waiters_ GUARDED_BY(file_pages_mu_);
  std::mutex futex_mu_;
  FutexTable futexes_;
  std::once_flag watching_;
  std::atomic<bool> threads_elsewhere_{false};  // ever

  Timers timers_;
  Proxies proxies_;

  os::Mutex threads_mu_;                                                   // taken with signals blocked
  std::unordered_map<int, GuestThread*> threads_ GUARDED_BY(threads_mu_);  // of this node, by guest tid
  struct Away {
    NodeId node;
    Parked* parked;
  };
  std::unordered_map<int, Away> away_ GUARDED_BY(threads_mu_);  // threads that began here and are elsewhere
  unsigned leaving_ GUARDED_BY(threads_mu_) = 0;       // threads on their way to another node, or to this one's list
  bool threads_stay_ GUARDED_BY(threads_mu_) = false;  // none may begin to leave
  // Of threads that are not here any more.
  std::int64_t active_ns_ GUARDED_BY(threads_mu_) = 0, processor_ns_ GUARDED_BY(threads_mu_) = 0;
  std::array<std::atomic<NodeId::value_type>, kMaxNodes> runs_on_{};  // where threads that belong on a node run

  std::atomic<bool> patching_{false};
  os::Mutex patches_mu_;
  std::unordered_map<std::uint64_t, std::uint32_t> traps_ GUARDED_BY(patches_mu_);  // by the call's address
  PatchedSites sites_ GUARDED_BY(patches_mu_);                                      // of the home

  os::Mutex actions_mu_;
  GuestAction actions_[65] GUARDED_BY(actions_mu_);

  // Sleepers of this node, by ticket.
  struct Sleep {
    std::atomic<std::uint32_t> woken{0};
    runtime::WaitFlag flag;
  };
  os::Mutex sleeps_mu_;
  std::unordered_map<std::uint64_t, Sleep*> sleeps_ GUARDED_BY(sleeps_mu_);

  Questions questions_;

  std::atomic<std::uint64_t> threads_started_{0}, threads_moved_{0};
  std::vector<StackPlace> stacks_ GUARDED_BY(threads_mu_);  // of threads that began here, for the report
  ThreadTraces traces_;
  int trace_fd_ = -1;  // of the home
  std::mutex records_mu_;
  std::vector<std::byte> records_;                           // that the home is asking for, piece by piece
  std::array<std::atomic<std::uint32_t>, 512> forwarded_{};  // by number

  std::mutex view_mu_;
  std::unique_ptr<MachineView> view_;  // made at first use
  bool view_written_ = false;
  std::string program_path_, program_name_;
  std::mutex own_view_mu_;
  std::vector<std::string> program_arguments_;
  os::Mutex policies_mu_;
  std::unordered_map<int, MemoryPolicy> policies_ GUARDED_BY(policies_mu_);  // of the home, by guest tid
  std::atomic<bool> any_policy_{false};
  std::atomic<std::uint64_t> brk_placed_{0};  // the heap below it has its homes
  os::Mutex introductions_mu_;
  std::vector<Introduction> introductions_ GUARDED_BY(introductions_mu_);  // of the home, by node
  // Constant once the program runs.
  FeatureSet hidden_features_, hidden_by_tunables_;
  bool threads_move_ = false;
  bool hides_features_ = false;
  std::uint64_t signal_stack_bytes_ = 0;  // of the node that needs most
  ProcessorNumbers numbers_{{1}};
  ThreadPlaces places_;
  std::unordered_map<int, ProcessorMask> affinities_
      GUARDED_BY(threads_mu_);  // of this node, by guest tid; others: all

  std::atomic<bool> ending_{false};
};

// The command behind `gallocy run`, on each node: joins the cluster and runs or serves the program; the exit status if
// that did not come about.
int run_guest(const std::vector<std::string>& arguments, Backtrace backtrace);

}  // namespace gallocy::personality
