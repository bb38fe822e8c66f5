#include "personality/elf_symbols.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <link.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "base/prng.h"
#include "personality/testing/elf_symbols_drive.h"

// What the test looks for in its own executable.
extern "C" {
int gallocy_test_variable[10] = {1};
int gallocy_test_zeroes[20];
__attribute__((noinline)) int gallocy_test_function(int x) { return gallocy_test_variable[x] + gallocy_test_zeroes[x]; }
}

namespace gallocy::personality {
namespace {

std::vector<std::byte> own_file() {
  std::ifstream stream("/proc/self/exe", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// Where the executable is loaded.
std::uint64_t bias() {
  std::uint64_t found = 0;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* to) {
        *static_cast<std::uint64_t*>(to) = info->dlpi_addr;
        return 1;
      },
      &found);
  return found;
}

std::uint64_t in_file(const void* address) { return reinterpret_cast<std::uint64_t>(address) - bias(); }

TEST(ElfSymbols, names_functions_and_variables) {
  const auto symbols = ElfSymbols::read(own_file());
  ASSERT_TRUE(symbols);
  for (const auto& [address, name, bytes] :
       {std::tuple{in_file(&gallocy_test_variable[9]), "gallocy_test_variable", sizeof gallocy_test_variable},
        std::tuple{in_file(&gallocy_test_zeroes[19]), "gallocy_test_zeroes", sizeof gallocy_test_zeroes}}) {
    const ElfSymbol* const found = symbols->find(address);
    ASSERT_NE(found, nullptr) << name;
    EXPECT_EQ(found->name, name);
    EXPECT_EQ(found->bytes, bytes);
    EXPECT_LT(address, symbols->end());
  }
  const ElfSymbol* const function = symbols->find(in_file(reinterpret_cast<void*>(gallocy_test_function)) + 1);
  ASSERT_NE(function, nullptr);
  EXPECT_EQ(function->name, "gallocy_test_function");
}

TEST(ElfSymbols, knows_where_the_file_is_loaded) {
  const auto file = own_file();
  const auto symbols = ElfSymbols::read(file);
  ASSERT_TRUE(symbols);
  EXPECT_EQ(symbols->address_of(0), symbols->begin());
  // The byte of a variable's place in the file is its first one.
  const std::uint64_t wanted = in_file(&gallocy_test_variable);
  std::uint64_t places = 0;
  for (std::uint64_t offset = 0; offset < file.size(); ++offset) {
    if (symbols->address_of(offset) != wanted) continue;
    ++places;
    EXPECT_EQ(file[offset], std::byte{1});
  }
  EXPECT_EQ(places, 1u);
}

TEST(ElfSymbols, refuses_what_is_no_object) {
  EXPECT_FALSE(ElfSymbols::read({}));
  EXPECT_FALSE(
      ElfSymbols::read(std::as_bytes(std::span("#!/bin/sh\nexit 0 and more than enough bytes for a header\n"))));
  auto cut = own_file();
  cut.resize(80);
  EXPECT_FALSE(ElfSymbols::read(cut));
}

TEST(ElfSymbols, survives_random_changes) {
  const auto file = own_file();
  Prng prng(1);
  int read = 0;
  for (int round = 0; round < 100; ++round) {
    auto changed = file;
    for (int i = 0; i < 4; ++i) {  // in the headers: of the file at its beginning, of sections at its end
      const std::uint64_t tables = changed.size() - std::min<std::size_t>(changed.size(), 8192);
      const std::uint64_t at = prng.one_in(2) ? prng.below(1024) : tables + prng.below(changed.size() - tables);
      changed[at] = std::byte(prng());
    }
    if (prng.one_in(4)) changed.resize(prng.below(changed.size()));
    testing::drive_elf_symbols(changed);
    read += ElfSymbols::read(changed).has_value();
  }
  EXPECT_GT(read, 10) << "most changes are not noticed";
}

}  // namespace
}  // namespace gallocy::personality
