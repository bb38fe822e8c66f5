#include "coherence/stream_detector.h"

#include <algorithm>

namespace gallocy::coherence {
namespace {

constexpr unsigned kFaultsBeforeRuns = 3;

}  // namespace

// The stream that the fault belongs to: it goes on at the end of the last run or at a marker, or, where a part of a run
// was declined or taken away again, inside it.
StreamDetector::Stream* StreamDetector::stream_of(std::uint64_t page, Access access, bool marker) {
  Stream* inside = nullptr;
  for (Stream& stream : streams_) {
    if (stream.window == 0 || stream.access != access) continue;
    if (page == stream.next || (marker && page >= stream.begin && page < stream.next)) return &stream;
    if (page > stream.begin && page < stream.next) inside = &stream;
  }
  return inside;
}

StreamDetector::Advice StreamDetector::fault(PageId page, Access access, bool marker) {
  ++clock_;
  Stream* stream = stream_of(page.value, access, marker);
  if (stream == nullptr) {
    stream = &*std::ranges::min_element(streams_, {}, &Stream::used);
    *stream = {.begin = page.value, .next = page.value, .window = 1, .access = access};
  }
  if (page.value == stream->next || marker) {
    ++stream->faults;
    if (stream->faults >= kFaultsBeforeRuns) stream->window = std::min(stream->window * 2, longest_);
    if (marker) stream->ahead = std::min(stream->ahead + 1, kMostAhead);
  }
  stream->used = clock_;
  stream->begin = page.value;
  if (!marker) stream->next = page.value;
  current_ = stream;
  extend(page, 1);
  return {.pages = stream->window, .blocks_ahead = stream->window >= kReadAheadPages ? stream->ahead : 0};
}

void StreamDetector::extend(PageId first, std::uint64_t pages) {
  if (current_ == nullptr) return;
  current_->next = std::max(current_->next, first.value + pages);
}

}  // namespace gallocy::coherence
