// Bodies of kGuestRequest and kGuestReply: what the nodes of one process (`gallocy run`) ask of each other. A request
// with ticket 0 is not answered.
#pragma once

#include <cstdint>

namespace gallocy::wire {

enum class GuestRequestKind : std::uint32_t {
  kCall,       // remote thread -> home: a system call; words: guest tid, number, 6 arguments
  kDataCall,   // the same, with the memory that the pointers point to trailing; the answer carries what comes back
  kInterrupt,  // node -> home: words: guest tid, ticket of its call: a signal has come
  kProtect,    // home -> all: words: begin, end, protection
  kFreeze,     // home -> all: words: begin, end: pages whose bytes are not to be sent; trailing: by node but the home,
               // the ticket of the home's question whether what was sent to that node has arrived
  kArrived,    // any -> any, behind what it had sent: word: that ticket, to answer the home with
  kDiscard,    // home -> all: words: begin, end: frozen pages become zero, and thaw; 1: they are unread from now on
  kUnread,     // home -> all: words: begin, end: pages of a file mapping that nobody has read yet
  kRead,       // home -> node: words: begin, end: pages that are not unread (any more)
  kTouch,      // node -> home: words: an unread page that was touched, 1 if a view would do; answered when it is there,
               // or by a FileTask
  kFileBytes,  // node -> home: words: file, offset, bytes; the answer carries them
  kHasRead,    // node -> home: words: begin and end of a FileTask, and how far it was read
  kHasViewed,  // node -> home: the same for a view
  kEndView,    // any -> node: words: begin, end: a part that it views
  kFileGone,   // home -> all: word: a file of which nothing is mapped any more
  kCommon,     // home -> all: words: begin, end, 1: only the home may touch these pages; 0: not so any more
  kCopy,     // node -> home: words: address, bytes in common memory; trailing: what to write; none: the answer carries
             // what is there
  kStart,    // any -> node: start a thread; trailing: the start's registers
  kFutex,    // any -> home: words: operation, address, count, bits, second address, second count, ticket of the wait
  kWake,     // home -> node: word: ticket of the wait
  kSignal,   // any -> node: words: guest tid, number; trailing: siginfo_t
  kAction,   // home -> all: word: number; trailing: the action
  kEnded,    // node -> home and the thread's origin: word: guest tid of a thread that has ended
  kMove,     // any -> node: a thread goes on there; trailing: personality::MovedThread
  kAway,     // any -> origin: words: guest tid, node: where the thread is now
  kSharing,  // home -> node: answered by the words of personality::SharingTotals
  kPlaces,   // home -> all: trailing: personality::Gathering::Places
  kFork,     // remote thread -> home: word: as vfork; trailing: the child's registers
  kOutside,  // home -> all: words: low address, window address, bytes (Memory::place_outside)
  kClock,    // node -> home: answered by its CLOCK_MONOTONIC, ns
  kHoldThreads,  // any -> all: word: 1: no thread leaves its node any more, answered when none is on its way; 0: they
                 // may
  kEndThreads,  // home -> node: word: guest tid of one that stays; all other threads there end; answered when they have
  kRecords,     // home -> node: words: personality::Records, offset; answered by a piece of them, from there on
  kFacts,       // home -> node: what its machine is; the answer carries personality::MachineFacts
  kSlot,        // node -> home: words: address of a system call instruction, number: answered by its slot
  kSite,        // node -> home: word: slot; the answer carries personality::PatchedSite
  kFatal,       // node -> home: a signal ends the program; trailing: personality::Crash
  kUsage,       // any -> node: answered by its personality::NodeUsage
  kThreadTime,  // any -> node: words: guest tid, clock; answered by its processor time, ns
  kIntroduce,   // node -> home: trailing: personality::Introduction
  kAgreement,   // home -> all: trailing: personality::Agreement, and how many processors each node has
  kAffinity,    // any -> node: words: guest tid, 1 to set it; trailing and answer: personality::ProcessorMask
  kGiveHomes,   // home -> all: words: begin, end; trailing: mode and nodes of a MemoryPolicy: homes here go where it
                // says (0), but those of which something is under way (-EAGAIN)
  kTakeHomes,   // home -> all: the same, and 1 if pages come along: homes that nobody has begin here
  kIsHome,      // home -> node: word: address; answered by 1 if the home of its block is there
  kTasks,       // home -> node: answered by the personality::TaskFacts of its threads
  kPending,     // node -> home: answered by the signals that are pending for the process
  kTaker,       // home -> node: word: a signal; answered by the guest tid of a thread that does not block it, or 0
  kTakeAction,  // node -> home: word: a signal whose handler is good for one; answered by the action
  kStop,        // node -> home: the process stops
  kExit,        // any -> all: word: status
};

struct GuestRequest {
  std::uint64_t ticket = 0;
  GuestRequestKind kind{};
  std::uint32_t reserved = 0;
  std::uint64_t words[8] = {};
};
static_assert(sizeof(GuestRequest) == 80);

struct GuestReply {
  std::uint64_t ticket = 0;
  std::int64_t result = 0;  // as of a system call
};
static_assert(sizeof(GuestReply) == 16);

}  // namespace gallocy::wire
