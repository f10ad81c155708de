// Rows of numbers to codes: the rules of formats/encode.h choose scales from the range of each
// block, as they do from its numbers; the vector bodies find the ranges and the nearest codes.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/bodies.h"
#include "formats/encode.h"
#include "ops/view.h"

namespace lowbit::cpu {
namespace {

// Scales of the rows [first, first + rows), which share them, from the ranges of their blocks.
// False where they, or the largest numbers that codes can stand for, are not finite.
bool store_grids(const QTensorBuilder& out, int64_t first, std::span<const float> lo,
                 std::span<const float> hi, std::span<CodeGrid> grids) {
  const Format& f = out.tensor.format;
  float outer = 1;
  if (f.outer == Outer::kRow) {
    const float low = *std::ranges::min_element(lo), high = *std::ranges::max_element(hi);
    outer = choose_outer(f, std::max(std::abs(low), std::abs(high)));
    store_scale(Scale::kF32, out.outer, first, outer);
  }
  for (size_t b = 0; b < grids.size(); ++b) {
    const float range[] = {lo[b], hi[b]};
    const auto block = static_cast<int64_t>(b);
    if (!store_grid(out, first, block, choose_grid(f, range, outer))) return false;
    const BlockParams p = load_block(out.tensor, first, block);
    if (!every_code_is_finite(f, p)) return false;
    grids[b] = {p.scale == 0 ? 0 : 1 / p.scale, p.shift, p.offset};
  }
  return true;
}

}  // namespace

bool has_fast_codes(const Act& act) {
  const bool element = act.code == Code::kE4M3 || act.code == Code::kE5M2 ||
                       act.code == Code::kE3M2 || act.code == Code::kE2M3 ||
                       act.code == Code::kE2M1 || act.code == Code::kInt || act.code == Code::kUInt;
  const bool bits = act.bits == 8 || act.bits == 6 || act.bits == 4;
  const bool block = act.block_k % 16 == 0 && (act.block_n == 1 || act.block_k == 0);
  const bool exact = act.scale == Scale::kBF16 || act.scale == Scale::kF16;
  const bool scale =
      exact || act.scale == Scale::kF32 || act.scale == Scale::kE8M0 || act.scale == Scale::kE4M3;
  const bool zero = act.zero == Zero::kNone || (act.zero == Zero::kFloat && exact);
  return element && bits && block && scale && zero;
}

void decode_any(const Act& from, const Columns& part, float* out, int64_t ld) {
  std::vector<float> row(static_cast<size_t>(from.ld));
  for (int64_t r = part.r0; r < part.r1; ++r, out += ld) {
    load_row(from, r, from.ld, row.data());
    std::copy(row.begin() + part.c0, row.begin() + part.c1, out);
  }
}

void encode_rows(const CodeBodies& bodies, const float* x, const Act& to, int64_t r0, int64_t r1) {
  const int64_t k = to.ld;
  if (!has_fast_codes(to)) return store_rows(to, r0, r1 - r0, k, x);
  const QTensorBuilder out = builder_of(to, r1);
  const Format& f = out.tensor.format;
  const auto blocks = static_cast<size_t>(blocks_along_k(f, k));
  thread_local std::vector<float> lo, hi;
  thread_local std::vector<CodeGrid> grids;
  grids.resize(blocks);
  const int64_t band = f.block.n == 0 ? r1 - r0 : 1;
  for (int64_t row = r0; row < r1; row += band) {
    const float* numbers = x + (row - r0) * k;
    lo.assign(blocks, std::numeric_limits<float>::infinity());
    hi.assign(blocks, -std::numeric_limits<float>::infinity());
    bool finite = true;
    for (int64_t r = 0; r < band; ++r) {
      finite &=
          bodies.ranges(numbers + r * k, static_cast<int32_t>(k), f.block.k, lo.data(), hi.data());
    }
    if (!finite || !store_grids(out, row, lo, hi, grids)) {
      store_rows(to, row, band, k, numbers);  // knows what becomes of them
      continue;
    }
    for (int64_t r = 0; r < band; ++r) {
      bodies.encode(numbers + r * k, static_cast<int32_t>(k), to, grids.data(),
                    out.codes + (row + r) * row_bytes(f, k));
    }
  }
}

}  // namespace lowbit::cpu
