#include "personality/elf_image.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/ids.h"
#include "os/os_error.h"

namespace gallocy::personality {
namespace {

constexpr std::size_t kMostHeaders = 64;
constexpr int kMostScripts = 5;  // scripts whose interpreter is a script, as Linux

struct File {
  explicit File(const std::string& file_path) : path(file_path), fd(::open(file_path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (fd >= 0) ::close(fd);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  bool read(void* to, std::size_t bytes, std::uint64_t offset) const {
    return ::pread(fd, to, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
  }
  const std::string path;
  const int fd;
};

Error cannot(const std::string& path, std::string_view why) {
  return {ErrorCode::kUnsupported, fmt::format("cannot run {}: {}", path, why)};
}

struct Image {
  Elf64_Ehdr header{};
  std::vector<Elf64_Phdr> segments;
  std::string interpreter;
  std::uint64_t bias = 0, begin = ~std::uint64_t{0}, end = 0;

  std::uint64_t headers_at() const {
    for (const Elf64_Phdr& s : segments) {
      if (s.p_type == PT_PHDR) return bias + s.p_vaddr;
    }
    for (const Elf64_Phdr& s : segments) {
      if (s.p_type == PT_LOAD && s.p_offset <= header.e_phoff && header.e_phoff < s.p_offset + s.p_filesz)
        return bias + s.p_vaddr + header.e_phoff - s.p_offset;
    }
    return 0;
  }
};

Result<Image> read_image(const File& file) {
  Image image;
  Elf64_Ehdr& h = image.header;
  if (file.fd < 0)
    return fail(ErrorCode::kNotFound, fmt::format("cannot open {}: {}", file.path, os::os_error_text(errno)));
  if (!file.read(&h, sizeof h, 0) || std::memcmp(h.e_ident, ELFMAG, SELFMAG) != 0) {
    return tl::unexpected(cannot(file.path, "it is not an ELF program"));
  }
  if (h.e_ident[EI_CLASS] != ELFCLASS64) return tl::unexpected(cannot(file.path, "32-bit programs are not supported"));
  if (h.e_machine != EM_X86_64) return tl::unexpected(cannot(file.path, "it is for another processor than x86-64"));
  if ((h.e_type != ET_DYN && h.e_type != ET_EXEC) || h.e_phentsize != sizeof(Elf64_Phdr) || h.e_phnum > kMostHeaders) {
    return tl::unexpected(cannot(file.path, "its ELF header makes no sense"));
  }
  image.segments.resize(h.e_phnum);
  if (!file.read(image.segments.data(), h.e_phnum * sizeof(Elf64_Phdr), h.e_phoff)) {
    return tl::unexpected(cannot(file.path, "the file is cut short"));
  }
  for (const Elf64_Phdr& s : image.segments) {
    if (s.p_type == PT_INTERP) {
      std::string name(s.p_filesz, 0);
      if (s.p_filesz > 4096 || !file.read(name.data(), name.size(), s.p_offset))
        return tl::unexpected(cannot(file.path, "the file is cut short"));
      image.interpreter = name.c_str();
    }
    if (s.p_type != PT_LOAD) continue;
    image.begin = std::min(image.begin, s.p_vaddr & ~(kPageBytes - 1));
    image.end = std::max(image.end, (s.p_vaddr + s.p_memsz + kPageBytes - 1) & ~(kPageBytes - 1));
  }
  if (image.begin >= image.end) return tl::unexpected(cannot(file.path, "it has nothing to load"));
  return image;
}

int protection_of(const Elf64_Phdr& s) {
  return ((s.p_flags & PF_R) ? PROT_READ : 0) | ((s.p_flags & PF_W) ? PROT_WRITE : 0) |
         ((s.p_flags & PF_X) ? PROT_EXEC : 0);
}

Result<> map_segment(const File& file, const Image& image, const Elf64_Phdr& s, ImageTarget& target) {
  const std::uint64_t begin = image.bias + (s.p_vaddr & ~(kPageBytes - 1));
  const std::uint64_t shift = s.p_vaddr & (kPageBytes - 1);
  const std::uint64_t file_end = image.bias + s.p_vaddr + s.p_filesz;
  const std::uint64_t file_pages_end = (file_end + kPageBytes - 1) & ~(kPageBytes - 1);
  const std::uint64_t end = (image.bias + s.p_vaddr + s.p_memsz + kPageBytes - 1) & ~(kPageBytes - 1);
  long mapped = 0;
  if (s.p_filesz != 0) {
    mapped = target.map(begin, file_pages_end - begin, protection_of(s), MAP_PRIVATE | MAP_FIXED, file.fd,
                        s.p_offset - shift, file.path);
    if (mapped >= 0 && s.p_memsz > s.p_filesz && (s.p_flags & PF_W) != 0 && file_pages_end != file_end &&
        !target.zero(file_end, file_pages_end - file_end)) {
      mapped = -EFAULT;
    }
  }
  const std::uint64_t rest = s.p_filesz != 0 ? file_pages_end : begin;
  if (mapped >= 0 && end > rest) {
    mapped = target.map(rest, end - rest, protection_of(s), MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0, "");
  }
  if (mapped < 0) {
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("cannot load {}: {}", file.path, os::os_error_text(static_cast<int>(-mapped))));
  }
  return {};
}

Result<Image> load(const File& file, ImageTarget& target) {
  GALLOCY_ASSIGN(Image image, read_image(file));
  if (image.header.e_type == ET_DYN) {
    const long place = target.map(0, image.end - image.begin, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, "");
    if (place < 0) return fail(ErrorCode::kOutOfMemory, fmt::format("no addresses for {}", file.path));
    image.bias = static_cast<std::uint64_t>(place) - image.begin;
  } else if (!target.allow_range(image.begin, image.end)) {
    return tl::unexpected(
        cannot(file.path, fmt::format("its fixed addresses {:#x}-{:#x} cannot be shared", image.begin, image.end)));
  }
  for (const Elf64_Phdr& s : image.segments) {
    if (s.p_type == PT_LOAD) GALLOCY_TRY(map_segment(file, image, s, target));
  }
  return image;
}

// "#!interpreter [argument]"; nothing if the file is not a script.
std::optional<std::vector<std::string>> script_interpreter(const File& file) {
  char line[256] = {};
  const ssize_t got = ::pread(file.fd, line, sizeof line - 1, 0);
  if (got < 3 || line[0] != '#' || line[1] != '!') return std::nullopt;
  std::string_view rest(line + 2, static_cast<std::size_t>(got) - 2);
  rest = rest.substr(0, rest.find('\n'));
  const auto trim = [](std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
    return text;
  };
  rest = trim(rest);
  const std::size_t end = rest.find_first_of(" \t");
  std::vector<std::string> parts{std::string(rest.substr(0, end))};
  if (end != std::string_view::npos) parts.emplace_back(trim(rest.substr(end)));
  return parts;
}

}  // namespace

bool can_load(const std::string& path) {
  const File file(path);
  return file.fd >= 0 && (script_interpreter(file).has_value() || read_image(file).has_value());
}

bool is_bare_script(const std::string& path) {
  const File file(path);
  char start[256];
  const ssize_t bytes = file.fd >= 0 ? ::pread(file.fd, start, sizeof start, 0) : -1;
  if (bytes < 0) return false;
  const std::string_view text(start, static_cast<std::size_t>(bytes));
  return !text.starts_with("#!") && text.find('\0') == std::string_view::npos;
}

bool changes_ids(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return false;
  constexpr mode_t kSetGroup = S_ISGID | S_IXGRP;  // S_ISGID alone is another thing: mandatory locking
  return ((status.st_mode & S_ISUID) != 0 && status.st_uid != ::geteuid()) ||
         ((status.st_mode & kSetGroup) == kSetGroup && status.st_gid != ::getegid());
}

Result<LoadedProgram> load_program(const std::string& path, std::vector<std::string> arguments, ImageTarget& target) {
  LoadedProgram program;
  program.path = path;
  for (int depth = 0;; ++depth) {
    const File file(program.path);
    if (file.fd < 0) {
      if (depth > 0) return tl::unexpected(cannot(path, fmt::format("{}: {}", program.path, os::os_error_text(errno))));
      return fail(ErrorCode::kNotFound, fmt::format("cannot open {}: {}", program.path, os::os_error_text(errno)));
    }
    const auto script = script_interpreter(file);
    if (!script) break;
    if (depth == kMostScripts || script->front().empty())
      return tl::unexpected(cannot(path, "its #! line leads nowhere"));
    arguments[0] = program.path;
    arguments.insert(arguments.begin(), script->begin(), script->end());
    program.path = script->front();
  }
  program.arguments = std::move(arguments);
  if (changes_ids(program.path)) {
    return tl::unexpected(cannot(program.path, "it is set-user-id or set-group-id, which is not supported"));
  }
  const File file(program.path);
  GALLOCY_ASSIGN(const Image image, load(file, target));
  program.base = image.bias;
  program.entry = program.start = image.bias + image.header.e_entry;
  program.headers = image.headers_at();
  program.header_count = image.header.e_phnum;
  if (image.interpreter.empty()) return program;
  const File interpreter(image.interpreter);
  GALLOCY_ASSIGN(const Image loader, load(interpreter, target));
  program.interpreter = image.interpreter;
  program.interpreter_base = loader.bias;
  program.start = loader.bias + loader.header.e_entry;
  return program;
}

std::uint64_t build_stack(const LoadedProgram& program, const std::vector<std::string>& environment, std::uint64_t top,
                          ImageTarget& target) {
  std::uint64_t sp = top - 64;
  bool ok = true;
  const auto put = [&](const void* data, std::size_t bytes) {
    sp -= bytes;
    ok = ok && target.write(sp, data, bytes);
    return sp;
  };
  const auto put_text = [&](const std::string& text) { return put(text.c_str(), text.size() + 1); };
  const std::uint64_t name = put_text(program.path);
  const std::uint64_t platform = put_text("x86_64");
  char random[16];
  if (::getrandom(random, sizeof random, 0) != sizeof random) return 0;
  sp &= ~std::uint64_t{15};
  const std::uint64_t random_at = put(random, sizeof random);
  std::vector<std::uint64_t> words{program.arguments.size()};
  for (const std::string& argument : program.arguments) words.push_back(put_text(argument));
  words.push_back(0);
  for (const std::string& variable : environment) words.push_back(put_text(variable));
  words.push_back(0);
  const std::pair<std::uint64_t, std::uint64_t> auxiliary[] = {
      {AT_PHDR, program.headers},
      {AT_PHENT, sizeof(Elf64_Phdr)},
      {AT_PHNUM, program.header_count},
      {AT_PAGESZ, kPageBytes},
      {AT_BASE, program.interpreter_base},
      {AT_FLAGS, 0},
      {AT_ENTRY, program.entry},
      {AT_UID, ::getuid()},
      {AT_EUID, ::geteuid()},
      {AT_GID, ::getgid()},
      {AT_EGID, ::getegid()},
      {AT_SECURE, 0},
      {AT_RANDOM, random_at},
      {AT_HWCAP, ::getauxval(AT_HWCAP)},
      {AT_HWCAP2, ::getauxval(AT_HWCAP2)},
      {AT_CLKTCK, ::getauxval(AT_CLKTCK)},
      {AT_EXECFN, name},
      {AT_PLATFORM, platform},
      {AT_MINSIGSTKSZ, program.signal_stack_bytes},
      {AT_SYSINFO_EHDR, program.vdso},
      {AT_NULL, 0},
  };
  for (const auto& [key, value] : auxiliary) words.insert(words.end(), {key, value});
  sp = (sp - words.size() * sizeof(std::uint64_t)) & ~std::uint64_t{15};
  ok = ok && target.write(sp, words.data(), words.size() * sizeof(std::uint64_t));
  return ok ? sp : 0;
}

}  // namespace gallocy::personality
