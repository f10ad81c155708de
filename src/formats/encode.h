// Round to nearest: what a format's own rule (grid.h) makes of a block of numbers. Scales and zeros
// are chosen in f32, rounded to their storage type, and codes are the nearest on the stored grid.
// Quantizers that choose otherwise use the parts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "formats/codec.h"
#include "formats/grid.h"

namespace lowbit {

// The format's rule on the numbers of one block; `outer` is the stored outer scale above it (1 if
// there is none). Not for ScaleRule::kLevels.
Grid choose_grid(const Format& format, std::span<const float> w, float outer = 1);

// What a grid becomes when it is stored under that outer scale. Not finite if it does not fit.
BlockParams stored_params(const Format& format, const Grid& grid, float outer = 1);

// Writes a block's scale and zero, rounded to their storage types. False if one does not fit.
bool store_grid(const QTensorBuilder& out, int64_t row, int64_t block_k, const Grid& grid);

// Whether all codes of a block decode to finite f32 numbers: near its end a scale or a code that is
// rounded up may lead beyond.
bool every_code_is_finite(const Format& format, const BlockParams& stored);
// The same of these codes.
bool decodes_to_finite(const Format& format, const BlockParams& stored,
                       std::span<const uint32_t> codes);

// Of each four numbers along a row the two of largest magnitude, of equal ones the earlier:
// positions 0 to 3, two for each four, ascending. k must be a multiple of 4. `importance` [k], if
// not empty, is what the square of a number counts.
std::vector<uint32_t> keep_2_of_4(std::span<const float> row,
                                  std::span<const float> importance = {});

// The numbers of one block that get a code, with the outer scale above it. `importance`: of the
// square of each number's error; empty where all count the same.
struct BlockNumbers {
  std::span<const float> w, importance = {};
  float outer = 1;
};

// How encode_rows departs from the format's rule.
struct RowOptions {
  Grid (*choose)(const Format& format, const BlockNumbers& block) = nullptr;  // null: choose_grid
  std::span<const float> importance = {};                                     // [k] or empty
};

// Encodes rows [first, first + rows) of `out.tensor` from `values` [rows, k]: as many rows as share
// scales (block.n, or all). Outer::kTensor must have been stored; Outer::kRow is chosen here.
// Returns the first row that holds a NaN, an infinity or a number beyond the scales, or -1.
int64_t encode_rows(std::span<const float> values, int64_t first, int64_t rows,
                    const QTensorBuilder& out, const RowOptions& options = {});

// The stored outer scale above row `row`; 1 without one. Not for Outer::kSuper.
float load_outer(const QTensorBuilder& out, int64_t row);
// Stores it: of that row, or of the tensor.
void store_outer(const QTensorBuilder& out, int64_t row, float outer);

// Rows that are encoded together.
inline int64_t band_rows(const Format& format, int64_t n) {
  return format.block.n == 0 ? n : format.block.n;
}

}  // namespace lowbit
