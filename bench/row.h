// A row of the benchmark: one figure of ours beside a reference that was measured in the same run, the two in turn.
//
// `ratio` is the median of ours over the median of the reference. Where the target is an absolute number the reference
// is 1 and the ratio is the figure itself.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gallocy/result.h"

namespace gallocy::bench {

enum class Goal { kAtMost, kAtLeast, kReport };

// One run of one side. Equal digests of both sides mean that they did the same work; empty: there is no result to
// compare.
struct Measured {
  double value = 0;
  std::string digest;
};

// How to measure a row.
struct Plan {
  std::string name;
  std::string unit;
  Goal goal = Goal::kReport;
  double target = 0;
  std::string bound;  // what bounds the figure: one sentence
  std::function<gallocy::Result<Measured>()> ours;
  std::function<gallocy::Result<Measured>()> reference;  // empty: the reference is 1
  std::string skip = "";                                 // why it cannot be measured here; empty: it can
};

struct Series {
  std::vector<double> values;
  double median() const;
  double least() const;
  double most() const;
};

struct Row {
  std::string name, unit, bound;
  Goal goal = Goal::kReport;
  double target = 0;
  Series ours, reference;
  std::string wrong;    // a run that failed, or results that differ; empty if all is well
  std::string skipped;  // why there is no figure; empty if there is one

  double ratio() const { return ours.median() / reference.median(); }
  bool met() const;
};

// Measures both sides in turn, `runs` times.
Row measure(const Plan& plan, unsigned runs);

// A row made of others: the geometric mean of the ratios of all measured rows whose names begin with `parts`.
struct Mean {
  std::string name, parts;
  Goal goal = Goal::kReport;
  double target = 0;
  std::string bound;
};
Row mean_of(const Mean& mean, const std::vector<Row>& rows);

void print_heading();
void print(const Row& row);
// The rows as the JSON array of the benchmark's contract (docs/performance.md).
gallocy::Result<> write_json(const std::vector<Row>& rows, const std::string& path);

}  // namespace gallocy::bench
