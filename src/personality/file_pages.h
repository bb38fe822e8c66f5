// FilePages: which pages of the program's file mappings nobody has touched yet, so that they are not read, and which of
// them a node is reading just now.
//
// Pure: the home keeps it (process_file_pages.cc) and answers the nodes from it. Pages that are in no part are not of a
// file, or have been read.
//
// Invariants (check_invariants): parts are page-aligned, not empty and disjoint.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

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

  // The pages are unread, and closed: nobody reads them before open().
  void add(const FilePart& part);
  void open(std::uint64_t begin, std::uint64_t end);
  // Nobody begins to read pages of the range. False: somebody is reading some of them; close it again when he is done.
  bool close(std::uint64_t begin, std::uint64_t end);
  // The range, closed, is of no file any more.
  void remove(std::uint64_t begin, std::uint64_t end);

  struct Answer {
    enum class Kind : std::uint8_t {
      kRead,   // the asking node is to read this part, and to say read()
      kWait,   // another node reads it, or it is closed
      kThere,  // these pages, around the address, are not unread
    };
    Kind kind{};
    FilePart part{};
  };
  // A node has touched the page.
  Answer touch(std::uint64_t address);
  // Of what touch() had a node read, the pages up to read_end have been read. The others are unread again.
  void read(std::uint64_t begin, std::uint64_t end, std::uint64_t read_end);

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
    std::uint64_t run = kLeastBytes;  // what to read at once when its beginning is touched
  };
  using Parts = std::map<std::uint64_t, Part>;  // by begin

  void split_at(std::uint64_t address);
  Parts::const_iterator first_ending_after(std::uint64_t address) const;
  void set_state(std::uint64_t begin, std::uint64_t end, State from, State to);

  Parts parts_;
};

}  // namespace gallocy::personality
