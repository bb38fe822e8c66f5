#include "durable_checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace gallocy::sim {
namespace {

using Fate = DurableTransaction::Fate;

// What follows what: places 0 … n - 1 are transactions, n … are moments at which one of them returned.
class Graph {
 public:
  explicit Graph(std::size_t places) : next_(places) {}

  void add(std::size_t from, std::size_t to) {
    if (from != to) next_[from].push_back(to);
  }

  // A place that can be reached from itself; the number of places: none.
  std::size_t find_circle() const {
    enum class Mark : char { kNew, kOpen, kDone };
    std::vector<Mark> marks(next_.size(), Mark::kNew);
    for (std::size_t start = 0; start < next_.size(); ++start) {
      std::vector<std::pair<std::size_t, std::size_t>> path;
      if (marks[start] == Mark::kNew) path.emplace_back(start, 0);
      while (!path.empty()) {
        auto& [place, at] = path.back();
        marks[place] = Mark::kOpen;
        if (at == next_[place].size()) {
          marks[place] = Mark::kDone;
          path.pop_back();
          continue;
        }
        const std::size_t to = next_[place][at++];
        if (marks[to] == Mark::kOpen) return to;
        if (marks[to] == Mark::kNew) path.emplace_back(to, 0);
      }
    }
    return next_.size();
  }

 private:
  std::vector<std::vector<std::size_t>> next_;
};

class Checker {
 public:
  Checker(const std::vector<DurableTransaction>& history, const std::vector<std::uint64_t>& last)
      : history_(history), last_(last), versions_(last.size()) {
    for (std::size_t i = 0; i < history.size(); ++i) places_[history[i].number] = i;
  }

  std::optional<std::string> run() {
    for (std::uint32_t cell = 0; cell < last_.size(); ++cell) {
      if (auto wrong = order_versions(cell)) return wrong;
    }
    for (const DurableTransaction& t : history_) {
      if (auto wrong = check_fate(t)) return wrong;
    }
    return check_order();
  }

 private:
  bool writes(const DurableTransaction& t, std::uint32_t cell) const {
    return std::ranges::find(t.writes, cell) != t.writes.end();
  }

  // From the last value back to 0, each writer says what was there before.
  std::optional<std::string> order_versions(std::uint32_t cell) {
    std::vector<std::uint64_t>& versions = versions_[cell];
    for (std::uint64_t value = last_[cell]; value != 0;) {
      const auto place = places_.find(value);
      if (place == places_.end() || !writes(history_[place->second], cell))
        return fmt::format("cell {} has value {}, which nobody wrote there", cell, value);
      if (versions.size() > history_.size()) return fmt::format("the versions of cell {} go round", cell);
      versions.push_back(value);
      value = history_[place->second].reads.at(cell);
    }
    versions.push_back(0);
    std::ranges::reverse(versions);
    for (std::size_t i = 0; i < versions.size(); ++i) positions_[{cell, versions[i]}] = i;
    return std::nullopt;
  }

  bool has_version(std::uint32_t cell, std::uint64_t value) const { return positions_.contains({cell, value}); }

  std::optional<std::string> check_fate(const DurableTransaction& t) {
    const auto seen = std::ranges::count_if(t.writes, [&](std::uint32_t cell) { return has_version(cell, t.number); });
    const bool all = seen == static_cast<std::ptrdiff_t>(t.writes.size());
    if (seen > 0 && !all) return fmt::format("transaction {} is torn", t.number);
    if (t.fate == Fate::kHappened && !all) return fmt::format("acknowledged transaction {} is lost", t.number);
    if (t.fate == Fate::kDidNotHappen && seen > 0)
      return fmt::format("transaction {} was refused, but is there", t.number);
    if (!happened(t)) return std::nullopt;
    for (const auto& [cell, value] : t.reads) {
      if (!has_version(cell, value))
        return fmt::format("transaction {} read {} in cell {}, which was never committed", t.number, value, cell);
    }
    return std::nullopt;
  }

  bool happened(const DurableTransaction& t) const {
    return t.fate == Fate::kHappened ||
           (t.fate == Fate::kUnknown && !t.writes.empty() && has_version(t.writes.front(), t.number));
  }

  std::optional<std::string> check_order() {
    std::vector<std::pair<std::uint64_t, std::size_t>> calls, returns;  // moment, transaction
    for (std::size_t i = 0; i < history_.size(); ++i) {
      if (!happened(history_[i])) continue;
      calls.emplace_back(history_[i].called, i);
      if (history_[i].returned != DurableTransaction::kNever) returns.emplace_back(history_[i].returned, i);
    }
    std::ranges::sort(calls);
    std::ranges::sort(returns);
    Graph graph(history_.size() + returns.size());
    for (std::size_t i = 0; i < returns.size(); ++i) {
      graph.add(returns[i].second, history_.size() + i);
      if (i > 0) graph.add(history_.size() + i - 1, history_.size() + i);
    }
    std::size_t returned = 0;
    for (const auto& [moment, t] : calls) {
      while (returned < returns.size() && returns[returned].first < moment) ++returned;
      if (returned > 0) graph.add(history_.size() + returned - 1, t);
      add_dependencies(graph, t);
    }
    const std::size_t circle = graph.find_circle();
    if (circle == history_.size() + returns.size()) return std::nullopt;
    return fmt::format("no order of the transactions explains what they saw, e.g. {}",
                       circle < history_.size() ? fmt::format("transaction {}", history_[circle].number) : "in time");
  }

  // It comes after whoever wrote what it read, and before whoever overwrote that.
  void add_dependencies(Graph& graph, std::size_t t) const {
    for (const auto& [cell, value] : history_[t].reads) {
      const std::size_t position = positions_.at({cell, value});
      if (value != 0) graph.add(places_.at(value), t);
      if (position + 1 < versions_[cell].size()) graph.add(t, places_.at(versions_[cell][position + 1]));
    }
  }

  const std::vector<DurableTransaction>& history_;
  const std::vector<std::uint64_t>& last_;
  std::map<std::uint64_t, std::size_t> places_;                               // number -> place in the history
  std::vector<std::vector<std::uint64_t>> versions_;                          // of each cell, oldest first
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::size_t> positions_;  // cell, value -> place in versions_
};

}  // namespace

std::optional<std::string> find_violation(const std::vector<DurableTransaction>& history,
                                          const std::vector<std::uint64_t>& last) {
  return Checker(history, last).run();
}

}  // namespace gallocy::sim
