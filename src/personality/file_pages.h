// FilePages: which pages of the program's file mappings are unread, which of these nodes view (their kernels map them
// straight from the file, for reading), and which a node is reading or beginning to view just now.
//
// Pure: the home keeps it (process_file_pages.cc) and answers the nodes from it. Pages that are in no part are not of a
// file, or have been read.
//
// Invariants (check_invariants): parts are page-aligned, not empty and disjoint.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "base/ids.h"

namespace gallocy::personality {

// Pages and where in which file their bytes are.
struct FilePart {
  std::uint64_t begin = 0, end = 0;
  int file = -1;
  std::uint64_t offset = 0;  // of `begin`

  bool operator==(const FilePart&) const = default;
};

class FilePages {
 public:
  // What is read at once: a block at the place that was touched, and, while a file is read on and on, up to kMostBytes.
  static constexpr std::uint64_t kLeastBytes = 256 << 10, kMostBytes = 2 << 20;
  // Each border of a part costs every node a mapping of the kernel (vm.max_map_count): with so many parts, and each
  // multiple, twice as much is read at once.
  static constexpr std::size_t kManyParts = 4096;

  // The pages are unread, and closed: nobody reads or views them before open(). viewable: nodes may view them, until
  // some of the file have to be read after all.
  void add(const FilePart& part, bool viewable);
  void open(std::uint64_t begin, std::uint64_t end);
  // Nobody begins to read or view pages of the range. False: somebody is just doing so; close it again when he is done.
  bool close(std::uint64_t begin, std::uint64_t end);
  // Of the range, closed, all views have been ended.
  void views_ended(std::uint64_t begin, std::uint64_t end);
  // The range, closed and without views, is of no file any more.
  void remove(std::uint64_t begin, std::uint64_t end);

  struct Answer {
    enum class Kind : std::uint8_t {
      kRead,    // the asking node is to have the viewers end their views of this part, to read it, and to say read()
      kView,    // the asking node is to view this part, and to say viewed()
      kViewed,  // it views the page
      kWait,    // another node reads it or begins to view it, or it is closed
      kThere,   // these pages, around the address, are not unread
    };
    Kind kind{};
    FilePart part{};
    std::vector<NodeId> viewers{};
  };
  // A node has touched the page; a view would do: it has read it, and can view it.
  Answer touch(std::uint64_t address, NodeId node, bool view_would_do);
  // Of what touch() had a node read, the pages up to read_end have been read. The others are unread again.
  void read(std::uint64_t begin, std::uint64_t end, std::uint64_t read_end);
  // The same of what it is to view.
  void viewed(std::uint64_t begin, std::uint64_t end, std::uint64_t view_end, NodeId node);
  std::vector<NodeId> viewers(std::uint64_t begin, std::uint64_t end) const;  // of any page of the range

  bool reading(std::uint64_t begin, std::uint64_t end) const;
  bool waits(std::uint64_t address) const;  // touch() would say kWait

  // The unread parts, those being read among them, cut to the range; and what lies between them.
  void visit(std::uint64_t begin, std::uint64_t end, const std::function<void(const FilePart&)>& visitor) const;
  void visit_others(std::uint64_t begin, std::uint64_t end,
                    const std::function<void(std::uint64_t begin, std::uint64_t end)>& visitor) const;

  void check_invariants() const;

 private:
  enum class State : std::uint8_t { kUnread, kReading, kClosed };
  struct Part {
    std::uint64_t end = 0;
    int file = -1;
    std::uint64_t offset = 0;
    State state{};
    bool viewable = false;
    std::uint64_t run = kLeastBytes;  // what to read or view at once when its beginning is touched
    std::vector<NodeId> viewers{};    // ascending; of a part that is being read, those that the reader sees off
  };
  using Parts = std::map<std::uint64_t, Part>;  // by begin

  Part& end_task(std::uint64_t begin, std::uint64_t end, std::uint64_t done_end);
  void split_at(std::uint64_t address);
  Parts::const_iterator first_ending_after(std::uint64_t address) const;
  void set_state(std::uint64_t begin, std::uint64_t end, State from, State to);

  Parts parts_;
};

}  // namespace gallocy::personality
