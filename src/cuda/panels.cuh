// Products of wgmma over panels: x of some units for all tokens that a CTA multiplies at once,
// fetched to shared memory by one thread and read by all warps. What the kernels of many tokens
// (matmul.cuh, batch.cuh) share.
#pragma once

#include <utility>

#include "cuda/norm.cuh"
#include "cuda/ptx.cuh"
#include "cuda/tiles_args.h"
#include "cuda/wgmma.cuh"

namespace lowbit::cuda {

constexpr int kMostPanels = 6;  // in shared memory; the rest holds weights

struct PanelRing {
  static constexpr int kBarrierBytes = 16 * kMostPanels;

  uint32_t panels, full, empty;  // barriers: [kMostPanels] each
  int count, unit_bytes, units;  // of a panel

  // `readers`: arrivals that give a panel back. By one thread.
  __device__ void init(int readers) const {
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      barrier_init(full + 8 * i, 1);
      barrier_init(empty + 8 * i, readers);
    }
    fence_barrier_init();
  }
  __device__ uint32_t panel(int i) const { return panels + i * units * unit_bytes; }
};

// Which panel is next, and how often all of them have been before.
struct PanelTurn {
  int panel = 0;
  uint32_t phase = 0;
  __device__ void next(int count) {
    if (++panel == count) panel = 0, phase ^= 1;
  }
};

// The sums of a warp's tile over so many units, kUnits of them in a panel. give_back(panel): it has
// been read.
template <XTerms kX, int kN, int kUnits, class Weights, class GiveBack>
__device__ __forceinline__ void multiply(const PanelRing& ring, Weights& weights, int units,
                                         PanelTurn& turn, float (&sums)[kN / 2],
                                         const GiveBack& give_back) {
  uint32_t fragments[2][16] = {};
  int before = -1;  // the panel that is still read
  uint32_t panel = 0;
  weights.next(fragments[0]);
  const auto step = [&]<bool kOpens>(bool last, const uint32_t(&now)[16], uint32_t(&then)[16]) {
    if constexpr (kOpens) {
      panel = ring.panel(turn.panel);
      barrier_wait(ring.full + 8 * turn.panel, turn.phase);
    } else {
      panel += ring.unit_bytes;
    }
    const uint64_t x = wgmma_panel(panel);
    wgmma_fence();
#pragma unroll
    for (int j = 0; j < 4; ++j) wgmma<kX == XTerms::kPanelBf16>(sums, now + 4 * j, x + 2 * j);
    wgmma_commit();
    wgmma_wait<1>();
    if constexpr (kOpens) {
      if (before >= 0) give_back(before);
      before = turn.panel;
      turn.next(ring.count);
    }
    if (!last) weights.next(then);
  };
  constexpr int kAtOnce = kUnits > 2 ? kUnits : 2;
#pragma unroll 1
  for (int unit = 0; unit < units; unit += kAtOnce) {
    const auto steps = [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) {
      ((unit + kIndex < units &&
        (step.template operator()<kIndex % kUnits == 0>(
             unit + kIndex + 1 == units, fragments[kIndex % 2], fragments[(kIndex + 1) % 2]),
         true)) &&
       ...);
    };
    steps(std::make_integer_sequence<int, kAtOnce>{});
  }
  wgmma_wait<0>();
  give_back(before);
}

// What becomes of the sums of rows g and g + 8 of a tile (a gate and its up, of paired matrices).
class RowPair {
 public:
  __device__ RowPair(const LinearArgs& l, int tile, int g) : l_(l) {
    const int half = l.w.paired ? l.n / 2 : 0;
    n_[0] = tile * (half ? 8 : kTileRows) + g;
    n_[1] = n_[0] + (half ? half : 8);
    exists_[0] = n_[0] < (half ? half : l.n);
    exists_[1] = exists_[0] && n_[1] < l.n;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (!exists_[i]) continue;
      if (l.w.scales) {
        factor_[i] = static_cast<const float*>(l.w.scales)[tile * kTileRows + g + 8 * i];
      }
      if (l.bias) bias_[i] = l.bias[n_[i]];
    }
  }
  // What a token's y are before, where that counts.
  __device__ __forceinline__ float2 old(int t) const {
    const float* y = l_.y + t * l_.ldy;
    if (t >= l_.m || l_.epilogue != Epilogue::kAdd) return {0, 0};
    return {exists_[0] ? y[n_[0]] : 0, exists_[1] ? y[n_[1]] : 0};
  }
  // `scale`: of the sums.
  __device__ __forceinline__ void put(int t, float scale, float2 old, float low, float high) const {
    if (t >= l_.m) return;
    const float v[2] = {low * scale * factor_[0] + bias_[0], high * scale * factor_[1] + bias_[1]};
    float* y = l_.y + t * l_.ldy;
    if (l_.epilogue == Epilogue::kSiluMul) {
      if (exists_[0]) y[n_[0]] = silu(v[0]) * v[1];
      return;
    }
    const bool add = l_.epilogue == Epilogue::kAdd;
    if (exists_[0]) y[n_[0]] = add ? old.x + v[0] : v[0];
    if (exists_[1]) y[n_[1]] = add ? old.y + v[1] : v[1];
  }

 private:
  const LinearArgs& l_;
  int n_[2];
  bool exists_[2];
  float factor_[2] = {1, 1}, bias_[2] = {0, 0};
};

// y of a warp's tile, sums[4 i + e] being of token 8 i + 2 q + e % 2. `scales`: [kN].
template <int kN>
__device__ __forceinline__ void store_tile(const LinearArgs& l, int tile, int first_token,
                                           const float* scales, const float (&sums)[kN / 2]) {
  constexpr int kAtOnce = kN / 16;  // tokens whose y is on its way
  const RowPair rows(l, tile, threadIdx.x % 32 / 4);
  const int q = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < kN / 4; i += kAtOnce) {
    float2 old[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      old[j] = rows.old(first_token + (i + j) / 2 * 8 + 2 * q + j % 2);
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int t = (i + j) / 2 * 8 + 2 * q + j % 2, at = (i + j) / 2 * 4 + j % 2;
      rows.put(first_token + t, scales[t], old[j], sums[at], sums[at + 2]);
    }
  }
}

}  // namespace lowbit::cuda
