// The program and the libraries that lie in the guest's memory, and names for addresses in it.
//
// Reads the objects' files, at the home, when they are first asked for. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "personality/address_space.h"
#include "personality/elf_symbols.h"

namespace gallocy::personality {

struct MappedObject {
  std::string path;
  std::uint64_t bias = 0;  // what is added to the file's addresses
  std::uint64_t begin = 0, end = 0;
  ElfSymbols symbols;
};

// Where a thread's stack was when it began.
struct StackPlace {
  std::uint64_t address = 0;
  int guest_tid = 0;
};

class ObjectMap {
 public:
  // Areas by address.
  ObjectMap(std::vector<Area> areas, const std::vector<StackPlace>& stacks);

  const std::vector<MappedObject>& objects() const { return objects_; }
  const MappedObject* object_at(std::uint64_t address) const;

  // "counter+0x8 in libfoo.so", "[heap]", "stack of thread 17", "anonymous mapping"; empty: nothing is mapped there.
  std::string name(std::uint64_t address) const;
  // The same for a range, in short, as one knows the object: "a, b and 2 more".
  std::string names(std::uint64_t begin, std::uint64_t end) const;

 private:
  std::string area_name(std::uint64_t address) const;

  std::vector<Area> areas_;
  std::vector<MappedObject> objects_;
  std::vector<StackPlace> stacks_;
};

// A name of the C++ language in its readable form; others as they are.
std::string demangled(const std::string& name);

}  // namespace gallocy::personality
