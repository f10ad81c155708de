// Which kernel and grid a matrix product of more than a few tokens gets, and the launch.
#pragma once

#include <algorithm>
#include <span>

#include "cuda/batch.cuh"
#include "cuda/batch_plan.h"
#include "cuda/chain.h"
#include "cuda/limits.h"
#include "cuda/matmul.cuh"
#include "cuda/matmul_rows.h"
#include "cuda/tiles_plan.h"

namespace lowbit::cuda {

// As many panels as leave the ring of a warp, one of so many, room for a few units. `beside`: bytes
// of a CTA's memory but for panels and rings; returned: with them.
inline int share_memory(TileArgs& a, int warps, int panel_bytes, int beside) {
  constexpr int kLeastUnits = 3, kLeastSlots = 2;
  const TileShape& shape = a.shape;
  for (; a.panels > 1; --a.panels) {
    const int fixed = beside + a.panels * panel_bytes;
    const int ring = (dynamic_shared_bytes() - fixed) / warps / 16 * 16;
    a.piece_blocks = std::max(1, ring / 4 / shape.block_bytes);
    a.slot_bytes = a.piece_blocks * shape.block_bytes;
    a.slots = std::clamp(ring / a.slot_bytes, 0, kMaxSlots);
    if (a.slots >= kLeastSlots && a.slots * a.piece_blocks * shape.units >= kLeastUnits) {
      return fixed + warps * a.slots * a.slot_bytes;
    }
  }
  check_ring(0, a.slot_bytes);
  return 0;
}

// What all plans begin with, x being in panels of so many tokens.
inline TileArgs begin_panels(const LinearArgs& l, int panel_tokens) {
  TileArgs a{};
  a.linear = l;
  a.shape = tile_shape(l.w, l.n, l.k);
  a.plain_x = is_plain_x(l, a.shape.blocks * a.shape.units * kUnit);
  a.panel_tokens = panel_tokens;
  a.token_blocks = (l.m + panel_tokens - 1) / panel_tokens;
  return a;
}

// ---- prompts ------------------------------------------------------------------------------------

template <class W, class S, XTerms kX>
void launch_matmul_kernel(const LinearArgs& l, Stream stream_) {
  TileArgs a = begin_panels(l, kPanelTokens);
  a.panels = kMostPanels;
  const int bytes = share_memory(a, kMatmulWarps, kPanelBytes,
                                 MatmulMemory::kBarrierBytes + MatmulMemory::kScaleBytes);
  const int row_blocks = (a.shape.tiles + kMatmulTiles - 1) / kMatmulTiles;
  const int64_t units = int64_t{a.shape.blocks} * a.shape.units;
  a.prepared.x = static_cast<uint16_t*>(l.workspace);
  a.prepared_scale =
      reinterpret_cast<float*>(a.prepared.x + a.token_blocks * units * (kPanelBytes / 2));
  end_chain(stream_);
  const auto stream = static_cast<cudaStream_t>(stream_);
  const int rounds = rounds_of_x(a);
  const auto prepare = rounds == kFewRounds    ? prepare_kernel<kX, kFewRounds>
                       : rounds == kMostRounds ? prepare_kernel<kX, kMostRounds>
                                               : prepare_kernel<kX, 0>;
  launch_pdl(prepare, l.m, kTileThreads, 0, stream, a);
  constexpr auto kKernel = matmul_kernel<W, S, kX>;
  allow_shared_memory<kKernel>(dynamic_shared_bytes());
  const int items = a.token_blocks * ((row_blocks + 1) / 2);
  const dim3 grid(2 * std::min(items, sm_count() / 2));
  launch_pdl(kKernel, LaunchShape{grid, kMatmulThreads, static_cast<size_t>(bytes), 2}, stream, a);
}

// ---- batches ------------------------------------------------------------------------------------

// All but what the Linears of a launch share.
template <int kN>
TileArgs plan_batch(const LinearArgs& l) {
  TileArgs a = begin_panels(l, kN);
  const int blocks = (a.shape.tiles + kBatchTiles - 1) / kBatchTiles * a.token_blocks;
  const bool fours = l.n % 4 == 0 && l.ldy % 4 == 0 && reinterpret_cast<uintptr_t>(l.y) % 16 == 0;
  a.slices = fours && !l.w.paired ? slices_of(a.shape, blocks) : 1;
  a.items = blocks * a.slices;
  static_assert(kN <= 64);  // of kSlicedBytes
  a.token_ctas = a.plain_x ? token_ctas_of(l.m) : 1;
  auto* workspace = static_cast<std::byte*>(l.workspace);
  a.sliced = reinterpret_cast<float*>(workspace);
  a.prepared_scale = reinterpret_cast<float*>(workspace + kSlicedBytes);
  a.squares = a.prepared_scale + kMostBatch;
  a.prepared.x = reinterpret_cast<uint16_t*>(workspace + kBatchBytes);
  return a;
}

template <class W, class S, XTerms kX, int kN>
void launch_batch_kernel(ChainArgs& chain, Stream stream) {
  using Memory = BatchMemory<kN>;
  TileArgs& first = chain.ops[0].tile;
  const int panel_bytes = kBatchUnits<kN> * Memory::bytes_of_unit(first.linear.m);
  first.panels = std::min(kMostPanels, kBatchPanels * kBatchPanelBytes / panel_bytes);
  const int bytes =
      share_memory(first, kTileWarps, panel_bytes,
                   Memory::kScaleBytes + Memory::kArgumentBytes + Memory::kBarrierBytes);
  for (int i = 0; i < chain.count; ++i) {
    TileArgs& a = chain.ops[i].tile;
    a.panels = first.panels, a.piece_blocks = first.piece_blocks;
    a.slot_bytes = first.slot_bytes, a.slots = first.slots;
    chain.ops[i].looks_place = i * kMostBatch * kLookPlaces;
  }
  plan_meetings(chain);
  constexpr auto kKernel = batch_kernel<W, S, kX, kN>;
  allow_shared_memory<kKernel>(dynamic_shared_bytes());
  launch_pdl(kKernel, sm_count(), kBatchThreads, static_cast<size_t>(bytes),
             static_cast<cudaStream_t>(stream), chain);
}

template <class W, class S, XTerms kX, int kN>
void launch_batches(std::span<const HeldOp> linears, Stream stream) {
  ChainArgs chain{};
  for (const HeldOp& l : linears) {
    const TileArgs a = plan_batch<kN>(std::get<LinearArgs>(l));
    if (chain.count > 0 && !follows(chain, a)) {
      launch_batch_kernel<W, S, kX, kN>(chain, stream);
      chain.count = 0;
    }
    chain.ops[chain.count++].tile = a;
  }
  launch_batch_kernel<W, S, kX, kN>(chain, stream);
}

template <class W, class S, XTerms kX, int kN>
void launch_batch(const LinearArgs& l, Stream stream) {
  if (add_to_chain({launch_batches<W, S, kX, kN>, false}, l, stream)) return;
  end_chain(stream);
  const HeldOp alone = l;
  launch_batches<W, S, kX, kN>({&alone, 1}, stream);
}

// ---- any number of tokens -----------------------------------------------------------------------

template <class W, class S, XTerms kX>
void launch_matmul_of(const LinearArgs& l, Stream stream) {
  if (l.m <= 32) {
    launch_batch<W, S, kX, 32>(l, stream);
  } else if (l.m <= kMostBatch) {
    launch_batch<W, S, kX, 64>(l, stream);
  } else {
    launch_matmul_kernel<W, S, kX>(l, stream);
  }
}

// Codes as they are; scales of whole rows.
template <class W>
void launch_matmul(const LinearArgs& args, Stream stream) {
  constexpr XTerms kX = W::kX == XTerms::kTwoBf16 ? XTerms::kPanelBf16 : XTerms::kPanelF16;
  launch_matmul_of<W, RowScales, kX>(args, stream);
}
// Codes times their scales: by the first of several Scales that takes the stream; false if none
// does.
template <class W, class... Ss>
bool launch_scaled_matmul(const LinearArgs& args, Stream stream) {
  const TileShape shape = tile_shape(args.w, args.n, args.k);
  const auto launch = [&]<class S>(S*) {
    launch_matmul_of<W, S, XTerms::kPanelBf16>(args, stream);
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
