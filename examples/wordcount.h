// Counts the words of text files. Worker 0 lists the files; the workers take them a few at a time from a shared counter
// and count into a table of their own on the global heap: an ordinary std::unordered_map whose nodes and strings lie in
// global memory. Then each worker merges one part of the words (by hash) from everybody's tables, following the others'
// pointers.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/example.h"

namespace example {

template <typename Team>
using Text = std::basic_string<char, std::char_traits<char>, typename Team::template allocator<char>>;

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

template <typename Team>
using CountTable = std::unordered_map<Text<Team>, std::uint64_t, TextHash, std::equal_to<>,
                                      typename Team::template allocator<std::pair<const Text<Team>, std::uint64_t>>>;

template <typename Team>
using TextList = std::vector<Text<Team>, typename Team::template allocator<Text<Team>>>;

inline constexpr std::size_t kTopWords = 12;
inline constexpr std::size_t kFilesAtOnce = 8;  // small files cost more to ask for than to read

struct TopWord {
  std::uint64_t count = 0;
  char word[40] = {};                           // cut off if longer
  bool operator<(const TopWord& other) const {  // most frequent first, then by the alphabet
    return count != other.count ? count > other.count : std::string_view(word) < other.word;
  }
};

// What one worker found. On a page of its own: written by its worker alone.
template <typename Team>
struct alignas(kPageBytes) WordPart {
  CountTable<Team>* counted = nullptr;  // before the merge: of the files this worker read
  std::uint64_t files = 0, bytes = 0;
  std::uint64_t words = 0, distinct = 0, digest = 0;  // after the merge: of the words that are this worker's
  TopWord top[kTopWords];
};

// On separate pages, because the counter is hit while the list is read.
template <typename Team>
struct WordJob {
  alignas(kPageBytes) std::uint64_t next_file = 0;
  alignas(kPageBytes) TextList<Team> files;
};

// Compressed files hold no words, and marked-up ones mostly names of tags.
inline bool is_plain_text(const std::filesystem::path& file) {
  static const std::vector<std::string> others = {".css", ".gz", ".htm", ".html", ".js", ".json", ".svg", ".png"};
  return std::find(others.begin(), others.end(), file.extension()) == others.end();
}

// The files given, and the plain text under the directories given, in the order of their names.
inline std::vector<std::string> text_files(const std::vector<std::string>& paths) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  std::error_code ignored;  // what cannot be read is left out
  for (const auto& path : paths) {
    if (fs::is_regular_file(path, ignored)) files.push_back(path);
    if (!fs::is_directory(path, ignored)) continue;
    for (fs::recursive_directory_iterator at(path, fs::directory_options::skip_permission_denied, ignored), end;
         at != end; at.increment(ignored)) {
      if (at->is_regular_file(ignored) && !at->is_symlink(ignored) && is_plain_text(at->path()))
        files.push_back(at->path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Words are runs of ASCII letters, in lower case. Returns the bytes read.
template <typename Table>
std::uint64_t count_file(const std::string& path, Table& table) {
  std::ifstream file(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  std::string word;
  const auto end_word = [&] {
    if (word.empty()) return;
    auto entry = table.find(std::string_view(word));
    if (entry == table.end()) entry = table.emplace(word, 0).first;
    ++entry->second;
    word.clear();
  };
  for (const char c : text) {
    const char lower = static_cast<char>(c | 0x20);
    if (lower >= 'a' && lower <= 'z') {
      word.push_back(lower);
    } else {
      end_word();
    }
  }
  end_word();
  return text.size();
}

// Merges the words whose hash is worker `id`'s from all tables into `part`.
template <typename Team>
void merge_part(Team& team, std::span<WordPart<Team>> parts, WordPart<Team>& part) {
  std::unordered_map<std::string_view, std::uint64_t> merged;  // private; the words stay where they are
  for (const auto& other : parts) {
    for (const auto& [word, count] : *other.counted) {
      if (TextHash()(word) % team.count() == team.id()) merged[word] += count;
    }
  }
  std::vector<TopWord> top;
  for (const auto& [word, count] : merged) {
    part.words += count;
    part.digest += mix(TextHash()(word) ^ mix(count));  // a sum: whatever the order, the same
    TopWord entry{.count = count};
    word.copy(entry.word, sizeof entry.word - 1);
    top.push_back(entry);
  }
  part.distinct = merged.size();
  const std::size_t kept = std::min(kTopWords, top.size());
  std::partial_sort(top.begin(), top.begin() + static_cast<std::ptrdiff_t>(kept), top.end());
  std::copy_n(top.begin(), kept, part.top);
}

struct WordCountResult : Outcome {
  std::uint64_t files = 0, bytes = 0, words = 0, distinct = 0;
  std::vector<std::uint64_t> bytes_by_worker;
  std::vector<TopWord> top;
};

template <typename Team>
WordCountResult gather(std::span<const WordPart<Team>> parts) {
  WordCountResult result;
  std::uint64_t sum = 0;
  for (const auto& part : parts) {
    result.files += part.files, result.bytes += part.bytes, result.words += part.words,
        result.distinct += part.distinct;
    result.bytes_by_worker.push_back(part.bytes);
    result.top.insert(result.top.end(), std::begin(part.top), std::end(part.top));
    sum += part.digest;
  }
  std::sort(result.top.begin(), result.top.end());
  result.top.resize(kTopWords);
  Digest digest;
  for (const std::uint64_t word : {result.files, result.bytes, result.words, result.distinct, sum}) digest.add(word);
  result.digest = digest.value();
  return result;
}

template <typename Team>
WordCountResult count_words(Team& team, const std::vector<std::string>& paths) {
  auto parts = shared<WordPart<Team>>(team, "wordcount.parts", team.count());
  auto& job = object<WordJob<Team>>(team, "wordcount.job");
  if (team.id() == 0) {
    for (const auto& file : text_files(paths)) job.files.emplace_back(file);
  }
  WordPart<Team>& mine = parts[team.id()];
  mine = {};

  const double seconds = seconds_of(team, [&] {
    mine.counted = make<CountTable<Team>>(team);
    typename Team::template atomic_ref<std::uint64_t> next_file(job.next_file);
    for (auto at = next_file.fetch_add(kFilesAtOnce); at < job.files.size(); at = next_file.fetch_add(kFilesAtOnce)) {
      for (auto i = at; i < std::min<std::size_t>(at + kFilesAtOnce, job.files.size()); ++i, ++mine.files) {
        mine.bytes += count_file(std::string(job.files[i]), *mine.counted);
      }
    }
    team.barrier();
    merge_part(team, parts, mine);
  });

  WordCountResult result;
  if (team.id() == 0) {
    result = gather<Team>(parts);
    result.seconds = seconds;
  }
  team.barrier();
  destroy(team, mine.counted);
  if (team.id() == 0) TextList<Team>().swap(job.files);
  return result;
}

}  // namespace example
