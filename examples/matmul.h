// Multiplies square matrices of doubles, block by block.
#pragma once

#include <algorithm>
#include <cstddef>

#include "common/example.h"

namespace example {

// Element `index` of random matrix `seed`: multiples of 0.001 from -1 to 1.
inline double matrix_element(std::uint64_t seed, std::size_t index) {
  return static_cast<double>(random_word(seed, index) % 2001) / 1000 - 1;
}

// A block of 64 * 64 doubles fits into the first-level cache (32 KiB).
inline constexpr std::size_t kMatrixBlock = 64;

// rows [begin, end) of c += a * b. Every element is summed in the order of k, however the rows are divided, so that the
// result is the same for any number of workers. noinline: both teams run the very same instructions.
[[gnu::noinline]] inline void multiply_rows(const double* a, const double* b, double* c, std::size_t n,
                                            std::size_t begin, std::size_t end) {
  for (std::size_t k0 = 0; k0 < n; k0 += kMatrixBlock) {
    const std::size_t depth = std::min(n - k0, kMatrixBlock);
    for (std::size_t j0 = 0; j0 < n; j0 += kMatrixBlock) {
      const std::size_t width = std::min(n - j0, kMatrixBlock);
      // Copied, because rows that lie a power of two apart would evict each other from the cache.
      double block[kMatrixBlock][kMatrixBlock];
      for (std::size_t k = 0; k < depth; ++k) std::copy_n(&b[(k0 + k) * n + j0], width, block[k]);
      for (std::size_t i = begin; i < end; ++i) {
        double* __restrict sum = c + i * n + j0;
        for (std::size_t k = 0; k < depth; ++k) {
          const double factor = a[i * n + k0 + k];
          for (std::size_t j = 0; j < width; ++j) sum[j] += factor * block[k][j];
        }
      }
    }
  }
}

}  // namespace example
