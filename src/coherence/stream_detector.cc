#include "coherence/stream_detector.h"

#include <algorithm>

namespace gallocy::coherence {

StreamDetector::Advice StreamDetector::fault(PageId page, bool marker) {
  ++clock_;
  Stream* oldest = &streams_[0];
  for (Stream& stream : streams_) {
    // A fault inside the last run happens when some of it was declined or taken away again.
    if (stream.window != 0 && page.value >= stream.begin + (marker ? 0 : 1) && page.value <= stream.next) {
      stream.window = std::min(stream.window * 2, longest_);
      stream.used = clock_;
      current_ = &stream;
      return {.pages = stream.window, .read_ahead = stream.window >= kReadAheadPages};
    }
    if (stream.used < oldest->used) oldest = &stream;
  }
  *oldest = {.begin = page.value, .next = page.value + 1, .window = 1, .used = clock_};
  current_ = oldest;
  return {};
}

void StreamDetector::extend(PageId first, std::uint64_t pages) {
  if (current_ == nullptr) return;
  current_->begin = first.value;
  current_->next = first.value + pages;
}

}  // namespace gallocy::coherence
