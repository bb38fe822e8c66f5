// The functions and variables of an ELF object (System V ABI, chapter 4), to name addresses by.
//
// Pure: any bytes may come in. Addresses are as the file has them, without the place at which it is loaded.
//
//   const auto symbols = ElfSymbols::read(bytes);
//   if (const ElfSymbol* s = symbols->find(0x4010)) use(s->name, 0x4010 - s->address);
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gallocy::personality {

struct ElfSymbol {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;  // not 0
  std::string name;         // as in the file: mangled

  std::uint64_t end() const { return address + bytes; }
  bool operator==(const ElfSymbol&) const = default;
};

class ElfSymbols {
 public:
  // Nothing if this is not a 64-bit little-endian object with something to load. Symbol tables that make no sense are
  // left out.
  static std::optional<ElfSymbols> read(std::span<const std::byte> file);

  // What is loaded: [begin, end).
  std::uint64_t begin() const { return begin_; }
  std::uint64_t end() const { return end_; }
  // Where the byte at this place of the file is loaded.
  std::optional<std::uint64_t> address_of(std::uint64_t file_offset) const;

  // The innermost one that the address lies in, or null.
  const ElfSymbol* find(std::uint64_t address) const;
  // Those that overlap [begin, end), by address.
  std::vector<const ElfSymbol*> overlapping(std::uint64_t begin, std::uint64_t end) const;
  std::span<const ElfSymbol> all() const { return symbols_; }

 private:
  struct Segment {
    std::uint64_t address = 0, offset = 0, file_bytes = 0;
  };
  void settle();

  std::uint64_t begin_ = ~std::uint64_t{0}, end_ = 0;
  std::vector<Segment> segments_;
  std::vector<ElfSymbol> symbols_;    // by address, and one for each
  std::vector<std::uint64_t> reach_;  // the highest end among a symbol and those before it
};

}  // namespace gallocy::personality
