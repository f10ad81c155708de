// Which partition of the work a launch of tiles_kernel or token_kernel gets, and the launch.
#pragma once

#include <algorithm>

#include "cuda/chain.h"
#include "cuda/limits.h"
#include "cuda/tiles_plan.h"
#include "cuda/tiles_token.cuh"

namespace lowbit::cuda {

// The same (kSumsPerUnit) of weights that are known: without zeros only an offset asks for sums.
template <class W, class S>
int sums_per_unit(const TileShape& shape) {
  bool needed = shape.zero != Zero::kNone;
  if constexpr (W::kX == XTerms::kFixed) needed = needed || W::kOffset != 0;
  return needed ? kSumsPerUnit<W, S> : 0;
}

// The plan of a Linear, x of several tokens being prepared in the workspace. kOne: of one token, of
// which each warp stages what it multiplies.
template <class W, class S, int kN, bool kOne>
TileArgs plan_linear(const LinearArgs& l, const TileShape& shape) {
  const int pitch = kN * tokens_of_mma(W::kX), rows = rows_of_token(W::kX) * l.m;
  if constexpr (kOne) return plan_token(l, shape, kSumsPerUnit<W, S>, W::kX);
  const int sums = sums_per_unit<W, S>(shape);
  TileArgs a = plan_tiles(l, shape, sums, rows, pitch);
  if (a.chunks > 1 || l.m > 1) {
    const int units = shape.blocks * shape.units;
    a.prepared.pitch = pitch;
    a.prepared.row_halves = units * kUnit;
    a.prepared.x = static_cast<uint16_t*>(l.workspace);
    a.prepared.sums =
        reinterpret_cast<float*>(a.prepared.x + int64_t{rows} * a.prepared.row_halves);
  }
  return a;
}

template <class W, class S, int kN, bool kOne>
void launch_chain(std::span<const HeldOp> held_back, Stream stream) {
  ChainArgs chain{};
  TokenAttentions attentions{};
  for (const HeldOp& held : held_back) {
    ChainedOp& op = chain.ops[chain.count++];
    if (const auto* l = std::get_if<LinearArgs>(&held)) {
      op.tile = plan_linear<W, S, kN, kOne>(*l, tile_shape(l->w, l->n, l->k));
    } else {
      op.attention = attentions.count;
      attentions.at[attentions.count++] = std::get<TokenAttention>(held);
    }
  }
  const int shared_bytes = share_memory(chain, kOne, units_at_once(W::kX));
  plan_chain(chain, {attentions.at, static_cast<size_t>(attentions.count)});
  const auto launch = [&]<auto kKernel>(const auto&... args) {
    allow_shared_memory<kKernel>(dynamic_shared_bytes());
    launch_pdl(kKernel, sm_count(), kTileThreads, shared_bytes, static_cast<cudaStream_t>(stream),
               args...);
  };
  if constexpr (kOne) {
    launch.template operator()<token_kernel<W, S>>(chain, attentions);
  } else {
    launch.template operator()<tiles_kernel<W, S, kN>>(chain);
  }
}

template <class W, class S, int kN, bool kOne>
void launch_kernel(const LinearArgs& l, Stream stream) {
  // Scales that are looked at as they come are slow whatever lies between launches.
  constexpr bool kChains = kN * tokens_of_mma(W::kX) <= 8 && !std::is_same_v<S, AnyScales>;
  if constexpr (kChains) {
    if (add_to_chain({launch_chain<W, S, kN, kOne>, kOne}, l, stream)) return;
  }
  end_chain(stream);
  const HeldOp alone = l;
  launch_chain<W, S, kN, kOne>({&alone, 1}, stream);
}

// The first of several Scales that takes the stream; one of them does.
template <class... Ss>
struct Among {
  template <class W, class S, bool kOne>
  using Of = std::conditional_t<kOne, typename OfOneToken<W, S>::Type, W>;

  template <class W, int kN, bool kOne = false>
  static void launch(const LinearArgs& l, const TileShape& shape, Stream stream) {
    (void)((Ss::fits(shape) && (launch_kernel<Of<W, Ss, kOne>, Ss, kN, kOne>(l, stream), true)) ||
           ...);
  }
};

// Any number of tokens, up to 32 at a time. `One` is for one token alone, where groups may be
// columns (products_fixed.cuh).
template <class W, class Kinds, class One = Kinds>
void launch_tiles(const LinearArgs& args, Stream stream) {
  constexpr int kOfMma = tokens_of_mma(W::kX);
  const TileShape shape = tile_shape(args.w, args.n, args.k);
  for (int32_t t = 0; t < args.m; t += kMaxTokens) {
    const LinearArgs l = rows_of(args, t, std::min(args.m - t, kMaxTokens));
    if (l.m == 1 && token_fits(l, shape, W::kX)) {
      One::template launch<W, 1, true>(l, shape, stream);
    } else if (l.m <= 8) {
      Kinds::template launch<W, 8 / kOfMma>(l, shape, stream);
    } else {
      Kinds::template launch<W, kMaxTokens / kOfMma>(l, shape, stream);
    }
  }
}

using Symmetric = GroupScales<In::k16, 1>;
using FloatZeros = GroupScales<In::k16, 1, With::kFloatZeros>;
using AnyZeros = GroupScales<In::k16, 1, With::kAnyZeros>;

// Integers, whose scales and zeros come in many kinds.
template <class W>
void launch_integers(const LinearArgs& args, Stream stream) {
  launch_tiles<
      W, Among<RowScales, Symmetric, FloatZeros, AnyScales>,
      Among<RowScales, Symmetric, FloatZeros, AnyZeros, GroupScales<In::k16, 2>, AnyScales>>(
      args, stream);
}
// Floats, of which the mx formats have groups of 32.
template <class W>
void launch_floats(const LinearArgs& args, Stream stream) {
  using Kinds = Among<RowScales, GroupScales<In::kE8M0, 2>, AnyScales>;
  launch_tiles<W, Kinds>(args, stream);
}
template <class W>
void launch_rare(const LinearArgs& args, Stream stream) {
  using Kinds = Among<RowScales, AnyScales>;
  launch_tiles<W, Kinds>(args, stream);
}

}  // namespace lowbit::cuda
