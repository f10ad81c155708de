// Which kernel and grid a matrix product of many tokens gets, and the launch.
#pragma once

#include <algorithm>
#include <iterator>

#include "cuda/chain.h"
#include "cuda/limits.h"
#include "cuda/matmul.cuh"
#include "cuda/matmul_rows.h"
#include "cuda/tiles_plan.h"

namespace lowbit::cuda {

// Of a CTA that has its part of a multiprocessor.
template <int kN>
int matmul_shared_bytes() {
  return dynamic_shared_bytes() / Panels<kN>::kCtas / 128 * 128;
}

// Of a CTA with so many panels: all but the rings.
template <int kN>
int bytes_beside_rings(int panels, int m) {
  using Memory = MatmulMemory<kN>;
  return panels * Panels<kN>::kUnits * Memory::bytes_of_unit(m) + Memory::kBarrierBytes +
         Memory::kScaleBytes;
}

// As many panels as leave the ring of a warp room for a few units.
template <int kN>
void share_memory(TileArgs& a) {
  constexpr int kLeastUnits = Panels<kN>::kShared ? 3 : 4, kLeastSlots = 2;
  const TileShape& shape = a.shape;
  a.panels = Panels<kN>::kMost;
  if (!Panels<kN>::kShared && a.linear.m > kSmallPanelTokens / 2) a.panels /= 2;
  for (; a.panels > 1; --a.panels) {
    const int beside = bytes_beside_rings<kN>(a.panels, a.linear.m);
    const int ring = (matmul_shared_bytes<kN>() - beside) / kMatmulWarps / 16 * 16;
    a.piece_blocks = std::max(1, ring / 4 / shape.block_bytes);
    a.slot_bytes = a.piece_blocks * shape.block_bytes;
    a.slots = std::clamp(ring / a.slot_bytes, 0, kMaxSlots);
    if (a.slots >= kLeastSlots && a.slots * a.piece_blocks * shape.units >= kLeastUnits) return;
  }
  check_ring(0, a.slot_bytes);
}

// Into how many slices k is cut: as many as leave all clusters, of that many CTAs, room at once.
// Results must not depend on which multiprocessors a GPU has, so how many clusters of 1, 2... CTAs
// there is room for is what an H200 answered (cudaOccupancyMaxActiveClusters, two CTAs to a
// multiprocessor): fewer than 264 CTAs would be, from clusters of 3 on.
inline int slices_of(const TileShape& shape, int clusters) {
  constexpr int kClusters[] = {264, 132, 79, 62, 47, 39, 32, 30}, kLeastUnits = 4;
  const int units = shape.blocks * shape.units;
  int slices = static_cast<int>(std::size(kClusters));
  while (slices > 1 && (clusters > kClusters[slices - 1] || slices > shape.blocks ||
                        units / slices < kLeastUnits)) {
    --slices;
  }
  return slices;
}

template <class W, class S, XTerms kX, int kN>
void launch_matmul_kernel(const LinearArgs& l, const TileShape& shape, Stream stream_) {
  using P = Panels<kN>;
  const int token_blocks = (l.m + kN - 1) / kN;
  const int row_blocks = (shape.tiles + kMatmulTiles - 1) / kMatmulTiles;
  TileArgs a{};
  a.linear = l;
  a.shape = shape;
  a.panel_tokens = kN;
  a.plain_x = is_plain_x(l, shape.blocks * shape.units * kUnit);
  a.slices = P::kShared ? 1 : slices_of(shape, row_blocks * token_blocks);
  share_memory<kN>(a);
  a.prepared.x = static_cast<uint16_t*>(l.workspace);
  const int64_t units = int64_t{shape.blocks} * shape.units;
  a.prepared_scale =
      reinterpret_cast<float*>(a.prepared.x + token_blocks * units * (P::kBytes / 2));
  end_chain(stream_);
  const auto stream = static_cast<cudaStream_t>(stream_);
  const int rounds = rounds_of_x(a);
  const auto prepare = rounds == kFewRounds    ? prepare_kernel<kX, kFewRounds>
                       : rounds == kMostRounds ? prepare_kernel<kX, kMostRounds>
                                               : prepare_kernel<kX, 0>;
  launch_pdl(prepare, l.m, kTileThreads, 0, stream, a);
  constexpr auto kKernel = matmul_kernel<W, S, kX, kN>;
  allow_shared_memory<kKernel>(matmul_shared_bytes<kN>());
  const int cluster = P::kShared ? 2 : a.slices;
  const int items = token_blocks * ((row_blocks + 1) / 2);
  const dim3 grid = P::kShared ? dim3(2 * std::min(items, sm_count() / 2))
                               : dim3(a.slices, row_blocks * token_blocks);
  const size_t bytes = static_cast<size_t>(bytes_beside_rings<kN>(a.panels, l.m) +
                                           kMatmulWarps * a.slots * a.slot_bytes);
  launch_pdl(kKernel, LaunchShape{grid, P::kThreads, bytes, static_cast<unsigned>(cluster)}, stream,
             a);
}

template <class W, class S, XTerms kX>
void launch_matmul_of(const LinearArgs& l, const TileShape& shape, Stream stream) {
  if (l.m <= kMostSmallPanels * kSmallPanelTokens) {
    launch_matmul_kernel<W, S, kX, kSmallPanelTokens>(l, shape, stream);
  } else {
    launch_matmul_kernel<W, S, kX, kPanelTokens>(l, shape, stream);
  }
}

// Codes as they are; scales of whole rows.
template <class W>
void launch_matmul(const LinearArgs& args, Stream stream) {
  constexpr XTerms kX = W::kX == XTerms::kTwoBf16 ? XTerms::kPanelBf16 : XTerms::kPanelF16;
  launch_matmul_of<W, RowScales, kX>(args, tile_shape(args.w, args.n, args.k), stream);
}
// Codes times their scales: by the first of several Scales that takes the stream; false if none
// does.
template <class W, class... Ss>
bool launch_scaled_matmul(const LinearArgs& args, Stream stream) {
  const TileShape shape = tile_shape(args.w, args.n, args.k);
  const auto launch = [&]<class S>(S*) {
    launch_matmul_of<W, S, XTerms::kPanelBf16>(args, shape, stream);
    return true;
  };
  return ((Ss::fits(shape) && launch(static_cast<Ss*>(nullptr))) || ...);
}

// Integers of up to seven bits: scales in bf16, which most have, or any.
template <int kBits, bool kSign = false>
void launch_scaled_integers(const LinearArgs& args, Stream stream) {
  using InBf16 = Bf16Int<kBits, kSign>;
  (void)(launch_scaled_matmul<InBf16, Bf16Scales<false>, Bf16Scales<true>>(args, stream) ||
         launch_scaled_matmul<ByteInt<kBits, kSign>, AnyScales>(args, stream));
}

}  // namespace lowbit::cuda
