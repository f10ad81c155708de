// What hqq 0.2.8.post1 computes in f32 on a CPU with axis 1. Where it departs from the article
// (hqq.cc): beta stays at 10; rounds stop for all blocks at once, when the mean |error| of the
// whole matrix is no better, and the last zero stays, not the best; at 4 bits the first zero is
// rounded; codes are those of the numbers before they are stored. Bit for bit up to the order of
// its sums and the last bit of its powers.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "base/thread_pool.h"
#include "quantize/grid.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

constexpr float kP = 0.7f, kBeta = 10, kMaxScale = 2e4f, kMinRange = 1e-4f;
constexpr int kRounds = 20;

struct Block {
  float scale, zero;  // code = clamp(round(w * scale + zero))
};

struct Matrix {
  int64_t n, k, group, blocks;  // blocks of a row
  float top;                    // the largest code
  std::vector<float> w;         // [n, k]
  std::vector<Block> grid;      // [n, blocks]

  std::span<const float> numbers(int64_t row, int64_t block) const {
    const int64_t begin = block * group, end = std::min(k, begin + group);
    return std::span(w).subspan(static_cast<size_t>(row * k + begin),
                                static_cast<size_t>(end - begin));
  }
  float code(const Block& b, float value) const {
    return std::clamp(std::nearbyint(value * b.scale + b.zero), 0.0f, top);
  }
};

Block first_grid(std::span<const float> w, float top, bool round_zero) {
  const auto [lo, hi] = std::minmax_element(w.begin(), w.end());
  const float range = *hi - *lo;
  float scale = std::abs(range) <= kMinRange ? 1.0f : 1 / range * top;  // in this order
  scale = std::min(scale, kMaxScale);
  const float zero = -*lo * scale;
  return {scale, round_zero ? std::nearbyint(zero) : zero};
}

// Powers are slow, and below this size nothing is left: 0.17 = (1 / beta) ^ (1 / (2 - p)).
constexpr float kVanishes = 0.16f;

float shrink(float x) {
  const float size = std::abs(x);
  if (size < kVanishes) return 0;
  return std::copysign(std::max(0.0f, size - (1.0f / kBeta) * std::pow(size, kP - 1)), x);
}

// In the order of torch's sums along a contiguous row where vectors hold 8 numbers: four sums of
// vectors, those added up, then their lanes; what is left over first.
float torch_sum(std::span<const float> x) {
  constexpr size_t kLanes = 8, kSums = 4;
  float sums[kSums][kLanes] = {};
  const size_t vectors = x.size() / kLanes, even = vectors / kSums * kSums;
  for (size_t v = 0; v < vectors; ++v) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      sums[v < even ? v % kSums : 0][lane] += x[v * kLanes + lane];
    }
  }
  float total = 0;
  for (size_t i = vectors * kLanes; i < x.size(); ++i) total += x[i];
  for (size_t lane = 0; lane < kLanes; ++lane) {
    for (size_t sum = 1; sum < kSums; ++sum) sums[0][lane] += sums[sum][lane];
    total += sums[0][lane];
  }
  return total;
}

// One round on one block: its new zero, and the sum of |error| before. `zeros` is room for as many
// numbers as the block has.
double improve(const Matrix& m, std::span<const float> w, std::span<float> zeros, Block* block) {
  const Block b = *block;
  double errors = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    const float q = m.code(b, w[i]);
    const float x = w[i] - (q - b.zero) / b.scale;
    errors += std::abs(x);
    zeros[i] = q - (w[i] - shrink(x)) * b.scale;
  }
  block->zero = torch_sum(zeros.first(w.size())) / static_cast<float>(w.size());
  return errors;
}

void optimize(Matrix* m) {
  float best = 1e4f;
  std::vector<double> errors(static_cast<size_t>(m->n));  // of each row: sums in one order
  for (int round = 0; round < kRounds; ++round) {
    thread_pool().for_ranges(m->n, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> zeros(static_cast<size_t>(std::min(m->group, m->k)));
      for (int64_t n = begin; n < end; ++n) {
        double row = 0;
        for (int64_t b = 0; b < m->blocks; ++b) {
          row += improve(*m, m->numbers(n, b), zeros,
                         &m->grid[static_cast<size_t>(n * m->blocks + b)]);
        }
        errors[static_cast<size_t>(n)] = row;
      }
    });
    double total = 0;
    for (const double row : errors) total += row;
    const auto mean = static_cast<float>(total / static_cast<double>(m->w.size()));
    if (!(mean < best)) return;
    best = mean;
  }
}

// The first row whose grids do not fit, or -1.
int64_t store(const Matrix& m, const QTensorBuilder& out) {
  const Format& f = out.tensor.format;
  return run_tiles(m.n, 1, [&](int64_t n, int64_t) {
    std::vector<uint32_t> codes(static_cast<size_t>(m.k));
    auto code = codes.begin();
    bool fits = true;
    for (int64_t b = 0; b < m.blocks; ++b) {
      const Block& grid = m.grid[static_cast<size_t>(n * m.blocks + b)];
      for (const float w : m.numbers(n, b)) *code++ = static_cast<uint32_t>(m.code(grid, w));
      fits &= store_grid(out, n, b, to_grid(f, {double{1 / grid.scale}, double{grid.zero}}));
    }
    pack_codes(f, codes, out.codes + n * row_bytes(f, m.k));
    return fits ? -1 : n;
  });
}

Matrix read(const QTensor& source, const Format& target, const std::string& tensor) {
  Matrix m{.n = source.n,
           .k = source.k,
           .group = target.block.k == 0 ? source.k : target.block.k,
           .blocks = blocks_along_k(target, source.k),
           .top = static_cast<float>(code_range(target).max),
           .w = std::vector<float>(static_cast<size_t>(source.n * source.k)),
           .grid = {}};
  thread_pool().for_ranges(m.n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) decode_row(source, n, &m.w[static_cast<size_t>(n * m.k)]);
  });
  const auto bad =
      std::find_if_not(m.w.begin(), m.w.end(), [](float v) { return std::isfinite(v); });
  if (bad != m.w.end()) fail_not_finite(tensor, (bad - m.w.begin()) / m.k, target);
  for (int64_t n = 0; n < m.n; ++n) {
    for (int64_t b = 0; b < m.blocks; ++b) {
      m.grid.push_back(first_grid(m.numbers(n, b), m.top, target.bits == 4));
    }
  }
  return m;
}

}  // namespace

std::string hqq_release_refuses(const Format& target) {
  const bool has_zero = target.zero == Zero::kReal || target.zero == Zero::kFloat;
  if (has_zero && target.block.n == 1 && !target.sparse24) return "";
  return fmt::format("hqq-0.2.8 makes int formats with -rzero (or -fzero), not {}", name(target));
}

QTensor quantize_hqq_release(const QTensor& source, const Format& target,
                             const QuantizeContext& context) {
  if (just_converts(source, target)) return quantize_rtn(source, target, context);
  check_takes(target, source.n, source.k, context.tensor);
  check_does(context.tensor, hqq_release_refuses(target));
  Matrix matrix = read(source, target, context.tensor);
  optimize(&matrix);
  const QTensorBuilder out = build_qtensor(target, source.n, source.k);
  const int64_t bad = store(matrix, out);
  if (bad >= 0) fail_not_finite(context.tensor, bad, target);
  return out.tensor;
}

}  // namespace lowbit
