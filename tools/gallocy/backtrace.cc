#include "backtrace.h"

#include <elfutils/libdwfl.h>
#include <fmt/format.h>

#include <memory>

// libdw asks servers on the network for debugging information through a library that it loads at the start of the
// process. A crash is no time for that, and the command loads no libraries: these take the place of that part.
extern "C" {
int __libdwfl_debuginfod_find_executable(Dwfl*, const unsigned char*, std::size_t) { return -1; }
int __libdwfl_debuginfod_find_debuginfo(Dwfl*, const unsigned char*, std::size_t) { return -1; }
void __libdwfl_debuginfod_end(void*) {}
}

namespace gallocy::command {
namespace {

using personality::BacktraceTask;

constexpr pid_t kThread = 1;  // libdwfl wants ids; there is one thread
constexpr unsigned kMostFrames = 100;

struct Unwinding {
  const BacktraceTask& task;
  Dwfl* dwfl;
  std::string text{};
  unsigned frames = 0;
};

pid_t next_thread(Dwfl*, void* unwinding, void** thread) {
  if (*thread != nullptr) return 0;
  *thread = unwinding;
  return kThread;
}

bool read_memory(Dwfl*, Dwarf_Addr address, Dwarf_Word* word, void* unwinding) {
  std::uint64_t value = 0;
  if (!static_cast<Unwinding*>(unwinding)->task.read(address, value)) return false;
  *word = value;
  return true;
}

// In the order of the System V ABI, AMD64 supplement, figure 3.36.
bool set_registers(Dwfl_Thread* thread, void* unwinding) {
  const greg_t* const r = static_cast<Unwinding*>(unwinding)->task.registers.general;
  constexpr int kOrder[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP, REG_R8,
                            REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
  Dwarf_Word words[std::size(kOrder)];
  for (std::size_t i = 0; i < std::size(kOrder); ++i) words[i] = static_cast<Dwarf_Word>(r[kOrder[i]]);
  return dwfl_thread_state_registers(thread, 0, std::size(kOrder), words);
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// "function+0x12 in object (file.c:34)"
std::string place(Dwfl* dwfl, Dwarf_Addr at, Dwarf_Addr shown) {
  Dwfl_Module* const module = dwfl_addrmodule(dwfl, at);
  if (module == nullptr) return "in no object";
  const std::string object =
      base_name(dwfl_module_info(module, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr));
  GElf_Off offset = 0;
  GElf_Sym symbol;
  const char* const name = dwfl_module_addrinfo(module, at, &offset, &symbol, nullptr, nullptr, nullptr);
  Dwarf_Addr begin = 0;
  dwfl_module_info(module, nullptr, &begin, nullptr, nullptr, nullptr, nullptr, nullptr);
  std::string text = name != nullptr
                         ? fmt::format("{}+{:#x} in {}", personality::demangled(name), offset + (shown - at), object)
                         : fmt::format("{}+{:#x}", object, shown - begin);
  int line = 0;
  Dwfl_Line* const source = dwfl_module_getsrc(module, at);
  const char* const file =
      source == nullptr ? nullptr : dwfl_lineinfo(source, nullptr, &line, nullptr, nullptr, nullptr);
  if (file != nullptr) text += fmt::format(" ({}:{})", base_name(file), line);
  return text;
}

int add_frame(Dwfl_Frame* frame, void* argument) {
  Unwinding& unwinding = *static_cast<Unwinding*>(argument);
  Dwarf_Addr pc = 0;
  bool is_exact = false;  // else it is a return address: the call lies before
  if (!dwfl_frame_pc(frame, &pc, &is_exact)) return DWARF_CB_ABORT;
  if (unwinding.frames == kMostFrames) {
    unwinding.text += "gallocy:   and more\n";
    return DWARF_CB_ABORT;
  }
  unwinding.text += fmt::format("gallocy:   #{:<2} {:#x} {}\n", unwinding.frames++, pc,
                                place(unwinding.dwfl, is_exact ? pc : pc - 1, pc));
  return DWARF_CB_OK;
}

}  // namespace

std::string backtrace(const BacktraceTask& task) {
  static const Dwfl_Callbacks callbacks{.find_elf = nullptr,
                                        .find_debuginfo = dwfl_standard_find_debuginfo,
                                        .section_address = nullptr,
                                        .debuginfo_path = nullptr};
  static const Dwfl_Thread_Callbacks thread_callbacks{.next_thread = next_thread,
                                                      .get_thread = nullptr,
                                                      .memory_read = read_memory,
                                                      .set_initial_registers = set_registers,
                                                      .detach = nullptr,
                                                      .thread_detach = nullptr};
  const std::unique_ptr<Dwfl, decltype(&dwfl_end)> dwfl(dwfl_begin(&callbacks), &dwfl_end);
  if (dwfl == nullptr) return {};
  dwfl_report_begin(dwfl.get());
  for (const personality::MappedObject& object : task.objects) {
    (void)dwfl_report_elf(dwfl.get(), object.path.c_str(), object.path.c_str(), -1, object.bias, true);
  }
  dwfl_report_end(dwfl.get(), nullptr, nullptr);
  Unwinding unwinding{.task = task, .dwfl = dwfl.get()};
  if (!dwfl_attach_state(dwfl.get(), nullptr, kThread, &thread_callbacks, &unwinding)) {
    return fmt::format("gallocy:   no backtrace: {}\n", dwfl_errmsg(-1));
  }
  if (dwfl_getthread_frames(dwfl.get(), kThread, add_frame, &unwinding) < 0 && unwinding.frames < kMostFrames) {
    unwinding.text += fmt::format("gallocy:   and no further: {}\n", dwfl_errmsg(-1));
  }
  return unwinding.text;
}

}  // namespace gallocy::command
