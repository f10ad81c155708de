#include "models/pruning.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "formats/codec.h"

namespace lowbit {
namespace {

Format served_format(const Format& stored) {
  return stored.quantized() ? format_of(FormatId::kF32) : stored;
}

}  // namespace

void prune_blocks(const BlockSparsity& sparsity, int64_t n, int64_t k, float* w) {
  const int64_t size = sparsity.block, across = (k + size - 1) / size;
  const int64_t blocks = (n + size - 1) / size * across;
  std::vector<double> squares(static_cast<size_t>(blocks));
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < k; ++c) {
      const double value = w[r * k + c];
      squares[r / size * across + c / size] += value * value;
    }
  }
  std::vector<int64_t> order(squares.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return squares[a] < squares[b]; });
  const auto zero = static_cast<int64_t>(sparsity.level * static_cast<double>(blocks));
  std::vector<uint8_t> pruned(squares.size());
  for (int64_t i = 0; i < zero; ++i) pruned[order[i]] = 1;
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < k; ++c) {
      if (pruned[r / size * across + c / size]) w[r * k + c] = 0;
    }
  }
}

QTensor PrunedCheckpoint::outline(const std::string& name, int64_t n, int64_t k) const {
  QTensor outline = base().outline(name, n, k);
  if (tensors_.count(name)) outline.format = served_format(outline.format);
  return outline;
}

QTensor PrunedCheckpoint::tensor(const std::string& name, int64_t n, int64_t k) const {
  QTensor stored = base().tensor(name, n, k);
  if (!tensors_.count(name)) return stored;
  std::vector<float> w = decode_rows(stored);
  prune_blocks(sparsity_, n, k, w.data());
  const QTensorBuilder out = build_qtensor(served_format(stored.format), n, k);
  for (int64_t r = 0; r < n; ++r) {
    encode_plain(out.tensor.format.id, &w[r * k], k,
                 out.codes + r * row_bytes(out.tensor.format, k));
  }
  return out.tensor;
}

}  // namespace lowbit
