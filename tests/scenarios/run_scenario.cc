// Runs a protocol scenario: a text of commands, each followed by `----` and the output recorded for it, up to an empty
// line (after the `testdata` of etcd's raft). Exit status 0 if the output is the recorded one.
//
//   run_scenario FILE             compares
//   run_scenario --rewrite FILE   records; read the difference before you believe it
//
// Commands
//   cluster nodes=3 [blocks=1] [placement=node:0|first_touch|interleave] [hold=0] [run=1] [predict=on] [move=0]
//           [budget=PAGES]                    a new cluster; every scenario begins with one
//   write NODE PAGE VALUE | read NODE PAGE    a thread's access to word 0; it waits and goes on when it is woken
//   pin NODE PAGE | unpin NODE PAGE           for writing; the page must be here
//   lock NODE PAGE | unlock NODE PAGE         a thread of the node holds a lock in the page
//   freeze NODE PAGE | thaw NODE PAGE         the page's bytes do not leave the node meanwhile
//   deliver FROM->TO [TIMES] | deliver all    oldest first; all: round and round over the pairs until nothing is left
//   advance MICROSECONDS                      time passes; nodes whose deadline has come tick
//   room NODE                                 announces the free part of its budget to the others
//   crash NODE [keep=N]                       dies; N of its messages to each node still arrive, then the news
//   state PAGE                                what each node knows of it
//   rest                                      checks that nothing is under way, and directory and nodes agree
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/check.h"
#include "coherence_cluster.h"

namespace gallocy::sim {
namespace {

struct Access {
  NodeId node;
  PageId page;
  bool writes = false;
  std::uint64_t value = 0;
  bool woken = true;
};

class Interpreter : public CoherenceObserver {
 public:
  std::string run(const std::string& line) {
    output_.clear();
    std::istringstream words(line);
    std::string command;
    words >> command;
    std::vector<std::string> arguments;
    for (std::string word; words >> word;) arguments.push_back(word);
    CHECK(command == "cluster" || cluster_ != nullptr, "a scenario begins with `cluster`");
    execute(command, arguments);
    while (go_on()) {
    }
    return output_.empty() ? "ok\n" : output_;
  }

 private:
  void execute(const std::string& command, const std::vector<std::string>& a) {
    if (command == "cluster") return make_cluster(a);
    if (command == "write") return waiting_.push_back({node(a.at(0)), page(a.at(1)), true, number(a.at(2))});
    if (command == "read") return waiting_.push_back({node(a.at(0)), page(a.at(1))});
    if (command == "pin") return cluster_->pin(node(a.at(0)), page(a.at(1)), gallocy::Access::kWrite);
    if (command == "unpin") return cluster_->unpin(node(a.at(0)), page(a.at(1)));
    if (command == "lock") return cluster_->lock(node(a.at(0)), page(a.at(1)));
    if (command == "unlock") return cluster_->unlock(node(a.at(0)), page(a.at(1)));
    if (command == "freeze") return cluster_->freeze(node(a.at(0)), page(a.at(1)));
    if (command == "thaw") return cluster_->thaw(node(a.at(0)), page(a.at(1)));
    if (command == "deliver")
      return a.at(0) == "all" ? deliver_all() : deliver(a.at(0), a.size() > 1 ? number(a[1]) : 1);
    if (command == "advance") return advance(number(a.at(0)));
    if (command == "room") return cluster_->announce_room(node(a.at(0)));
    if (command == "crash") return crash(a);
    if (command == "state") return print_state(page(a.at(0)));
    if (command == "rest") return cluster_->check_rest();
    CHECK(false, "no such command", command);
  }

  void make_cluster(const std::vector<std::string>& a) {
    std::map<std::string, std::string> given;
    for (const std::string& word : a) {
      const auto equals = word.find('=');
      CHECK(equals != std::string::npos, "name=value is missing", word);
      given[word.substr(0, equals)] = word.substr(equals + 1);
    }
    const auto value = [&](const char* name, const char* otherwise) {
      return given.contains(name) ? given[name] : std::string(otherwise);
    };
    CoherenceCluster::Options options{.trace = true};
    const auto nodes = static_cast<std::uint16_t>(number(value("nodes", "3")));
    for (std::uint16_t n = 0; n < nodes; ++n) {
      options.nodes.push_back({.self = NodeId{n},
                               .nodes = nodes,
                               .minimum_hold_us = number(value("hold", "0")),
                               .longest_run = static_cast<unsigned>(number(value("run", "1"))),
                               .predict_migratory = value("predict", "off") == "on",
                               .move_home_after = static_cast<unsigned>(number(value("move", "0"))),
                               .budget_pages = number(value("budget", "1000000"))});
    }
    const std::string placement = value("placement", "node:0");
    coherence::RegionSpec region{.first_page = PageId{0}, .pages = kBlockPages * number(value("blocks", "1"))};
    if (placement == "interleave") region.placement = coherence::PlacementKind::kInterleave;
    if (placement.starts_with("node:")) {
      region.placement = coherence::PlacementKind::kNode;
      region.node = node(placement.substr(5));
    }
    options.regions = {region};
    waiting_.clear();
    cluster_ = std::make_unique<CoherenceCluster>(options, *this);
  }

  void deliver(const std::string& pair, std::uint64_t times) {
    const auto arrow = pair.find("->");
    CHECK(arrow != std::string::npos, "FROM->TO", pair);
    const NodeId from = node(pair.substr(0, arrow)), to = node(pair.substr(arrow + 2));
    for (; times > 0; --times) {
      CHECK(cluster_->network().pending(from, to) != 0, "nothing to deliver", pair);
      cluster_->deliver(from, to);
    }
  }

  void deliver_all() {
    while (cluster_->network().pending() != 0) {
      for (std::uint16_t from = 0; from < cluster_->count(); ++from) {
        for (std::uint16_t to = 0; to < cluster_->count(); ++to) {
          if (cluster_->network().pending(NodeId{from}, NodeId{to}) != 0) cluster_->deliver(NodeId{from}, NodeId{to});
        }
      }
      while (go_on()) {
      }
    }
  }

  void advance(std::uint64_t us) {
    cluster_->advance_to(cluster_->now() + us);
    for (std::uint16_t n = 0; n < cluster_->count(); ++n) {
      if (cluster_->alive(NodeId{n}) && cluster_->core(NodeId{n}).next_deadline() <= cluster_->now())
        cluster_->tick(NodeId{n});
    }
  }

  void crash(const std::vector<std::string>& a) {
    std::size_t keep = ~std::size_t{0};
    if (a.size() > 1 && a[1].starts_with("keep=")) keep = number(a[1].substr(5));
    cluster_->crash(node(a.at(0)), [keep](NodeId, std::size_t in_flight) { return std::min(keep, in_flight); });
  }

  void print_state(PageId p) {
    for (std::uint16_t n = 0; n < cluster_->count(); ++n) {
      if (cluster_->alive(NodeId{n})) trace(cluster_->core(NodeId{n}).describe(p));
    }
  }

  // One access of a thread that is not waiting. False: there is none.
  bool go_on() {
    for (std::size_t i = 0; i < waiting_.size(); ++i) {
      if (!waiting_[i].woken) continue;
      const Access access = waiting_[i];
      const auto want = access.writes ? gallocy::Access::kWrite : gallocy::Access::kRead;
      if (!cluster_->alive(access.node)) {
        waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
      } else if (cluster_->may(access.node, access.page, want)) {
        waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
        if (access.writes) {
          cluster_->write(access.node, access.page, 0, access.value);
        } else {
          (void)cluster_->read(access.node, access.page, 0);
        }
      } else {
        waiting_[i].woken = false;
        const auto outcome = cluster_->fault(access.node, access.page, want);
        if (outcome == coherence::FaultOutcome::kPending) return true;
        waiting_[i].woken = true;
        if (outcome != coherence::FaultOutcome::kLost) return true;
        trace(fmt::format("node {} cannot have {}: it is lost", access.node, access.page));
        waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
      }
      return true;
    }
    return false;
  }

  void woken(NodeId node, BlockId block, coherence::PageSet pages) override {
    for (Access& access : waiting_) {
      if (access.node == node && block_of(access.page) == block &&
          coherence::contains(pages, index_in_block(access.page)))
        access.woken = true;
    }
  }
  void lost(NodeId node, BlockId block, coherence::PageSet pages) override { woken(node, block, pages); }
  void trace(std::string_view line) override {
    output_ += line;
    output_ += '\n';
  }

  static std::uint64_t number(const std::string& word) { return std::stoull(word); }
  static NodeId node(const std::string& word) { return NodeId{static_cast<std::uint16_t>(number(word))}; }
  static PageId page(const std::string& word) { return PageId{number(word)}; }

  std::unique_ptr<CoherenceCluster> cluster_;
  std::vector<Access> waiting_;
  std::string output_;
};

// The scenario with the output that it has now.
std::string replay(std::istream& in) {
  Interpreter interpreter;
  std::string result, line;
  while (std::getline(in, line)) {
    if (line.empty() || line[0] == '#') {
      result += line + '\n';
      continue;
    }
    result += line + "\n----\n" + interpreter.run(line) + '\n';
    // What was recorded, if anything, ends with an empty line.
    const auto here = in.tellg();
    if (std::getline(in, line) && line == "----") {
      while (std::getline(in, line) && !line.empty()) {
      }
    } else {
      in.clear();
      in.seekg(here);
    }
  }
  return result;
}

int run(const std::string& path, bool rewrite) {
  std::ifstream file(path);
  if (!file) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    return 1;
  }
  std::stringstream recorded;
  recorded << file.rdbuf();
  const std::string result = replay(recorded);
  if (rewrite) {
    std::ofstream(path) << result;
    return 0;
  }
  if (result == recorded.str()) return 0;
  std::istringstream was(recorded.str()), is(result);
  std::string a, b;
  for (unsigned line = 1; std::getline(is, b); ++line) {
    const bool more = static_cast<bool>(std::getline(was, a));
    if (more && a == b) continue;
    std::fprintf(stderr, "%s:%u\n  recorded: %s\n  now:      %s\n", path.c_str(), line, more ? a.c_str() : "(end)",
                 b.c_str());
    break;
  }
  return 1;
}

}  // namespace
}  // namespace gallocy::sim

int main(int argc, char** argv) {
  const bool rewrite = argc > 1 && std::string(argv[1]) == "--rewrite";
  if (argc != (rewrite ? 3 : 2)) {
    std::fprintf(stderr, "usage: run_scenario [--rewrite] FILE\n");
    return 64;
  }
  return gallocy::sim::run(argv[argc - 1], rewrite);
}
