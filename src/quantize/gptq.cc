// GPTQ without the inverse of the second moments H: with H = U D U^T, U unit upper triangular,
//   (w - q) H (w - q)^T = sum_j D_j ((w_j - q_j) + sum_{i<j} (w_i - q_i) U_ij)^2,
// so that column j is best encoded as w_j + sum_{i<j} (w_i - q_i) U_ij once the columns before it
// are. That number is the one that GPTQ's updates leave there (Chen et al. 2025, arXiv:2507.18553,
// show the two the same), for a third of the work, and nothing is inverted.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "base/thread_pool.h"
#include "formats/codec.h"
#include "quantize/grid.h"
#include "quantize/matrix.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

constexpr int64_t kLazy = 128;       // columns between updates of all that follow
constexpr int64_t kTileRows = 16;    // rows that share a pass over U
constexpr double kDampening = 0.01;  // of the mean square, added to every one

struct Options {
  std::string_view quantizer;
  bool search = false, order = false;
};

// What all rows share.
struct Job {
  const QTensor& source;
  const QTensorBuilder& out;
  Options options;
  std::vector<float> u = {};           // [k, k], columns in the order of `order`
  std::vector<float> importance = {};  // [k] D, at the columns' own places
  std::vector<int64_t> order = {};     // column that comes j-th

  const Format& format() const { return out.tensor.format; }
  int64_t k() const { return source.k; }
  int64_t block() const { return format().block.k == 0 ? k() : format().block.k; }
  int64_t blocks() const { return blocks_along_k(format(), k()); }
  // Grids of all blocks before the first column, from the numbers as they were.
  bool grids_first() const { return options.order || format().block.k == 0; }
};

// H in the job's order, dampened, factored.
void factor(const InputStats& inputs, const std::string& tensor, Job* job) {
  const int64_t k = job->k();
  const std::vector<float>& h = inputs.hessian;
  job->order.resize(static_cast<size_t>(k));
  std::iota(job->order.begin(), job->order.end(), int64_t{0});
  if (job->options.order) {
    std::stable_sort(job->order.begin(), job->order.end(),
                     [&](int64_t a, int64_t b) { return h[a * k + a] > h[b * k + b]; });
  }
  double mean = 0;
  for (int64_t i = 0; i < k; ++i) mean += h[i * k + i] / static_cast<double>(k);
  if (!std::isfinite(mean) || mean < 0) {
    throw_error("tensor {}: the second moments of its inputs are not finite", tensor);
  }
  const float trust = trust_in(inputs, k);
  job->u.resize(static_cast<size_t>(k * k));
  // More if rounding left a pivot that is not positive; inputs of zeros only are as good as any.
  double damp = mean > 0 ? kDampening * mean : 1;
  for (int attempt = 0; attempt < 4; ++attempt, damp *= 10) {
    thread_pool().for_ranges(k, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float* row = &h[job->order[i] * k];
        for (int64_t j = 0; j < k; ++j) job->u[i * k + j] = trust * row[job->order[j]];
        job->u[i * k + i] = row[job->order[i]] + static_cast<float>(damp);
      }
    });
    if (!factor_udu(job->u.data(), k)) continue;
    job->importance.resize(static_cast<size_t>(k));
    for (int64_t j = 0; j < k; ++j) {
      const float root = job->u[j * k + j];
      job->importance[job->order[j]] = root * root;
    }
    return;
  }
  throw_error("tensor {}: the second moments of its inputs are not positive", tensor);
}

// Some rows on their way through the columns, which are stored in the job's order in w, v and e.
class Tile {
 public:
  Tile(const Job& job, int64_t first, int64_t rows)
      : job_(job),
        first_(first),
        rows_(rows),
        w_(size(rows * job.k())),
        e_(size(rows * job.k())),
        codes_(size(rows * job.k())),
        kept_(size(rows * job.k()), 1),
        params_(size(rows * job.blocks())) {}

  // The first row whose numbers are not finite or fit no scale, or -1.
  int64_t run();

 private:
  static size_t size(int64_t n) { return static_cast<size_t>(n); }
  int64_t read();
  int64_t choose(int64_t block, const std::vector<float>& values);
  void encode_column(int64_t j, int64_t end);
  void write();

  const Job& job_;
  int64_t first_, rows_;
  std::vector<float> w_, e_;         // as they are, w - q
  std::vector<float> v_;             // what is to be encoded
  std::vector<uint32_t> codes_;      // [rows, k] at the columns' own places
  std::vector<uint8_t> kept_;        // likewise: has a code (2:4)
  std::vector<BlockParams> params_;  // [rows, blocks]
};

int64_t Tile::read() {
  const int64_t k = job_.k();
  std::vector<float> rows(w_.size());  // columns at their own places
  for (int64_t r = 0; r < rows_; ++r) {
    float* row = &rows[r * k];
    decode_row(job_.source, first_ + r, row);
    if (!all_finite({row, size(k)})) return first_ + r;
    if (job_.format().outer == Outer::kRow) {
      const auto [lo, hi] = std::minmax_element(row, row + k);
      const float amax = std::max(std::abs(*lo), std::abs(*hi));
      store_outer(job_.out, first_ + r, choose_outer(job_.format(), amax));
    }
    for (int64_t j = 0; j < k; ++j) w_[r * k + j] = row[job_.order[j]];
  }
  v_ = w_;
  for (int64_t block = 0; job_.grids_first() && block < job_.blocks(); ++block) {
    if (const int64_t bad = choose(block, rows); bad >= 0) return bad;
  }
  return -1;
}

// Grid and, for 2:4, kept columns of a block, from `values` at the columns' own places.
int64_t Tile::choose(int64_t block, const std::vector<float>& values) {
  const Format& f = job_.format();
  const int64_t k = job_.k(), begin = block * job_.block(), end = std::min(begin + job_.block(), k);
  const int64_t band = std::min(f.block.n == 0 ? rows_ : f.block.n, rows_);
  const auto counts = std::span(job_.importance).subspan(size(begin), size(end - begin));
  for (int64_t top = 0; top < rows_; top += band) {
    const int64_t bottom = std::min(top + band, rows_);
    std::vector<float> numbers, importance;
    for (int64_t r = top; r < bottom; ++r) {
      const auto row = std::span(values).subspan(size(r * k + begin), size(end - begin));
      if (f.sparse24) {
        const std::vector<uint32_t> keep = keep_2_of_4(row, counts);
        std::fill_n(kept_.begin() + r * k + begin, end - begin, uint8_t{0});
        for (size_t i = 0; i < keep.size(); ++i) kept_[r * k + begin + i / 2 * 4 + keep[i]] = 1;
      }
      for (int64_t i = begin; i < end; ++i) {
        if (!kept_[r * k + i]) continue;
        // Inputs that tell nothing can drive a number out of f32: then as it was.
        const float value = values[r * k + i];
        numbers.push_back(std::isfinite(value) ? value : w_[r * k + i]);
        importance.push_back(job_.importance[i]);
      }
    }
    if (f.block.n != 0) {  // one grid of the whole tensor is stored already
      const BlockNumbers of{numbers, importance, load_outer(job_.out, first_ + top)};
      const Grid grid = job_.options.search ? search_grid(f, of) : choose_grid(f, of.w, of.outer);
      if (!store_grid(job_.out, first_ + top, block, grid)) return first_ + top;
    }
    for (int64_t r = top; r < bottom; ++r) {
      params_[r * job_.blocks() + block] = load_block(job_.out.tensor, first_ + r, block);
    }
  }
  return -1;
}

// Encodes the j-th column and makes its error good in those up to `end`.
void Tile::encode_column(int64_t j, int64_t end) {
  const Format& f = job_.format();
  const std::span<const double> table = code_table(f);
  const int64_t k = job_.k(), column = job_.order[j];
  const float* u = &job_.u[j * k];
  for (int64_t r = 0; r < rows_; ++r) {
    double q = 0;
    if (kept_[r * k + column]) {
      const BlockParams& p = params_[r * job_.blocks() + column / job_.block()];
      const float value = v_[r * k + j];
      const uint32_t code = nearest_code(f, p, std::isfinite(value) ? value : w_[r * k + j]);
      codes_[r * k + column] = code;
      q = (table[code] - p.shift) * p.scale + p.offset;
    }
    const auto e = static_cast<float>(w_[r * k + j] - q);
    e_[r * k + j] = e;
    float* v = &v_[r * k];
    for (int64_t i = j + 1; i < end; ++i) v[i] += e * u[i];
  }
}

void Tile::write() {
  const Format& f = job_.format();
  const int64_t k = job_.k();
  for (int64_t r = 0; r < rows_; ++r) {
    std::vector<uint32_t> codes, positions;
    for (int64_t i = 0; i < k; ++i) {
      if (!kept_[r * k + i]) continue;
      codes.push_back(codes_[r * k + i]);
      positions.push_back(static_cast<uint32_t>(i % 4));
    }
    pack_codes(f, codes, job_.out.codes + (first_ + r) * row_bytes(f, k));
    if (!f.sparse24) continue;
    store_codes(
        job_.out.meta + (first_ + r) * plane_shape(f, Plane::kMeta, job_.source.n, k).row_bytes, 2,
        positions);
  }
}

int64_t Tile::run() {
  if (const int64_t bad = read(); bad >= 0) return bad;
  const int64_t k = job_.k();
  for (int64_t begin = 0; begin < k; begin += kLazy) {
    const int64_t end = std::min(begin + kLazy, k);
    for (int64_t j = begin; j < end; ++j) {
      if (!job_.grids_first() && j % job_.block() == 0) {
        if (const int64_t bad = choose(j / job_.block(), v_); bad >= 0) return bad;
      }
      encode_column(j, end);
    }
    add_product({rows_, k - end, end - begin}, {&e_[begin], k},
                {job_.u.data() + begin * k + end, k}, v_.data() + end, k);
  }
  write();
  return -1;
}

// The scale of a whole tensor comes from all rows; tiles only read it. They report a bad number.
void store_tensor_grid(const Job& job) {
  const std::vector<float> w = decode_rows(job.source);
  if (!all_finite(w)) return;
  std::vector<float> importance;
  for (int64_t r = 0; r < job.source.n; ++r) {
    importance.insert(importance.end(), job.importance.begin(), job.importance.end());
  }
  const BlockNumbers of{w, importance, load_outer(job.out, 0)};
  const Format& f = job.format();
  store_grid(job.out, 0, 0,
             job.options.search ? search_grid(f, of) : choose_grid(f, of.w, of.outer));
}

QTensor gptq(const QTensor& source, const Format& target, const QuantizeContext& context,
             const Options& options) {
  if (just_converts(source, target)) return quantize_rtn(source, target, context);
  check_takes(target, source.n, source.k, context.tensor);
  check_does(context.tensor, levels_refuse(target));
  const InputStats& inputs = need_inputs(context, options.quantizer, Needs::kHessian, source.k);
  const QTensorBuilder out = build_qtensor(target, source.n, source.k);
  Job job{source, out, options};
  factor(inputs, context.tensor, &job);
  if (target.outer == Outer::kTensor) {
    store_outer(out, 0, choose_outer(target, largest_magnitude(source)));
  }
  if (target.block.n == 0) store_tensor_grid(job);
  const int64_t band = target.block.n == 0 ? 1 : target.block.n;
  const int64_t tile = (kTileRows + band - 1) / band * band;
  const int64_t bad = run_tiles(
      source.n, tile, [&](int64_t first, int64_t rows) { return Tile(job, first, rows).run(); });
  if (bad >= 0) fail_not_finite(context.tensor, bad, target);
  return out.tensor;
}

}  // namespace

QTensor quantize_gptq(const QTensor& source, const Format& target, const QuantizeContext& context) {
  return gptq(source, target, context, {"gptq"});
}

QTensor quantize_gptq_search(const QTensor& source, const Format& target,
                             const QuantizeContext& context) {
  return gptq(source, target, context, {.quantizer = "gptq-mse", .search = true});
}

QTensor quantize_gptq_order(const QTensor& source, const Format& target,
                            const QuantizeContext& context) {
  return gptq(source, target, context, {.quantizer = "gptq-order", .search = true, .order = true});
}

}  // namespace lowbit
