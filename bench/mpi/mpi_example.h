// What the hand-written MPI programs have in common. They print `time=` and `digest=` as the examples do.
#pragma once

#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "common/example.h"

namespace gallocy::bench {

// The number after a flag; ends the program with status 64 if it is not there.
inline std::size_t flag(int argc, char** argv, const char* name) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], name) == 0) return std::strtoull(argv[i + 1], nullptr, 10);
  }
  std::fprintf(stderr, "%s: %s NUMBER is missing\n", argv[0], name);
  std::exit(64);
}

struct MpiRun {
  MpiRun(int& argc, char**& argv) {
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  }
  ~MpiRun() { MPI_Finalize(); }
  MpiRun(const MpiRun&) = delete;
  MpiRun& operator=(const MpiRun&) = delete;

  template <typename Compute>
  double seconds_of(Compute compute) const {
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    compute();
    MPI_Barrier(MPI_COMM_WORLD);
    return MPI_Wtime() - start;
  }

  // The bands of rows of all ranks, one after the other; empty where they do not go.
  enum class To { kFirst, kAll };
  std::vector<double> gather_rows(std::span<const double> band, std::size_t n, To to = To::kFirst) const {
    std::vector<int> counts, offsets;
    for (int r = 0; r < ranks; ++r) {
      const auto [begin, end] = gallocy::share(n, static_cast<unsigned>(r), static_cast<unsigned>(ranks));
      counts.push_back(static_cast<int>((end - begin) * n));
      offsets.push_back(static_cast<int>(begin * n));
    }
    std::vector<double> all(to == To::kAll || rank == 0 ? n * n : 0);
    const int mine = static_cast<int>(band.size());
    if (to == To::kAll) {
      MPI_Allgatherv(band.data(), mine, MPI_DOUBLE, all.data(), counts.data(), offsets.data(), MPI_DOUBLE,
                     MPI_COMM_WORLD);
    } else {
      MPI_Gatherv(band.data(), mine, MPI_DOUBLE, all.data(), counts.data(), offsets.data(), MPI_DOUBLE, 0,
                  MPI_COMM_WORLD);
    }
    return all;
  }

  void print(double seconds, std::span<const double> elements) const {
    if (rank != 0) return;
    example::Digest digest;
    for (const double element : elements) digest.add(element);
    example::finish({.seconds = seconds, .digest = digest.value()});
  }

  int rank = 0, ranks = 1;
};

}  // namespace gallocy::bench
