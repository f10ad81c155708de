#include "quantize/matrix.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "base/thread_pool.h"

namespace lowbit {
namespace {

constexpr int64_t kTileRows = 4, kTileCols = 16;

// A full tile: the compiler keeps the sums in vector registers.
void add_tile(int64_t depth, float sign, ConstMatrix a, ConstMatrix b, float* c, int64_t c_stride) {
  float sums[kTileRows][kTileCols] = {};
  for (int64_t d = 0; d < depth; ++d) {
    const float* row = b.data + d * b.stride;
    for (int64_t r = 0; r < kTileRows; ++r) {
      const float factor = a.data[r * a.stride + d];
      for (int64_t i = 0; i < kTileCols; ++i) sums[r][i] += factor * row[i];
    }
  }
  for (int64_t r = 0; r < kTileRows; ++r) {
    for (int64_t i = 0; i < kTileCols; ++i) c[r * c_stride + i] += sign * sums[r][i];
  }
}

void add_edge(const MatMul& m, ConstMatrix a, ConstMatrix b, float* c, int64_t c_stride) {
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t i = 0; i < m.cols; ++i) {
      float sum = 0;
      for (int64_t d = 0; d < m.depth; ++d) {
        sum += a.data[r * a.stride + d] * b.data[d * b.stride + i];
      }
      c[r * c_stride + i] += m.sign * sum;
    }
  }
}

// rows [row, row + count) of the transpose of x [rows, k]: [count, rows]
void transpose(const float* x, int64_t rows, int64_t k, int64_t row, int64_t count, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < count; ++i) out[i * rows + r] = x[r * k + row + i];
  }
}

// The work of rows of an upper triangle falls from k to 1: bands dealt out like cards even it out.
template <class Body>
void for_bands(int64_t n, int64_t band, Body&& body) {
  const int64_t bands = (n + band - 1) / band;
  std::atomic<int64_t> next{0};
  thread_pool().run([&](int) {
    for (int64_t i = next++; i < bands; i = next++) body(i * band, std::min(n, (i + 1) * band));
  });
}

// U D U^T of the block [begin, end) on the diagonal, from its last column: a's upper triangle
// becomes R = U sqrt(D). In double: these are the pivots.
bool factor_diagonal(float* a, int64_t k, int64_t begin, int64_t end) {
  for (int64_t j = end - 1; j >= begin; --j) {
    double pivot = a[j * k + j];
    for (int64_t m = j + 1; m < end; ++m) pivot -= double{a[j * k + m]} * a[j * k + m];
    if (!(pivot > 0) || !std::isfinite(pivot)) return false;
    const double root = std::sqrt(pivot);
    a[j * k + j] = static_cast<float>(root);
    for (int64_t i = begin; i < j; ++i) {
      double sum = a[i * k + j];
      for (int64_t m = j + 1; m < end; ++m) sum -= double{a[i * k + m]} * a[j * k + m];
      a[i * k + j] = static_cast<float>(sum / root);
    }
  }
  return true;
}

// x R^T = x' in place for the row x of `end - begin` numbers, R the factored diagonal block.
void solve_row(const float* a, int64_t k, int64_t begin, int64_t end, float* x) {
  for (int64_t j = end - 1; j >= begin; --j) {
    float sum = x[j - begin];
    for (int64_t m = j + 1; m < end; ++m) sum -= x[m - begin] * a[j * k + m];
    x[j - begin] = sum / a[j * k + j];
  }
}

}  // namespace

void add_product(const MatMul& m, ConstMatrix a, ConstMatrix b, float* c, int64_t c_stride) {
  for (int64_t r = 0; r < m.rows; r += kTileRows) {
    const int64_t rows = std::min(kTileRows, m.rows - r);
    const ConstMatrix left{a.data + r * a.stride, a.stride};
    for (int64_t i = 0; i < m.cols; i += kTileCols) {
      const int64_t cols = std::min(kTileCols, m.cols - i);
      const ConstMatrix right{b.data + i, b.stride};
      float* to = c + r * c_stride + i;
      if (rows == kTileRows && cols == kTileCols) {
        add_tile(m.depth, m.sign, left, right, to, c_stride);
      } else {
        add_edge({rows, cols, m.depth, m.sign}, left, right, to, c_stride);
      }
    }
  }
}

void add_second_moments(const float* x, int64_t rows, int64_t k, float* h) {
  constexpr int64_t kBand = 32;
  for_bands(k, kBand, [&](int64_t begin, int64_t end) {
    std::vector<float> left(static_cast<size_t>((end - begin) * rows));
    transpose(x, rows, k, begin, end - begin, left.data());
    add_product({end - begin, k - begin, rows}, {left.data(), rows}, {x + begin, k},
                h + begin * k + begin, k);
  });
}

void mirror_upper(float* h, int64_t k) {
  thread_pool().for_ranges(k, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < i; ++j) h[i * k + j] = h[j * k + i];
    }
  });
}

bool factor_udu(float* a, int64_t k) {
  constexpr int64_t kBlock = 64, kBand = 32;
  std::vector<float> panel(static_cast<size_t>(kBlock * k));  // [width, begin]: solved, transposed
  for (int64_t end = k; end > 0;) {
    const int64_t begin = (end - 1) / kBlock * kBlock, width = end - begin;
    if (!factor_diagonal(a, k, begin, end)) return false;
    thread_pool().for_ranges(begin, kBand, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        solve_row(a, k, begin, end, a + i * k + begin);
        for (int64_t m = 0; m < width; ++m) panel[m * begin + i] = a[i * k + begin + m];
      }
    });
    for_bands(begin, kBand, [&](int64_t from, int64_t to) {
      add_product({to - from, begin - from, width, -1}, {a + from * k + begin, k},
                  {panel.data() + from, begin}, a + from * k + from, k);
    });
    end = begin;
  }
  std::vector<float> inverse(static_cast<size_t>(k));
  for (int64_t j = 0; j < k; ++j) inverse[static_cast<size_t>(j)] = 1 / a[j * k + j];
  thread_pool().for_ranges(k, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      for (int64_t j = i + 1; j < k; ++j) a[i * k + j] *= inverse[static_cast<size_t>(j)];
    }
  });
  return true;
}

}  // namespace lowbit
