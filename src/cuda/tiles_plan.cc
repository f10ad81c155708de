#include "cuda/tiles_plan.h"

#include <algorithm>

#include "cuda/limits.h"

namespace lowbit::cuda {
namespace {

constexpr int kStaticShared = 2 * 1024;
constexpr int kLeastSlots = 2;  // of a ring, where blocks are small enough
constexpr int kAtOnce = 4;      // blocks that products are unrolled for

// Of one chunk of x in shared memory.
int staged_bytes(int units, int sums_per_unit, int rows, int pitch) {
  return rows * (units * kUnit + 8) * 2 + units * pitch * 4 * sums_per_unit;
}

// Into how many parts a tile is cut (as a power of two): what takes a warp the fewest units, where
// a round costs as much as reading some more of them. Where x comes in chunks, every round takes
// all of it again: as few rounds as can be.
int best_log_parts(int tiles_per_cta, const TileShape& shape, int blocks, bool in_chunks) {
  const int per_round = std::max(1, 2048 / shape.unit_bytes);
  int best = 0, least = 1 << 30;
  for (int log_parts = 0; log_parts <= kLogTileWarps; ++log_parts) {
    const int parts = 1 << log_parts;
    if (parts > 1 && (blocks < parts || blocks / parts * shape.block_bytes < 512)) break;
    const int rounds = (tiles_per_cta * parts + kTileWarps - 1) / kTileWarps;
    if (in_chunks && parts > 1 && rounds > 1) break;
    const int cost = rounds * ((blocks + parts - 1) / parts * shape.units + per_round);
    if (cost < least) least = cost, best = log_parts;
  }
  return best;
}

// Pieces of a warp's part of a tile, about alike in size, and as many slots for them as fit.
void share_ring(TileArgs& a, int bytes) {
  const int parts = 1 << a.log_parts;
  const int part_blocks = (a.chunk_blocks + parts - 1) / parts;
  const int most = std::max(1, std::min(part_blocks, bytes / kLeastSlots / a.shape.block_bytes));
  const int pieces = (part_blocks + most - 1) / most;
  a.piece_blocks = (part_blocks + pieces - 1) / pieces;
  if (pieces > 1 && most >= kAtOnce) {
    const int whole = (a.piece_blocks + kAtOnce - 1) / kAtOnce * kAtOnce;
    a.piece_blocks = std::min(whole, most / kAtOnce * kAtOnce);
  }
  a.slot_bytes = a.piece_blocks * a.shape.block_bytes;
  a.slots = std::min(bytes / a.slot_bytes, kMaxSlots);
  check_ring(a.slots, a.slot_bytes);
}

}  // namespace

int dynamic_shared_bytes() { return shared_memory_bytes() - kStaticShared; }

TileLaunch plan_tiles(const LinearArgs& l, const TileShape& shape, int sums_per_unit, int rows,
                      int pitch) {
  TileArgs a{};
  a.linear = l;
  a.shape = shape;
  a.sums_per_unit = sums_per_unit;
  const int grid = a.shape.tiles < sm_count() ? a.shape.tiles : sm_count();
  const int round_bytes = kTileWarps * l.m * kTileRows * 4;
  const int partial = std::max(kPartialBytes, round_bytes);
  a.partial_bytes = partial;
  const int room = dynamic_shared_bytes() - partial, least_ring = room * 2 / 5;
  a.chunk_blocks = a.shape.blocks;
  a.x_bytes = staged_bytes(a.chunk_blocks * shape.units, sums_per_unit, rows, pitch);
  int x_total = a.x_bytes;
  // Two chunks at a time instead of all of x.
  while (x_total > room - least_ring && a.chunk_blocks > 1) {
    a.chunk_blocks = (a.chunk_blocks + 1) / 2;
    a.x_bytes = staged_bytes(a.chunk_blocks * shape.units, sums_per_unit, rows, pitch);
    x_total = 2 * a.x_bytes;
  }
  a.chunks = (a.shape.blocks + a.chunk_blocks - 1) / a.chunk_blocks;
  const int tiles_per_cta = (a.shape.tiles + grid - 1) / grid;
  a.log_parts = best_log_parts(tiles_per_cta, shape, a.chunk_blocks, a.chunks > 1);
  const int parts = 1 << a.log_parts;
  a.rounds = (tiles_per_cta * parts + kTileWarps - 1) / kTileWarps;
  a.flush_rounds = partial / round_bytes;
  share_ring(a, (room - x_total) / kTileWarps);
  return {a, grid, kTileWarps * a.slots * a.slot_bytes + x_total + partial};
}

int share_memory(ChainArgs& chain) {
  int x_bytes = 0, slot_bytes = 0;
  for (int i = 0; i < chain.count; ++i) {
    const TileArgs& a = chain.ops[i].tile;
    x_bytes = std::max(x_bytes, a.x_bytes * (a.chunks > 1 ? 2 : 1));
  }
  const int ring = (dynamic_shared_bytes() - kPartialBytes - x_bytes) / kTileWarps / 128 * 128;
  for (int i = 0; i < chain.count; ++i) {
    share_ring(chain.ops[i].tile, ring);
    slot_bytes = std::max(slot_bytes, chain.ops[i].tile.slot_bytes);
  }
  const int slots = std::min(ring / slot_bytes, kMaxSlots);
  for (int i = 0; i < chain.count; ++i) {
    chain.ops[i].tile.slot_bytes = slot_bytes, chain.ops[i].tile.slots = slots;
  }
  return kTileWarps * slots * slot_bytes + kPartialBytes + x_bytes;
}

}  // namespace lowbit::cuda
