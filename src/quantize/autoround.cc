// AutoRound (Cheng et al. 2023, arXiv:2309.05516): what is added to a weight before it is rounded,
// and how far each block's range is clipped, are learned by signed gradient descent,
//   w^ = lo + s round((w - lo) / s + v),   s = (hi - lo) / q_max,   |v| <= 1/2,
// each step a fixed length down the sign of the gradient (rounding counts as the identity), shorter
// from step to step. The published method lowers the error of a block of layers; here that of each
// Linear, (w - w^) H (w - w^)^T, row by row: H is all that it has to know of a text. A row starts
// as round to nearest has it and ends as the best that was seen, never worse on the text itself.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "formats/codec.h"
#include "quantize/grid.h"
#include "quantize/matrix.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

constexpr int64_t kTileRows = 16;      // rows that share a pass over H
constexpr float kMostClipped = 0.45f;  // of a block's range, at either end

// Rounding of a float to a whole number by adding and taking away 1.5 * 2^23.
constexpr float kRound = 0x1.8p23f;

struct Job {
  const QTensor& source;
  const QTensorBuilder& out;
  int32_t steps;
  const std::vector<float>& h;  // [k, k]
  float trust = 1;              // in what is off the diagonal of H

  const Format& format() const { return out.tensor.format; }
  int64_t k() const { return source.k; }
  int64_t block() const { return format().block.k == 0 ? k() : format().block.k; }
  int64_t blocks() const { return blocks_along_k(format(), k()); }
};

// What is learned of one row, and what it makes.
struct Row {
  std::vector<float> v;          // [k] added before rounding, in codes
  std::vector<float> low, high;  // [blocks] of the range, clipped at either end
};

class Tile {
 public:
  Tile(const Job& job, int64_t first, int64_t rows)
      : job_(job),
        first_(first),
        rows_(rows),
        w_(size(rows * job.k())),
        e_(w_.size()),
        slope_(w_.size()),
        q_(w_.size()),
        lo_(size(rows * job.blocks())),
        hi_(lo_.size()),
        grid_(lo_.size()),
        best_error_(size(rows), HUGE_VAL),
        nearest_error_(size(rows), HUGE_VAL) {
    for (int64_t r = 0; r < rows; ++r) {
      now_.push_back({std::vector<float>(size(job.k())), std::vector<float>(size(job.blocks())),
                      std::vector<float>(size(job.blocks()))});
    }
    best_ = now_;
  }

  // The first row whose numbers are not finite or fit no scale, or -1.
  int64_t run();

 private:
  static size_t size(int64_t n) { return static_cast<size_t>(n); }
  int64_t end_of(int64_t block) const { return std::min((block + 1) * job_.block(), job_.k()); }
  int64_t read();
  Grid clipped_grid(int64_t r, int64_t block, const Row& row) const;
  bool encode(int64_t r, const Row& row);
  void measure();
  void step(int64_t r, float length);
  int64_t write();

  const Job& job_;
  int64_t first_, rows_;
  std::vector<float> w_, e_, slope_, q_;  // [rows, k]: w - w^, e H, codes as numbers
  std::vector<float> lo_, hi_;            // [rows, blocks]
  std::vector<BlockParams> grid_;
  std::vector<Row> now_, best_;
  std::vector<double> best_error_, nearest_error_;  // of round to nearest, on the text
  bool first_measure_ = true;
};

int64_t Tile::read() {
  const int64_t k = job_.k();
  for (int64_t r = 0; r < rows_; ++r) {
    float* row = &w_[r * k];
    decode_row(job_.source, first_ + r, row);
    if (!all_finite({row, size(k)})) return first_ + r;
    for (int64_t b = 0; b < job_.blocks(); ++b) {
      const auto range = std::minmax_element(row + b * job_.block(), row + end_of(b));
      lo_[r * job_.blocks() + b] = *range.first;
      hi_[r * job_.blocks() + b] = *range.second;
    }
  }
  return -1;
}

// By the format's rule, of a range from which `row` has clipped something.
Grid Tile::clipped_grid(int64_t r, int64_t block, const Row& row) const {
  const float lo = lo_[r * job_.blocks() + block], hi = hi_[r * job_.blocks() + block];
  const float width = hi - lo;
  return choose_grid(job_.format(),
                     BlockStats{lo + row.low[block] * width, hi - row.high[block] * width}, 1);
}

// Codes and errors of a row; false: a scale that does not fit its type.
bool Tile::encode(int64_t r, const Row& row) {
  const Format& f = job_.format();
  const CodeRange range = code_range(f);
  const auto least = static_cast<float>(range.min), most = static_cast<float>(range.max);
  const int64_t k = job_.k();
  for (int64_t b = 0; b < job_.blocks(); ++b) {
    const BlockParams p = stored_params(f, clipped_grid(r, b, row));
    if (!finite(p)) return false;
    grid_[r * job_.blocks() + b] = p;
    const auto inverse = static_cast<float>(p.scale == 0 ? 0 : 1 / p.scale);
    const auto scale = static_cast<float>(p.scale), shift = static_cast<float>(p.shift),
               offset = static_cast<float>(p.offset);
    for (int64_t i = b * job_.block(); i < end_of(b); ++i) {
      const float at = (w_[r * k + i] - offset) * inverse + shift + row.v[i];
      const float q = (std::clamp(at, least, most) + kRound) - kRound;
      q_[r * k + i] = q;
      e_[r * k + i] = w_[r * k + i] - ((q - shift) * scale + offset);
    }
  }
  return true;
}

// slope = e H as the job trusts H, and the best of each row so far.
void Tile::measure() {
  const int64_t k = job_.k();
  std::fill(slope_.begin(), slope_.end(), 0.0f);
  add_product({rows_, k, k}, {e_.data(), k}, {job_.h.data(), k}, slope_.data(), k);
  for (int64_t r = 0; r < rows_; ++r) {
    double on_text = 0, error = 0;
    for (int64_t i = 0; i < k; ++i) {
      const float e = e_[r * k + i];
      float& slope = slope_[r * k + i];
      on_text += double{e} * slope;
      slope = job_.trust * slope + (1 - job_.trust) * job_.h[i * k + i] * e;
      error += double{e} * slope;
    }
    nearest_error_[r] = std::min(nearest_error_[r], first_measure_ ? on_text : HUGE_VAL);
    if (on_text > nearest_error_[r] || !(error < best_error_[r])) continue;
    best_error_[r] = error;
    best_[r] = now_[r];
  }
  first_measure_ = false;
}

// The error falls along w^ += slope: v and the range move with it.
void Tile::step(int64_t r, float length) {
  const CodeRange range = code_range(job_.format());
  const auto least = static_cast<float>(range.min), most = static_cast<float>(range.max);
  const bool symmetric = job_.format().zero == Zero::kNone;  // one scale for both ends
  const int64_t k = job_.k();
  const auto sign = [](float x) { return static_cast<float>((x > 0) - (x < 0)); };
  Row& row = now_[r];
  for (int64_t b = 0; b < job_.blocks(); ++b) {
    const BlockParams& p = grid_[r * job_.blocks() + b];
    if (p.scale == 0) continue;
    const auto inverse = static_cast<float>(1 / p.scale), shift = static_cast<float>(p.shift),
               offset = static_cast<float>(p.offset);
    float by_high = 0, by_low = 0;  // what raising either end of the range does
    for (int64_t i = b * job_.block(); i < end_of(b); ++i) {
      const float q = q_[r * k + i], slope = slope_[r * k + i];
      const float at = (w_[r * k + i] - offset) * inverse + shift;
      const bool inside = least <= at + row.v[i] && at + row.v[i] <= most;
      const float rounding = (q - at) / (most - least);
      if (symmetric) {
        by_high += slope * (inside ? rounding : q);
        by_low -= slope * (inside ? rounding : q);
      } else {
        const float share = (q - least) / (most - least);  // of the way from lo to hi
        by_high += slope * (inside ? rounding : share);
        by_low += slope * (inside ? -rounding : 1 - share);
      }
      if (inside) row.v[i] = std::clamp(row.v[i] + length * sign(slope), -0.5f, 0.5f);
    }
    row.high[b] = std::clamp(row.high[b] - length / 2 * sign(by_high), 0.0f, kMostClipped);
    row.low[b] = std::clamp(row.low[b] + length / 2 * sign(by_low), 0.0f, kMostClipped);
  }
}

int64_t Tile::write() {
  const Format& f = job_.format();
  const int64_t k = job_.k();
  for (int64_t r = 0; r < rows_; ++r) {
    std::vector<uint32_t> codes(size(k));
    for (int64_t b = 0; b < job_.blocks(); ++b) {
      if (!store_grid(job_.out, first_ + r, b, clipped_grid(r, b, best_[r]))) return first_ + r;
    }
    encode(r, best_[r]);
    for (int64_t i = 0; i < k; ++i) {
      codes[size(i)] = encode_code(f, double{q_[r * k + i]});
    }
    pack_codes(f, codes, job_.out.codes + (first_ + r) * row_bytes(f, k));
  }
  return -1;
}

int64_t Tile::run() {
  if (const int64_t bad = read(); bad >= 0) return bad;
  for (int32_t t = 0; t <= job_.steps; ++t) {
    for (int64_t r = 0; r < rows_; ++r) {
      if (!encode(r, now_[r])) return first_ + r;
    }
    measure();
    if (t == job_.steps) break;
    const float length = (1 - static_cast<float>(t) / static_cast<float>(job_.steps)) /
                         static_cast<float>(job_.steps);
    for (int64_t r = 0; r < rows_; ++r) step(r, length);
  }
  return write();
}

}  // namespace

std::string autoround_refuses(const Format& target) {
  const bool whole = target.code == Code::kInt || target.code == Code::kUInt;
  if (whole && target.block.n == 1 && target.outer == Outer::kNone && !target.sparse24 &&
      target.rule != ScaleRule::kExtreme) {
    return "";
  }
  return fmt::format(
      "autoround rounds to whole numbers on a grid for each row or group of it, which {} does not "
      "have; int4-g128 does",
      name(target));
}

QTensor quantize_autoround(const QTensor& source, const Format& target,
                           const QuantizeContext& context) {
  if (just_converts(source, target)) return quantize_rtn(source, target, context);
  check_takes(target, source.n, source.k, context.tensor);
  check_does(context.tensor, autoround_refuses(target));
  const InputStats& inputs = need_inputs(context, "autoround", Needs::kHessian, source.k);
  const QTensorBuilder out = build_qtensor(target, source.n, source.k);
  if (!all_finite(inputs.hessian)) {
    throw_error("tensor {}: the second moments of its inputs are not finite", context.tensor);
  }
  const Job job{source, out, context.iterations > 0 ? context.iterations : kAutoroundIterations,
                inputs.hessian, trust_in(inputs, source.k)};
  const int64_t bad = run_tiles(source.n, kTileRows, [&](int64_t first, int64_t rows) {
    return Tile(job, first, rows).run();
  });
  if (bad >= 0) fail_not_finite(context.tensor, bad, target);
  return out.tensor;
}

}  // namespace lowbit
