#include "personality/elf_symbols.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <tuple>

namespace gallocy::personality {
namespace {

using Bytes = std::span<const std::byte>;

template <typename T>
bool get(Bytes file, std::uint64_t offset, T& value) {
  if (offset > file.size() || file.size() - offset < sizeof value) return false;
  std::memcpy(&value, file.data() + offset, sizeof value);
  return true;
}

Bytes part(Bytes file, std::uint64_t offset, std::uint64_t bytes) {
  if (offset > file.size() || file.size() - offset < bytes) return {};
  return file.subspan(offset, bytes);
}

// The text at an offset of a string table; empty if it has no end.
std::string_view text_at(Bytes table, std::uint64_t offset) {
  if (offset >= table.size()) return {};
  const auto* const from = reinterpret_cast<const char*>(table.data()) + offset;
  const void* const end = std::memchr(from, 0, table.size() - offset);
  return end == nullptr ? std::string_view{} : std::string_view(from, static_cast<const char*>(end));
}

bool has_address(const Elf64_Sym& symbol) {
  const int type = ELF64_ST_TYPE(symbol.st_info);
  const bool kind =
      type == STT_OBJECT || type == STT_FUNC || type == STT_COMMON || type == STT_GNU_IFUNC || type == STT_NOTYPE;
  return kind && symbol.st_shndx != SHN_UNDEF && symbol.st_size != 0 &&
         symbol.st_value <= ~std::uint64_t{0} - symbol.st_size;
}

void add_table(Bytes file, const Elf64_Shdr& table, const Elf64_Shdr& names, std::vector<ElfSymbol>& symbols) {
  const Bytes entries = part(file, table.sh_offset, table.sh_size), texts = part(file, names.sh_offset, names.sh_size);
  Elf64_Sym symbol;
  for (std::uint64_t at = 0; get(entries, at, symbol); at += sizeof symbol) {
    const std::string_view name = has_address(symbol) ? text_at(texts, symbol.st_name) : std::string_view{};
    if (!name.empty()) symbols.push_back({symbol.st_value, symbol.st_size, std::string(name)});
  }
}

void add_tables(Bytes file, const Elf64_Ehdr& header, std::vector<ElfSymbol>& symbols) {
  const auto section = [&](std::uint64_t i, Elf64_Shdr& to) {
    return i < header.e_shnum && header.e_shoff <= file.size() && get(file, header.e_shoff + i * sizeof to, to);
  };
  Elf64_Shdr table, names;
  for (std::uint64_t i = 0; section(i, table); ++i) {
    if (table.sh_type != SHT_SYMTAB && table.sh_type != SHT_DYNSYM) continue;
    if (section(table.sh_link, names) && names.sh_type == SHT_STRTAB) add_table(file, table, names, symbols);
  }
}

}  // namespace

std::optional<ElfSymbols> ElfSymbols::read(Bytes file) {
  Elf64_Ehdr header;
  if (!get(file, 0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > file.size())
    return std::nullopt;
  ElfSymbols made;
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!get(file, header.e_phoff + i * sizeof segment, segment)) return std::nullopt;
    if (segment.p_type != PT_LOAD || segment.p_memsz == 0) continue;
    if (segment.p_vaddr > ~std::uint64_t{0} - segment.p_memsz) return std::nullopt;
    made.begin_ = std::min<std::uint64_t>(made.begin_, segment.p_vaddr);
    made.end_ = std::max<std::uint64_t>(made.end_, segment.p_vaddr + segment.p_memsz);
    made.segments_.push_back({segment.p_vaddr, segment.p_offset, segment.p_filesz});
  }
  if (made.segments_.empty()) return std::nullopt;
  if (header.e_shentsize == sizeof(Elf64_Shdr)) add_tables(file, header, made.symbols_);
  made.settle();
  return made;
}

// Both tables may have a symbol, and a place may have several names: the longest, and then the shortest name, stays.
void ElfSymbols::settle() {
  std::ranges::sort(symbols_, [](const ElfSymbol& a, const ElfSymbol& b) {
    return std::tuple(a.address, ~a.bytes, a.name.size(), std::string_view(a.name)) <
           std::tuple(b.address, ~b.bytes, b.name.size(), std::string_view(b.name));
  });
  const auto rest = std::ranges::unique(symbols_, {}, &ElfSymbol::address);
  symbols_.erase(rest.begin(), rest.end());
  std::uint64_t reach = 0;
  for (const ElfSymbol& symbol : symbols_) reach_.push_back(reach = std::max(reach, symbol.end()));
}

// Page sizes do not matter: what is loaded in front of a segment in its first page is at the same distance.
std::optional<std::uint64_t> ElfSymbols::address_of(std::uint64_t file_offset) const {
  constexpr std::uint64_t kPage = 4096;
  for (const Segment& s : segments_) {
    const std::uint64_t before = s.offset % kPage;
    if (file_offset - (s.offset - before) < s.file_bytes + before) return s.address + (file_offset - s.offset);
  }
  return std::nullopt;
}

const ElfSymbol* ElfSymbols::find(std::uint64_t address) const {
  const auto behind = std::ranges::upper_bound(symbols_, address, {}, &ElfSymbol::address);
  for (auto i = static_cast<std::size_t>(behind - symbols_.begin()); i-- > 0 && reach_[i] > address;) {
    if (symbols_[i].end() > address) return &symbols_[i];
  }
  return nullptr;
}

std::vector<const ElfSymbol*> ElfSymbols::overlapping(std::uint64_t begin, std::uint64_t end) const {
  std::vector<const ElfSymbol*> found;
  const auto behind = std::ranges::lower_bound(symbols_, end, {}, &ElfSymbol::address);
  for (auto i = static_cast<std::size_t>(behind - symbols_.begin()); i-- > 0 && reach_[i] > begin;) {
    if (symbols_[i].end() > begin) found.push_back(&symbols_[i]);
  }
  std::ranges::reverse(found);
  return found;
}

}  // namespace gallocy::personality
