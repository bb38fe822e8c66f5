#include "personality/object_map.h"

#include <cxxabi.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

namespace gallocy::personality {
namespace {

std::optional<ElfSymbols> symbols_of(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return std::nullopt;
  struct stat status {};
  std::optional<ElfSymbols> symbols;
  if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
    const auto bytes = static_cast<std::size_t>(status.st_size);
    void* const file = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (file != MAP_FAILED) {
      symbols = ElfSymbols::read({static_cast<const std::byte*>(file), bytes});
      ::munmap(file, bytes);
    }
  }
  ::close(fd);
  return symbols;
}

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

std::string demangled(const std::string& name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                         &std::free);
  return status == 0 ? text.get() : name;
}

ObjectMap::ObjectMap(std::vector<Area> areas, const std::vector<StackPlace>& stacks)
    : areas_(std::move(areas)), stacks_(stacks) {
  for (const Area& area : areas_) {
    if (area.file == kNoFile || !area.name.starts_with('/') || object_at(area.begin) != nullptr) continue;
    auto symbols = symbols_of(area.name);
    const auto address = symbols ? symbols->address_of(area.offset) : std::nullopt;
    if (!address) continue;
    const std::uint64_t bias = area.begin - *address;
    objects_.push_back({.path = area.name,
                        .bias = bias,
                        .begin = bias + symbols->begin(),
                        .end = bias + symbols->end(),
                        .symbols = std::move(*symbols)});
  }
}

const MappedObject* ObjectMap::object_at(std::uint64_t address) const {
  const auto found =
      std::ranges::find_if(objects_, [&](const MappedObject& o) { return address - o.begin < o.end - o.begin; });
  return found == objects_.end() ? nullptr : &*found;
}

std::string ObjectMap::area_name(std::uint64_t address) const {
  const auto area = std::ranges::find_if(areas_, [&](const Area& a) { return address - a.begin < a.end - a.begin; });
  if (area == areas_.end()) return {};
  if (!area->name.empty()) return area->name;
  // The last of the threads that had this stack.
  for (auto stack = stacks_.rbegin(); stack != stacks_.rend(); ++stack) {
    if (stack->address - area->begin <= area->end - area->begin)
      return fmt::format("stack of thread {}", stack->guest_tid);
  }
  return area->shared ? "shared anonymous mapping" : "anonymous mapping";
}

std::string ObjectMap::name(std::uint64_t address) const {
  const MappedObject* const object = object_at(address);
  if (object == nullptr) return area_name(address);
  const ElfSymbol* const symbol = object->symbols.find(address - object->bias);
  if (symbol == nullptr) return fmt::format("{}+{:#x}", file_name(object->path), address - object->begin);
  const std::uint64_t offset = address - object->bias - symbol->address;
  return fmt::format("{}{} in {}", demangled(symbol->name), offset == 0 ? "" : fmt::format("+{:#x}", offset),
                     file_name(object->path));
}

std::string ObjectMap::names(std::uint64_t begin, std::uint64_t end) const {
  constexpr std::size_t kMost = 4;
  const MappedObject* const object = object_at(begin);
  if (object == nullptr) return area_name(begin);
  const auto symbols = object->symbols.overlapping(begin - object->bias, end - object->bias);
  if (symbols.empty()) return "no symbol";
  std::string text;
  for (std::size_t i = 0; i < std::min(kMost, symbols.size()); ++i) {
    text += (i == 0 ? "" : ", ") + demangled(symbols[i]->name);
  }
  if (symbols.size() > kMost) text += fmt::format(" and {} more", symbols.size() - kMost);
  return text;
}

}  // namespace gallocy::personality
