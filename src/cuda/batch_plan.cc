#include "cuda/batch_plan.h"

#include <algorithm>

#include "cuda/chain.h"

namespace lowbit::cuda {

int slices_of(const TileShape& shape, int blocks) {
  constexpr int kLeastUnits = 4, kMostSlices = 8;
  const int units = shape.blocks * shape.units;
  return std::clamp(std::min({kMultiprocessors / blocks, units / kLeastUnits, shape.blocks}), 1,
                    kMostSlices);
}

int token_ctas_of(int m) {
  constexpr int kMost = 8;
  int ctas = 1;
  while (ctas < kMost && 2 * ctas * m <= kMultiprocessors) ctas *= 2;
  return ctas;
}

bool follows(const ChainArgs& chain, const TileArgs& a) {
  const TileArgs& first = chain.ops[0].tile;
  const LinearArgs &l = a.linear, &before = first.linear;
  const TileShape &s = a.shape, &t = first.shape;
  const bool alike = s.units == t.units && s.group == t.group && s.unit_bytes == t.unit_bytes &&
                     s.block_bytes == t.block_bytes && s.scale == t.scale && s.zero == t.zero &&
                     l.w.code == before.w.code && l.w.bits == before.w.bits;
  if (!alike || l.m != before.m || l.workspace != before.workspace) return false;
  for (int i = 0; i < chain.count; ++i) {
    const LinearArgs& writer = chain.ops[i].tile.linear;
    const bool rows = l.x.data == writer.y && l.x.format == FormatId::kF32 && l.x.ld == writer.ldy;
    if (!rows && reads(l, writer)) return false;
  }
  return true;
}

}  // namespace lowbit::cuda
