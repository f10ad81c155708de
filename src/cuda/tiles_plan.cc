#include "cuda/tiles_plan.h"

#include <algorithm>

#include "base/check.h"
#include "cuda/limits.h"

namespace lowbit::cuda {
namespace {

constexpr int kStaticShared = 2 * 1024;
constexpr int kMostOwnBytes = 2304;  // of a warp
constexpr int kLeastSlots = 2;       // of a ring, where blocks are small enough
constexpr int kAtOnce = 4;           // units that products are unrolled for

// Of one chunk of x in shared memory.
int staged_bytes(int units, int sums_per_unit, int rows, int pitch) {
  return rows * (units * kUnit + 8) * 2 + units * pitch * 4 * sums_per_unit;
}

// Into how many parts a tile is cut (as a power of two): what takes a warp the fewest units, where
// a round costs as much as reading some more of them, and so does what `cost_of_part` says for a
// part of so many units. Where x comes in chunks, every round takes all of it again: as few rounds
// as can be.
template <class Cost>
int best_log_parts(const TileShape& shape, int blocks, bool in_chunks, const Cost& cost_of_part) {
  const int tiles_per_cta = (shape.tiles + sm_count() - 1) / sm_count();
  const int per_round = std::max(1, 2048 / shape.unit_bytes);
  int best = 0, least = 1 << 30;
  for (int log_parts = 0; log_parts <= kLogTileWarps; ++log_parts) {
    const int parts = 1 << log_parts;
    if (parts > 1 && (blocks < parts || blocks / parts * shape.block_bytes < 512)) break;
    const int rounds = (tiles_per_cta * parts + kTileWarps - 1) / kTileWarps;
    if (in_chunks && parts > 1 && rounds > 1) break;
    const int units = (blocks + parts - 1) / parts * shape.units;
    const int cost = rounds * (units + per_round) + cost_of_part(units);
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
  const int at_once = std::max(1, kAtOnce / a.shape.units);
  if (pieces > 1 && most >= at_once) {
    const int whole = (a.piece_blocks + at_once - 1) / at_once * at_once;
    a.piece_blocks = std::min(whole, most / at_once * at_once);
  }
  a.slot_bytes = a.piece_blocks * a.shape.block_bytes;
  a.slots = std::min(bytes / a.slot_bytes, kMaxSlots);
  check_ring(a.slots, a.slot_bytes);
}

TileArgs begin_plan(const LinearArgs& l, const TileShape& shape, int sums_per_unit) {
  TileArgs a{};
  a.linear = l;
  a.shape = shape;
  a.sums_per_unit = sums_per_unit;
  a.tokens_inverse = (1 << 16) / l.m + 1;
  a.plain_x = is_plain_x(l, shape.blocks * shape.units * kUnit);
  a.chunk_blocks = shape.blocks;
  return a;
}

// Of the sums of parts: of a round, and of as many rounds as there is room for.
int round_bytes(int m) { return kTileWarps * m * kTileRows * 4; }
int partial_bytes(int m) {
  constexpr int kLeast = 8 * 1024;
  static_assert(kLeast >= kTokenBytes);  // an attention lies there too
  return std::max(kLeast, round_bytes(m));
}

// Of a warp's columns; of all that a CTA has for one token but the rings; of a warp's ring where so
// many bytes lie beside.
int whole_own_bytes(int x_bytes) { return (x_bytes + 15) / 16 * 16; }
int beside_token(int partial, int x_bytes) {
  return 2 * partial + kTileWarps * whole_own_bytes(x_bytes);
}
int ring_bytes(int beside) { return (dynamic_shared_bytes() - beside) / kTileWarps / 128 * 128; }

void cut(TileArgs& a, int log_parts) {
  const int tiles_per_cta = (a.shape.tiles + sm_count() - 1) / sm_count();
  a.log_parts = log_parts;
  a.rounds = ((tiles_per_cta << log_parts) + kTileWarps - 1) / kTileWarps;
  a.flush_rounds = partial_bytes(a.linear.m) / round_bytes(a.linear.m);
}

}  // namespace

int dynamic_shared_bytes() { return shared_memory_bytes() - kStaticShared; }

bool is_plain_x(const LinearArgs& l, int columns) {
  const auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  return l.x.code == Code::kF32 && l.x.scale == Scale::kNone && l.k % 4 == 0 &&
         (l.m == 1 || l.x.ld % 4 == 0) && aligned(l.x.data) && aligned(l.norm_weight) &&
         columns <= kMostPosted;
}

TileArgs plan_tiles(const LinearArgs& l, const TileShape& shape, int sums_per_unit, int rows,
                    int pitch) {
  TileArgs a = begin_plan(l, shape, sums_per_unit);
  const int room = dynamic_shared_bytes() - partial_bytes(l.m), least_ring = room * 2 / 5;
  a.x_bytes = staged_bytes(a.chunk_blocks * shape.units, sums_per_unit, rows, pitch);
  int x_total = a.x_bytes;
  // Two chunks at a time instead of all of x.
  while (x_total > room - least_ring && a.chunk_blocks > 1) {
    a.chunk_blocks = (a.chunk_blocks + 1) / 2;
    a.x_bytes = staged_bytes(a.chunk_blocks * shape.units, sums_per_unit, rows, pitch);
    x_total = 2 * a.x_bytes;
  }
  a.chunks = (a.shape.blocks + a.chunk_blocks - 1) / a.chunk_blocks;
  cut(a, best_log_parts(shape, a.chunk_blocks, a.chunks > 1, [](int) { return 0; }));
  return a;
}

TileArgs plan_token(const LinearArgs& l, const TileShape& shape, int sums_per_unit, XTerms x) {
  TileArgs a = begin_plan(l, shape, sums_per_unit);
  a.chunks = 1;
  const auto own_bytes = [&](int units) {
    return staged_bytes(own_units(units, x), sums_per_unit, rows_of_token(x), tokens_of_mma(x));
  };
  // Staging a unit's columns costs about what multiplying it does; memory is wanted for the ring.
  cut(a, best_log_parts(shape, shape.blocks, false, [&](int units) {
        return own_bytes(units) <= kMostOwnBytes && units * kUnit <= kMostPosted / kTileWarps
                   ? units
                   : units << 10;
      }));
  const int parts = 1 << a.log_parts;
  // No thread has more than one number of y between two meetings.
  a.flush_rounds = std::min(a.flush_rounds, kTileThreads / kTileRows * parts / kTileWarps);
  const int units = (shape.blocks + parts - 1) / parts * shape.units;
  a.x_bytes = own_bytes(units);
  a.plain_x = a.plain_x && units * kUnit <= kMostPosted / kTileWarps;
  return a;
}

bool token_fits(const LinearArgs& l, const TileShape& shape, XTerms x) {
  constexpr int kMostSums = 4;  // of a unit
  if (shape.blocks * shape.units * kUnit > 2 * kMostPosted) return false;
  const TileArgs a = plan_token(l, shape, kMostSums, x);
  return ring_bytes(beside_token(partial_bytes(l.m), a.x_bytes)) >= shape.block_bytes;
}

int share_memory(ChainArgs& chain, bool own, int units_at_once) {
  int x_bytes = 0, slot_bytes = 0;
  chain.partial_bytes = chain.own_bytes = 0;
  for (int i = 0; i < chain.count; ++i) {
    if (chain.ops[i].attention >= 0) continue;
    const TileArgs& a = chain.ops[i].tile;
    chain.partial_bytes = std::max(chain.partial_bytes, partial_bytes(a.linear.m));
    x_bytes = std::max(x_bytes, a.x_bytes * (a.chunks > 1 ? 2 : 1));
  }
  if (own) chain.own_bytes = whole_own_bytes(x_bytes);
  const int beside = own ? beside_token(chain.partial_bytes, x_bytes)  // of the ring
                         : chain.partial_bytes + x_bytes;
  const int ring = ring_bytes(beside);
  for (int i = 0; i < chain.count; ++i) {
    if (chain.ops[i].attention >= 0) continue;
    TileArgs& a = chain.ops[i].tile;
    share_ring(a, ring);
    LB_CHECK(a.piece_blocks * a.shape.units % units_at_once == 0 ||
             a.piece_blocks << a.log_parts >= a.chunk_blocks);
    slot_bytes = std::max(slot_bytes, a.slot_bytes);
  }
  const int slots = std::min(ring / slot_bytes, kMaxSlots);
  for (int i = 0; i < chain.count; ++i) {
    chain.ops[i].tile.slot_bytes = slot_bytes, chain.ops[i].tile.slots = slots;
  }
  return kTileWarps * slots * slot_bytes + beside;
}

}  // namespace lowbit::cuda
