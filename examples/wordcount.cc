// wordcount: counts the words of files and directories (wordcount.h has the computation).
//
//   gallocy launch -n 4 -- wordcount /usr/share/common-licenses /usr/share/perl
//
// Shows: standard containers and strings on the global heap, read by other nodes through plain pointers;
// gallocy::atomic_ref as the counter that hands out work.
#include "wordcount.h"

#include <cstdio>

int main(int argc, char** argv) {
  std::vector<std::string> paths;
  example::CommandLine line("Counts the words of text files (default: /usr/share/common-licenses).");
  line.add_paths(paths, "files and directories");
  return example::run(line, argc, argv, [&](auto& team) -> example::Outcome {
    const auto result =
        example::count_words(team, paths.empty() ? std::vector<std::string>{"/usr/share/common-licenses"} : paths);
    if (team.id() == 0) {
      std::printf("%llu files, %llu bytes: %llu words, %llu different ones\n",
                  static_cast<unsigned long long>(result.files), static_cast<unsigned long long>(result.bytes),
                  static_cast<unsigned long long>(result.words), static_cast<unsigned long long>(result.distinct));
      for (const auto& top : result.top)
        std::printf("%10llu %s\n", static_cast<unsigned long long>(top.count), top.word);
    }
    return result;
  });
}
