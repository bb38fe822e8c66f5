// The symbol reader of process mode, with any file.
#include "personality/testing/elf_symbols_drive.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  gallocy::personality::testing::drive_elf_symbols(std::as_bytes(std::span(data, size)));
  return 0;
}
