// Effects: what a step of the coherence core asks the driver to do.
//
// The driver carries them out in the order of the list, before it gives the core the next event. That order is the
// protocol's safety: a page is made inaccessible before the message that gives it away is sent, and readable only after
// its bytes are in the frame.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "coherence/directory_entry.h"
#include "coherence/page_set.h"
#include "gallocy/access.h"
#include "wire/coherence.h"
#include "wire/frame.h"

namespace gallocy::coherence {

struct Effect {
  enum class Kind : std::uint8_t {
    kProtect,    // set the program view of `pages` from `from` to `to`
    kSend,       // send `message` to `node`; the payload is the frames of message.carried
    kWake,       // threads that wait for one of `pages` look again
    kDiscard,    // the frames of `pages` may go back to the kernel
    kHomeMoved,  // `node` is now the home of `block` (for the VMM log); sent by the new home
    kLost,       // the only copy of `pages` died with `node`; threads that wait for them cannot go on
  };
  Kind kind;
  Access from = Access::kNone, to = Access::kNone;
  wire::MessageType type{};
  NodeId node{};
  BlockId block{};
  PageSet pages = 0;
  wire::PageMessage message{};
  std::uint32_t tail = 0;  // HandOver: index of its 64 directory entries in Effects::tails
};

struct Effects {
  std::vector<Effect> list;
  std::vector<DirectoryEntry> tails;
  void clear() {
    list.clear();
    tails.clear();
  }
};

}  // namespace gallocy::coherence
