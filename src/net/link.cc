#include "net/link.h"

#include <array>

#include "base/check.h"
#include "os/clock.h"
#include "os/futex.h"

namespace gallocy::net {
namespace {

constexpr const char* kTakesNoData = "does not take data";
constexpr std::size_t kMaxPayloadPieces = 64;
// Waiting senders look for themselves this often, so that they depend on no poller.
constexpr std::int64_t kRoomCheckNs = 2'000'000;

void count(std::atomic<std::uint64_t>& counter, std::uint64_t more) {  // one writer at a time: no locked instruction
  counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

}  // namespace

void Link::send(const wire::FrameHeader& header, std::span<const std::byte> body, std::span<const iovec> payload,
                Caller caller, Gather gather) {
  CHECK(body.size() == header.body_bytes && body.size() <= wire::kMaxBodyBytes, body.size(), header.body_bytes);
  CHECK(payload.size() <= kMaxPayloadPieces, payload.size());
  std::array<iovec, 2 + kMaxPayloadPieces> pieces;
  std::size_t used = 0, total = sizeof header + body.size();
  pieces[used++] = {const_cast<wire::FrameHeader*>(&header), sizeof header};
  if (!body.empty()) pieces[used++] = {const_cast<std::byte*>(body.data()), body.size()};
  for (const iovec& piece : payload) {
    total += piece.iov_len;
    if (piece.iov_len > 0) pieces[used++] = piece;
  }
  CHECK(total == sizeof header + body.size() + header.payload_bytes && header.payload_bytes <= wire::kMaxPayloadBytes,
        total, header.payload_bytes);

  os::MutexLock lock(send_mu_);
  if (caller == Caller::kOther) wait_for_room();
  if (end_reason_) return;
  count(frames_sent_, 1);
  count(bytes_sent_, total);
  if (gather == Gather::kYes && total <= kGatherBytes) {
    outbox_.append({pieces.data(), used}, 0);
  } else {
    write_or_queue({pieces.data(), used});
  }
  if (outbox_.bytes() > kOutboxCapBytes) end_locked(kTakesNoData);
  output_changed();
}

// Called with the lock held, which it gives up while it sleeps.
void Link::wait_for_room() {
  while (!end_reason_ && outbox_.bytes() > kOutboxBytes) {
    const std::uint32_t seen = room_made_.load(std::memory_order_relaxed);
    ++waiting_senders_;
    send_mu_.unlock();
    os::futex_wait(room_made_, seen, os::FutexScope::kPrivate, os::monotonic_ns() + kRoomCheckNs);
    send_mu_.lock();
    --waiting_senders_;
    flush_locked();
  }
}

void Link::write_or_queue(std::span<const iovec> pieces) {
  if (!outbox_.empty() && !blocked_) flush_locked();
  std::size_t written = 0;
  if (outbox_.empty() && !end_reason_) {
    const Transfer transfer = write_some(pieces);
    written = transfer.bytes;
    note_write(transfer);
  }
  if (!end_reason_) outbox_.append(pieces, written);
  // A partial write says that the peer is full; asking again sets up the wake-up for when it is not.
  if (!outbox_.empty() && !blocked_) flush_locked();
}

void Link::flush() {
  if (!has_output()) return;
  os::MutexLock lock(send_mu_);
  flush_locked();
}

void Link::flush_locked() {
  std::array<iovec, kMaxPayloadPieces> pieces;
  while (!outbox_.empty() && !end_reason_) {
    const Transfer transfer = write_some({pieces.data(), outbox_.gather(pieces)});
    outbox_.pop(transfer.bytes);
    note_write(transfer);
    if (transfer.bytes > 0) continue;
    if (!blocked_ && !end_reason_) {
      blocked_ = true;
      last_progress_ns_ = os::monotonic_ns();
      wants_output(true);
    } else if (is_stuck()) {
      end_locked(kTakesNoData);
    }
    break;
  }
  if (outbox_.empty() && blocked_) {
    blocked_ = false;
    if (!end_reason_) wants_output(false);
  }
  output_changed();
}

void Link::note_write(const Transfer& transfer) {
  if (transfer.bytes > 0 && blocked_) last_progress_ns_ = os::monotonic_ns();
  if (transfer.ended && !end_reason_) {
    // Not given up: what the peer sent before it went away is still to be delivered.
    end_reason_ = transfer.ended;
    outbox_.clear();
    hang_up();
  }
}

// Tells the poller and waiting senders what the outbox holds now.
void Link::output_changed() {
  if (has_output() != !outbox_.empty()) has_output_.store(!outbox_.empty(), std::memory_order_relaxed);
  if (waiting_senders_ > 0 && outbox_.bytes() <= kOutboxBytes) {
    room_made_.fetch_add(1, std::memory_order_relaxed);
    os::futex_wake(room_made_, os::kAllSleepers, os::FutexScope::kPrivate);
  }
}

bool Link::is_stuck() const {
  return blocked_ && os::monotonic_ns() - last_progress_ns_ > std::chrono::nanoseconds(setup_.peer_timeout).count();
}

void Link::end_locked(const char* reason) {
  if (!end_reason_) end_reason_ = reason;
  outbox_.clear();
  gave_up_.store(true, std::memory_order_relaxed);
  hang_up();
}

void Link::give_up(const char* reason) {
  os::MutexLock lock(send_mu_);
  end_locked(reason);
  output_changed();
}

bool Link::receive(FrameSink& sink) {
  if (over_) return false;
  flush();
  if (gave_up_.load(std::memory_order_relaxed)) {
    finish(kTakesNoData, sink);
    return true;
  }
  const Transfer transfer = read_some(sink);
  if (transfer.bytes > 0) {
    count(bytes_received_, transfer.bytes);
    frames_received_.store(reader_.frames(), std::memory_order_relaxed);
  }
  if (transfer.ended) finish(transfer.ended, sink);
  return transfer.bytes > 0 || transfer.ended;
}

void Link::finish(const char* reason, FrameSink& sink) {
  over_ = true;
  {
    os::MutexLock lock(send_mu_);
    end_locked(reason);
    output_changed();
    reason = end_reason_;
  }
  leave_epoll();
  sink.peer_down(peer(), reason);
}

void Link::close_quietly() {
  over_ = true;
  give_up("closed");
  leave_epoll();
}

Mesh::Counters Link::counters() const {
  return {frames_sent_.load(std::memory_order_relaxed), bytes_sent_.load(std::memory_order_relaxed),
          frames_received_.load(std::memory_order_relaxed), bytes_received_.load(std::memory_order_relaxed)};
}

}  // namespace gallocy::net
