#include "os/build_id.h"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <link.h>
#include <unistd.h>

#include <span>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace gallocy::os {
namespace {

constexpr std::size_t aligned(std::size_t offset, std::size_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

std::span<const char> build_id_in(std::span<const char> notes, std::size_t alignment) {
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    const auto& header = *reinterpret_cast<const ElfW(Nhdr)*>(notes.data());
    const std::size_t content = aligned(sizeof header + header.n_namesz, alignment);
    const std::size_t end = aligned(content + header.n_descsz, alignment);
    if (content + header.n_descsz > notes.size()) break;
    const std::string_view name(notes.data() + sizeof header, header.n_namesz);
    if (header.n_type == NT_GNU_BUILD_ID && name == std::string_view("GNU", 4)) {
      return notes.subspan(content, header.n_descsz);
    }
    notes = notes.subspan(std::min(end, notes.size()));
  }
  return {};
}

std::span<const char> build_id_of(const dl_phdr_info& object) {
  for (const auto& segment : std::span(object.dlpi_phdr, object.dlpi_phnum)) {
    if (segment.p_type != PT_NOTE) continue;
    const auto* const start = reinterpret_cast<const char*>(object.dlpi_addr + segment.p_vaddr);
    const auto id = build_id_in({start, segment.p_memsz}, segment.p_align == 8 ? 8 : 4);
    if (!id.empty()) return id;
  }
  return {};
}

bool contains(const dl_phdr_info& object, const void* address) {
  for (const auto& segment : std::span(object.dlpi_phdr, object.dlpi_phnum)) {
    const auto start = object.dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && reinterpret_cast<std::uintptr_t>(address) - start < segment.p_memsz) return true;
  }
  return false;
}

struct Search {
  bool main_program = true;  // the first object is it
  bool main_has_note = false;
  std::vector<char> ids;
};

int visit(dl_phdr_info* object, std::size_t, void* raw) {
  auto& search = *static_cast<Search*>(raw);
  if (search.main_program || contains(*object, reinterpret_cast<const void*>(&build_id))) {
    const auto id = build_id_of(*object);
    search.ids.insert(search.ids.end(), id.begin(), id.end());
    if (search.main_program) search.main_has_note = !id.empty();
  }
  search.main_program = false;
  return 0;
}

void add_program_file(XXH3_state_t& digest) {
  const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  std::vector<char> buffer(1 << 18);
  for (ssize_t bytes; (bytes = ::read(file, buffer.data(), buffer.size())) > 0;) {
    XXH3_128bits_update(&digest, buffer.data(), static_cast<std::size_t>(bytes));
  }
  ::close(file);
}

}  // namespace

std::string build_id() {
  Search search;
  ::dl_iterate_phdr(visit, &search);
  XXH3_state_t digest;
  XXH3_128bits_reset(&digest);
  XXH3_128bits_update(&digest, search.ids.data(), search.ids.size());
  if (!search.main_has_note) add_program_file(digest);
  const XXH128_hash_t hash = XXH3_128bits_digest(&digest);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace gallocy::os
