// Four neighbouring numbers of a row at a time. Any row may begin anywhere: those that are not
// aligned, and the last of a row, are read one by one, in the same places of the same sums.
#pragma once

#include "cuda/codes.cuh"

namespace lowbit::cuda {

struct Four {
  float v[4];
};

inline bool is_aligned16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// Numbers [i, i + 4) of a row of d; 0 beyond its end. `whole`: all rows are aligned.
__device__ inline Four load_four(const float* row, int i, int d, bool whole) {
  if (whole && i + 4 <= d) {
    const float4 v = *reinterpret_cast<const float4*>(row + i);
    return {v.x, v.y, v.z, v.w};
  }
  Four four;
  for (int j = 0; j < 4; ++j) four.v[j] = i + j < d ? row[i + j] : 0.0f;
  return four;
}

// The same places of a row of an activation without scales.
__device__ inline void store_four(FormatId format, void* row, int i, int d, bool whole,
                                  const Four& four) {
  if (!whole || i + 4 > d) {
    for (int j = 0; j < 4 && i + j < d; ++j) store_plain(format, row, i + j, four.v[j]);
  } else if (format == FormatId::kF32) {
    *reinterpret_cast<float4*>(static_cast<float*>(row) + i) =
        make_float4(four.v[0], four.v[1], four.v[2], four.v[3]);
  } else {
    ushort4 halves;
    store_plain(format, &halves, 0, four.v[0]);
    store_plain(format, &halves, 1, four.v[1]);
    store_plain(format, &halves, 2, four.v[2]);
    store_plain(format, &halves, 3, four.v[3]);
    *reinterpret_cast<ushort4*>(static_cast<uint16_t*>(row) + i) = halves;
  }
}

// Whether every row of an activation without scales begins where four numbers can be stored.
inline bool rows_aligned(const Act& act) { return is_aligned16(act.data) && act.ld % 4 == 0; }
inline bool rows_aligned(const float* x, int64_t d) { return is_aligned16(x) && d % 4 == 0; }

// The first byte of row `row`.
__device__ inline void* row_of(const Act& act, int64_t row) {
  return static_cast<uint8_t*>(act.data) + row * act.ld * (act.format == FormatId::kF32 ? 4 : 2);
}

}  // namespace lowbit::cuda
