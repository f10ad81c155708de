// Which kernel and grid a matrix product of many tokens gets, and the launch.
#pragma once

#include <algorithm>

#include "cuda/chain.h"
#include "cuda/limits.h"
#include "cuda/matmul.cuh"
#include "cuda/matmul_rows.h"
#include "cuda/tiles_plan.h"

namespace lowbit::cuda {

// Pieces of about 2 KB, or a block.
inline void share_rings(TileArgs& a) {
  constexpr int kPieceBytes = 2048;
  const int ring = (dynamic_shared_bytes() - kPanels * kPanelBytes - kMatmulBarrierBytes) /
                   kMatmulWarps / 16 * 16;
  a.piece_blocks = std::max(1, kPieceBytes / a.shape.block_bytes);
  a.slot_bytes = a.piece_blocks * a.shape.block_bytes;
  a.slots = std::min(ring / a.slot_bytes, kMaxSlots);
  check_ring(a.slots, a.slot_bytes);
}

template <class W, class S, XTerms kX>
void launch_matmul_kernel(const LinearArgs& l, const TileShape& shape, Stream stream_) {
  TileArgs a{};
  a.linear = l;
  a.shape = shape;
  share_rings(a);
  const int blocks = (l.m + kPanelTokens - 1) / kPanelTokens;
  a.prepared.x = static_cast<uint16_t*>(l.workspace);
  a.prepared_scale = reinterpret_cast<float*>(a.prepared.x + int64_t{blocks} * shape.blocks *
                                                                 shape.units * kPanelHalves);
  end_chain(stream_);
  const auto stream = static_cast<cudaStream_t>(stream_);
  launch_pdl(prepare_kernel<kX>, l.m, kTileThreads, 0, stream, a);
  static const bool allowed =
      (allow_shared_memory(matmul_kernel<W, S, kX>, dynamic_shared_bytes()), true);
  (void)allowed;
  const int row_blocks = (shape.tiles + kMatmulTiles - 1) / kMatmulTiles;
  const dim3 grid(kMatmulCtas * blocks, (row_blocks + kMatmulCtas - 1) / kMatmulCtas);
  const int bytes =
      kPanels * kPanelBytes + kMatmulWarps * a.slots * a.slot_bytes + kMatmulBarrierBytes;
  launch_pdl(matmul_kernel<W, S, kX>,
             LaunchShape{grid, kMatmulThreads, static_cast<size_t>(bytes), kMatmulCtas}, stream, a);
}

// Codes as they are; scales of whole rows.
template <class W>
void launch_matmul(const LinearArgs& args, Stream stream) {
  constexpr XTerms kX = W::kX == XTerms::kTwoBf16 ? XTerms::kPanelBf16 : XTerms::kPanelF16;
  launch_matmul_kernel<W, RowScales, kX>(args, tile_shape(args.w, args.n, args.k), stream);
}
// Codes times their scales: by the first of several Scales that takes the stream; one of them does.
template <class W, class... Ss>
void launch_scaled_matmul(const LinearArgs& args, Stream stream) {
  const TileShape shape = tile_shape(args.w, args.n, args.k);
  const auto launch = [&]<class S>(S*) {
    launch_matmul_kernel<W, S, XTerms::kPanelBf16>(args, shape, stream);
    return true;
  };
  (void)((Ss::fits(shape) && launch(static_cast<Ss*>(nullptr))) || ...);
}

}  // namespace lowbit::cuda
