// Formats whose codes are places in a table that is learned for the tensor (Outer::kTable). A
// group's scale is its largest magnitude; what is left lies in [-1, 1], and the table holds the
// 2^bits numbers of least squared error there, each weight counting as its scale squared, which
// makes it the error of the weights: k-means in one dimension, on a histogram, from quantiles. One
// dimension makes that cheap and leaves nothing to chance.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "base/thread_pool.h"
#include "formats/encode.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

constexpr int64_t kBins = 1 << 16;  // of [-1, 1]
constexpr int kRounds = 200;

struct Bin {
  double weight = 0, sum = 0;  // of all numbers in it, and of weight times number
};
using Histogram = std::vector<Bin>;

size_t bin_of(double x) {
  const auto bin = static_cast<int64_t>((x + 1) / 2 * kBins);
  return static_cast<size_t>(std::clamp<int64_t>(bin, 0, kBins - 1));
}

// Numbers that split the weight into equal parts.
std::vector<double> quantiles(const Histogram& bins, size_t count) {
  double total = 0, seen = 0;
  for (const Bin& bin : bins) total += bin.weight;
  std::vector<double> centers;
  for (const Bin& bin : bins) {
    const double before = seen;
    seen += bin.weight;
    while (centers.size() < count) {
      const double at =
          total * (static_cast<double>(centers.size()) + 0.5) / static_cast<double>(count);
      if (!(before <= at && at < seen)) break;
      centers.push_back(bin.sum / bin.weight);
    }
  }
  while (centers.size() < count) centers.push_back(centers.empty() ? 0 : centers.back());
  return centers;
}

// Lloyd's rounds: every bin to the nearest center, every center to the mean of its bins.
std::vector<double> k_means(const Histogram& bins, size_t count) {
  std::vector<double> centers = quantiles(bins, count);
  for (int round = 0; round < kRounds; ++round) {
    std::vector<Bin> of_center(count);
    size_t nearest = 0;
    for (const Bin& bin : bins) {
      if (bin.weight == 0) continue;
      const double mean = bin.sum / bin.weight;
      while (nearest + 1 < count && mean - centers[nearest] > centers[nearest + 1] - mean) {
        ++nearest;
      }
      of_center[nearest].weight += bin.weight;
      of_center[nearest].sum += bin.sum;
    }
    bool moved = false;
    for (size_t i = 0; i < count; ++i) {
      if (of_center[i].weight == 0) continue;
      const double mean = of_center[i].sum / of_center[i].weight;
      moved |= std::abs(mean - centers[i]) > 1e-7;
      centers[i] = mean;
    }
    if (!moved) break;
  }
  return centers;
}

class Codebook {
 public:
  Codebook(const QTensor& source, const Format& target)
      : source_(source),
        out_(build_qtensor(target, source.n, source.k)),
        block_(target.block.k == 0 ? source.k : target.block.k) {}

  // Scales of all rows. The first row whose numbers are not finite or beyond them, or -1.
  int64_t choose_scales();
  void learn();
  void encode();
  const QTensor& tensor() const { return out_.tensor; }

 private:
  const Format& format() const { return out_.tensor.format; }
  double scale_of(int64_t row, int64_t column) const {
    return load_block(out_.tensor, row, column / block_).scale;
  }

  const QTensor& source_;
  const QTensorBuilder out_;
  const int64_t block_;
  std::vector<float> table_;  // ascending
};

int64_t Codebook::choose_scales() {
  const int64_t k = source_.k;
  std::vector<float> row(static_cast<size_t>(k));
  for (int64_t n = 0; n < source_.n; ++n) {
    decode_row(source_, n, row.data());
    if (!all_finite(row)) return n;
    for (int64_t at = 0; at < k; at += block_) {
      float amax = 0;
      for (int64_t i = at; i < std::min(at + block_, k); ++i)
        amax = std::max(amax, std::abs(row[i]));
      if (!store_grid(out_, n, at / block_, {amax, 0})) return n;
    }
  }
  return -1;
}

void Codebook::learn() {
  Histogram bins(kBins);
  std::vector<float> row(static_cast<size_t>(source_.k));
  for (int64_t n = 0; n < source_.n; ++n) {
    decode_row(source_, n, row.data());
    for (int64_t i = 0; i < source_.k; ++i) {
      const double scale = scale_of(n, i);
      if (scale == 0) continue;
      Bin& bin = bins[bin_of(row[i] / scale)];
      bin.weight += scale * scale;
      bin.sum += scale * row[i];
    }
  }
  for (const double center : k_means(bins, size_t{1} << format().bits)) {
    table_.push_back(static_cast<float>(center));
  }
  std::memcpy(out_.outer, table_.data(), table_.size() * sizeof(float));
}

void Codebook::encode() {
  const int64_t k = source_.k;
  thread_pool().for_ranges(source_.n, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(k));
    std::vector<uint32_t> codes(static_cast<size_t>(k));
    for (int64_t n = begin; n < end; ++n) {
      decode_row(source_, n, row.data());
      for (int64_t i = 0; i < k; ++i) {
        const double scale = scale_of(n, i), x = scale == 0 ? 0 : row[i] / scale;
        const auto above = std::lower_bound(table_.begin(), table_.end(), x,
                                            [](float t, double value) { return t < value; });
        auto nearest = above == table_.end() ? above - 1 : above;
        if (nearest != table_.begin() && x - *(nearest - 1) <= *nearest - x) --nearest;
        codes[i] = static_cast<uint32_t>(nearest - table_.begin());
      }
      pack_codes(format(), codes, out_.codes + n * row_bytes(format(), k));
    }
  });
}

}  // namespace

QTensor quantize_codebook(const QTensor& source, const Format& target, const std::string& tensor) {
  Codebook codebook(source, target);
  if (const int64_t bad = codebook.choose_scales(); bad >= 0) {
    fail_not_finite(tensor, bad, target);
  }
  codebook.learn();
  codebook.encode();
  return codebook.tensor();
}

}  // namespace lowbit
