// Drives ElfSymbols with arbitrary bytes and checks what must hold for any of them, against a plain twin. Used by the
// fuzzer (tests/fuzz) and by the mutation test that every run of the suite includes.
#pragma once

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "personality/elf_symbols.h"

namespace gallocy::personality::testing {

inline void drive_elf_symbols(std::span<const std::byte> file) {
  const auto symbols = ElfSymbols::read(file);
  if (!symbols) return;
  CHECK(symbols->begin() < symbols->end());
  std::vector<std::uint64_t> addresses{0, symbols->begin(), symbols->end(), ~std::uint64_t{0}};
  const auto all = symbols->all();
  for (std::size_t i = 0; i < all.size(); ++i) {
    CHECK(all[i].bytes != 0 && all[i].end() > all[i].address && !all[i].name.empty(), i);
    CHECK(i == 0 || all[i - 1].address < all[i].address, i);
    if (i < 50) addresses.insert(addresses.end(), {all[i].address, all[i].end() - 1, all[i].end()});
  }
  for (const std::uint64_t address : addresses) {
    const ElfSymbol* innermost = nullptr;
    std::vector<const ElfSymbol*> overlapping;
    const std::uint64_t end = address + std::min<std::uint64_t>(64, ~std::uint64_t{0} - address);
    for (const ElfSymbol& s : all) {
      if (s.address <= address && address < s.end()) innermost = &s;
      if (s.address < end && address < s.end()) overlapping.push_back(&s);
    }
    CHECK(symbols->find(address) == innermost, address);
    CHECK(symbols->overlapping(address, end) == overlapping, address);
    (void)symbols->address_of(address);
  }
}

}  // namespace gallocy::personality::testing
