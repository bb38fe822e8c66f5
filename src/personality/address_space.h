// The guest program's address space: which system calls of the mmap family succeed, what they return, and what must
// then be done to the pages of the cluster.
//
// Pure: it calls nothing, keeps no clock, starts no thread. One node (the home) keeps it and serialises all calls.
// Every operation decides at once and returns what Linux would: an address or 0, or a negative errno. It appends to
// `changes` what is to be carried out, in the order given, on all nodes before the guest sees the return value. An
// operation that fails has appended nothing, but for protect() and discard() that met a hole: Linux too has then
// changed what lay before.
//
// What a page has, apart from the area it lies in:
//  - A permission in force on the nodes: PROT_NONE, PROT_READ or PROT_READ|PROT_WRITE (writable implies readable,
//    executable implies readable, and PROT_EXEC itself is not enforced). A page never mapped has PROT_READ|PROT_WRITE,
//    the state in which the window starts, so the common fresh anonymous area costs no broadcast. kProtect appears only
//    where the permission in force differs from the one wanted.
//  - "Used": it may hold bytes other than zero. A page becomes used when it lies in an area with a file or in one whose
//    protection is not PROT_NONE. kDiscard appears only for used pages, so reserving and releasing costs none.
// Unmapping sets the permission to PROT_NONE and then discards the used pages, so that no late write makes free space
// dirty again. The bytes of a change are the runtime's to read and write whatever the permission in force. The guest
// need not be stopped from touching space that was never mapped: that such an access traps is not promised; one to
// space that was unmapped traps.
//
// Invariants (check_invariants):
//  1. Areas are page-aligned, not empty, disjoint, and lie in the space or in an added range.
//  2. Neighbouring areas with equal attributes (and, for files, adjoining offsets) are one area.
//  3. The free ranges are exactly the space without areas and without the break's sub-range.
//  4. An unmapped page is not used; an accessible or file page is.
//  5. A mapped page's permission in force is its area's.
//
//   AddressSpace space(bounds);
//   Changes changes;
//   const long address = space.map({.bytes = 8192, .protection = PROT_READ, .flags = MAP_PRIVATE | MAP_ANONYMOUS},
//                                  changes);
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "personality/address_space_ranges.h"

namespace gallocy::personality {

inline constexpr int kNoFile = -1;

// vm.max_map_count of Linux: programs are tuned to it, and it bounds the memory this class takes.
inline constexpr std::size_t kMaxAreas = 65'530;

// A maximal run of pages with the same attributes.
struct Area {
  std::uint64_t begin = 0;   // page-aligned
  std::uint64_t end = 0;     // page-aligned, > begin
  int protection = 0;        // PROT_READ | PROT_WRITE | PROT_EXEC, as the guest asked
  bool shared = false;       // MAP_SHARED
  int file = kNoFile;        // the caller's id of the file, or kNoFile: anonymous
  std::uint64_t offset = 0;  // bytes, of `begin` in the file; 0 when anonymous
  std::string name{};        // the last column of /proc/self/maps, or empty

  bool operator==(const Area&) const = default;
};

// One thing to be done. Fields not named for a kind are zero (file: kNoFile).
struct Change {
  enum class Kind : std::uint8_t {
    kDiscard,       // begin, end: the bytes become zero
    kProtect,       // begin, end, protection: PROT_NONE, PROT_READ or PROT_READ | PROT_WRITE
    kMove,          // begin, end, to: copy the bytes to `to`; no overlap. The kDiscard of the old place follows
    kWriteBack,     // begin, end, file, offset: write the bytes to the file at offset (not beyond the file's end)
    kReload,        // begin, end, file, offset: read the file's bytes; zero beyond the file's end
    kFileReleased,  // file: no area has this file any more
  };
  Kind kind{};
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  int protection = 0;
  std::uint64_t to = 0;
  int file = kNoFile;
  std::uint64_t offset = 0;

  bool operator==(const Change&) const = default;
};

using Changes = std::vector<Change>;

struct MapRequest {
  std::uint64_t address = 0;  // a hint, or the place when flags has MAP_FIXED or MAP_FIXED_NOREPLACE
  std::uint64_t bytes = 0;    // rounded up to pages
  int protection = 0;         // PROT_*
  int flags = 0;              // MAP_*
  int file = kNoFile;         // the caller's id; ignored with MAP_ANONYMOUS
  std::uint64_t offset = 0;   // bytes, a multiple of the page; ignored with MAP_ANONYMOUS
  std::string name{};         // "[stack]", a path, or empty
};

// Page-aligned. The break's sub-range lies inside [begin, end) and may be empty; map() enters it only when the guest
// says MAP_FIXED.
struct SpaceBounds {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t brk_begin = 0;
  std::uint64_t brk_end = 0;
};

class AddressSpace {
 public:
  explicit AddressSpace(const SpaceBounds& bounds);

  // Lets fixed mappings go to [begin, end), page-aligned and apart from the space: an executable linked to a fixed
  // address. Nothing else is placed there, but MAP_32BIT mappings when the range lies below 2 GiB and has room.
  void add_range(std::uint64_t begin, std::uint64_t end);

  // mmap. Returns the address. With a file the caller then reads the file's bytes into the area, after the changes (no
  // kReload is made for it). A hint is honoured if its pages are free; else the lowest place that fits; while there
  // is room at a multiple of 2 MiB for 2 MiB or more, of kBlockBytes for anonymous areas of 64 KiB or more, so that
  // areas of different threads do not share a coherence block. MAP_GROWSDOWN, MAP_STACK, MAP_NORESERVE, MAP_POPULATE,
  // MAP_HUGETLB are ignored. Errors: -EINVAL (no bytes, unaligned, neither or both of private and shared), -EBADF (no
  // file), -ENOMEM (no room, too many areas, MAP_FIXED outside the space), -EOVERFLOW (offset), -EEXIST
  // (MAP_FIXED_NOREPLACE over an area or outside the space). On an error the file is not held: no kFileReleased
  // follows. Whether the file may be mapped so (-EACCES) is the caller's affair.
  long map(const MapRequest& request, Changes& changes);

  // munmap. Holes in the range are no error. Errors: -EINVAL (unaligned, no bytes, beyond 2^47), -ENOMEM (a split would
  // exceed kMaxAreas).
  long unmap(std::uint64_t address, std::uint64_t bytes, Changes& changes);

  // mprotect. A shared file area that ceases to be writable is written back. Errors: -EINVAL (unaligned), -ENOMEM (a
  // page is not mapped: what lies before it has been changed; or too many areas).
  long protect(std::uint64_t address, std::uint64_t bytes, int protection, Changes& changes);

  // mremap; new_address counts only with MREMAP_FIXED. Shrinks in place, grows in place if the space behind is free,
  // else moves. The part by which a file area grew gets kReload. Errors: -EINVAL (unaligned, no new bytes, old_bytes 0
  // (an alias is not possible), MREMAP_DONTUNMAP, overlap), -EFAULT (the old range is not within one area, as before
  // Linux 6.17), -ENOMEM.
  long remap(std::uint64_t address, std::uint64_t old_bytes, std::uint64_t new_bytes, int flags,
             std::uint64_t new_address, Changes& changes);

  // brk. Returns the present break, which is `address` on success and unchanged on failure; address 0 asks. The pages
  // below it are an area named "[heap]".
  long set_brk(std::uint64_t address, Changes& changes);

  // MADV_DONTNEED and MADV_FREE. Private anonymous pages become zero, private file pages are reloaded; shared ones keep
  // their bytes, as on Linux. Errors: -EINVAL (unaligned), -ENOMEM (a page is not mapped; the others are done).
  long discard(std::uint64_t address, std::uint64_t bytes, Changes& changes);

  // The area that holds the address, or null. Valid until the next operation.
  const Area* find(std::uint64_t address) const;

  // Calls for every area that overlaps [begin, end), by address, cut to that range. `visitor` must not change the
  // space.
  void visit(std::uint64_t begin, std::uint64_t end, const std::function<void(const Area&)>& visitor) const;
  // The same for the permissions in force.
  void visit_permissions(
      std::uint64_t begin, std::uint64_t end,
      const std::function<void(std::uint64_t begin, std::uint64_t end, int permission)>& visitor) const {
    permission_.visit(begin, end, visitor);
  }

  // All of /proc/self/maps. Device is 00:00; the inode is 0 for anonymous areas, file + 1 for others.
  std::string maps_text() const;

  std::size_t area_count() const { return areas_.size(); }
  std::uint64_t brk() const { return brk_; }

  // CHECKs the invariants above; linear in areas, for tests.
  void check_invariants() const;

 private:
  using Areas = std::map<std::uint64_t, Area>;  // by begin
  enum class Then : std::uint8_t { kUnmapped, kReplaced };
  enum class Bytes : std::uint8_t { kWrittenBack, kMovedAway };

  bool inside(std::uint64_t begin, std::uint64_t end) const;
  bool unmapped(std::uint64_t begin, std::uint64_t end) const;
  bool within_one_area(std::uint64_t begin, std::uint64_t end) const;
  bool would_split(std::uint64_t address) const;
  Areas::const_iterator first_ending_after(std::uint64_t address) const;
  std::optional<std::uint64_t> place(std::uint64_t bytes, int file, int flags) const;
  long choose(const MapRequest& request, std::uint64_t bytes) const;

  void split_at(std::uint64_t address);
  void merge_around(std::uint64_t begin, std::uint64_t end);
  void add_area(Area area, Changes& changes);
  void remove_areas(std::uint64_t begin, std::uint64_t end, Then then, Bytes bytes, Changes& changes);
  void set_permission(std::uint64_t begin, std::uint64_t end, int protection, Changes& changes);
  void discard_used(std::uint64_t begin, std::uint64_t end, Changes& changes);
  void release_files(Changes& changes);
  void move(const Area& from, std::uint64_t to, std::uint64_t new_bytes, Changes& changes);

  const SpaceBounds bounds_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges_;  // the space, then the added ranges
  std::uint64_t brk_;                                            // bytes, not aligned
  Areas areas_;
  FreeRanges free_;      // of the space, without the break's sub-range
  FreeRanges low_free_;  // of the added ranges
  IntervalMap<int> permission_;
  IntervalMap<bool> used_;
  std::map<int, std::uint64_t> file_bytes_;  // how much of each file is mapped
  std::vector<int> maybe_released_;          // files whose last area went away in this operation
};

}  // namespace gallocy::personality
