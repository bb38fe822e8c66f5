// Link: the connection to one peer. This base class keeps frames in order, holds what the peer does not take yet, and
// knows whether the peer is up; TcpLink and ShmLink move the bytes.
//
// Threads. send() and give_up(): any thread. receive(), over(): the poller. Lock order: a link's send_mu_ is a leaf; no
// sink is called under it.
//
// Life of a link: up; ending (nothing is sent any more, what the peer has sent is still delivered); over (peer_down was
// reported, or the mesh was closed).
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/ids.h"
#include "base/thread_annotations.h"
#include "net/frame_reader.h"
#include "net/mesh.h"
#include "net/outbox.h"
#include "net/transfer.h"
#include "os/mutex.h"
#include "wire/frame.h"

namespace gallocy::net {

// A thread that is not the poller waits while more than this is unsent: some thirty blocks, enough to keep a fast
// network busy while the poller does something else.
inline constexpr std::size_t kOutboxBytes = 8 << 20;
// The poller cannot wait for room, as its waiting would stop the peers that wait for it. What it owes a peer is bounded
// by the peer's outstanding requests; a peer that lets this much pile up has stopped to take data.
inline constexpr std::size_t kOutboxCapBytes = 64 << 20;

enum class Caller : std::uint8_t { kPoller, kOther };

// When the poller sends: frames that arrived together are answered together.
enum class Gather : std::uint8_t { kNo, kYes };

class Link {
 public:
  struct Setup {
    NodeId peer{};
    int epoll = -1;  // where the link's socket is waited for, with the Link* as its data
    std::chrono::milliseconds peer_timeout{};
    bool* more_follows = nullptr;  // see FrameReader
  };
  virtual ~Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  NodeId peer() const { return setup_.peer; }

  // With Gather::kYes a small frame is only queued; the poller calls flush() when it has delivered what was here.
  void send(const wire::FrameHeader& header, std::span<const std::byte> body, std::span<const iovec> payload,
            Caller caller, Gather gather) EXCLUDES(send_mu_);
  // Sends what waits, as far as the peer takes it.
  void flush() EXCLUDES(send_mu_);
  bool has_output() const { return has_output_.load(std::memory_order_relaxed); }
  // Ends a link from this side: nothing more is sent or read; the poller reports it.
  void give_up(const char* reason) EXCLUDES(send_mu_);

  // Puts the link into the epoll set. Once, before anything else; the poller only.
  virtual void enter_epoll() = 0;
  // Delivers what is here, up to one read. Returns whether there was anything.
  bool receive(FrameSink& sink);
  bool over() const { return over_; }
  // The link's descriptor in the epoll set is ready.
  virtual void on_event() {}
  // The poller is about to sleep on the epoll set: false if it may not, as something came that the set does not show.
  // And: it is awake again; true if a wake-up has been sent meanwhile, which the poller then takes back.
  virtual bool before_sleep() { return true; }
  virtual bool after_sleep() { return false; }
  // Ends the link without a report.
  void close_quietly() EXCLUDES(send_mu_);
  // Whether all that was written has left this machine.
  virtual bool delivered() const { return true; }

  // See Mesh. Any thread.
  virtual std::uint64_t unanswered_us() const { return 0; }

  Mesh::Counters counters() const;

 protected:
  explicit Link(const Setup& setup) : setup_(setup), reader_(setup.peer, *setup.more_follows) {}

  // Moves bytes of `pieces`, in order, without waiting. After bytes == 0 the link makes the poller's epoll set ready,
  // or is told by wants_output to do so, when there is room again. What is not taken is offered first the next time.
  virtual Transfer write_some(std::span<const iovec> pieces) REQUIRES(send_mu_) = 0;
  // Reads once into reader_, without waiting.
  virtual Transfer read_some(FrameSink& sink) = 0;
  // Whether output waits for room from now on.
  virtual void wants_output(bool) REQUIRES(send_mu_) {}
  // Makes both ends see the end of the connection, which wakes both pollers. May be called twice.
  virtual void hang_up() REQUIRES(send_mu_) = 0;
  // Takes the link out of the epoll set. The poller only.
  virtual void leave_epoll() = 0;

  const Setup setup_;
  FrameReader reader_;  // the poller's

 private:
  // A frame that is gathered is copied; above this size the copy costs more than a system call.
  static constexpr std::size_t kGatherBytes = 16 << 10;

  void wait_for_room() REQUIRES(send_mu_);
  void write_or_queue(std::span<const iovec> pieces) REQUIRES(send_mu_);
  void flush_locked() REQUIRES(send_mu_);
  void output_changed() REQUIRES(send_mu_);
  void note_write(const Transfer& transfer) REQUIRES(send_mu_);
  void end_locked(const char* reason) REQUIRES(send_mu_);
  void finish(const char* reason, FrameSink& sink) EXCLUDES(send_mu_);
  bool is_stuck() const REQUIRES(send_mu_);

  // Poller only.
  bool over_ = false;

  os::Mutex send_mu_;
  Outbox outbox_ GUARDED_BY(send_mu_);
  unsigned waiting_senders_ GUARDED_BY(send_mu_) = 0;
  bool blocked_ GUARDED_BY(send_mu_) = false;               // the peer takes nothing now
  std::int64_t last_progress_ns_ GUARDED_BY(send_mu_) = 0;  // when output began to wait, or some of it left
  const char* end_reason_ GUARDED_BY(send_mu_) = nullptr;   // set: nothing is sent any more
  std::atomic<bool> has_output_{false};                     // the outbox is not empty
  std::atomic<bool> gave_up_{false};                        // the poller reports it without reading on
  std::atomic<std::uint32_t> room_made_{0};                 // raised when waiting senders should look again
  std::atomic<std::uint64_t> frames_sent_{0}, bytes_sent_{0}, frames_received_{0}, bytes_received_{0};
};

}  // namespace gallocy::net
