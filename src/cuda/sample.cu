// cuda.sample: one block of threads per row of logits, which it reads as often as it must; nothing
// is stored but in shared memory, and what changes from step to step is read on the device. Where
// there are clusters, the first look at a row, which is all that greedy needs, is shared out to
// one.
//
// Tokens are ranked by falling logit, equal ones by id. Greedy takes the first. Top-k, top-p and
// the draw each ask for the token at which a running sum along the ranking (of ones, or of
// probabilities) reaches a goal: a histogram over logits finds the bin that holds it, finer ones
// part a bin of too many tokens, and the few that are left are sorted. Probabilities are integers,
// so that no sum depends on the order in which threads come.
#include "base/rng.h"
#include "cuda/limits.h"
#include "cuda/ops.h"
#include "cuda/pdl.cuh"
#include "cuda/ptx.cuh"
#include "cuda/rows.cuh"

namespace lowbit::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kBins = 2048;     // also tokens that are sorted at once
constexpr unsigned kParts = 8;  // CTAs of a cluster, that look at a row together
constexpr int kDigit = 11;      // bits of a key that kBins tell apart
constexpr unsigned kAll = 0xffffffffu;

// ---- ranks --------------------------------------------------------------------------------------

// A NaN ranks with the impossible tokens.
__device__ float rank_logit(float logit) { return logit == logit ? logit + 0.0f : -INFINITY; }

// As logits are ordered.
__device__ uint32_t key_of(float logit) {
  const uint32_t bits = __float_as_uint(logit);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
__device__ float logit_of(uint32_t key) {
  return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key);
}

// The earlier of two tokens has the larger rank; 0 is none.
__device__ uint64_t rank_of(uint32_t key, int id) {
  return uint64_t{key} << 32 | ~static_cast<uint32_t>(id);
}
__device__ int id_of(uint64_t rank) {
  return rank == 0 ? -1 : static_cast<int>(~static_cast<uint32_t>(rank));
}

struct Row {
  const float* logits;
  const uint32_t* mask;  // or null
  int vocab;
  bool whole;  // four logits can be loaded at once

  __device__ bool allowed(int id) const { return !mask || ((mask[id / 32] >> (id % 32)) & 1u); }

  // body(id, logit) for the allowed tokens of this thread, in order of id; of `parts` CTAs that
  // share a row, those of part `part`.
  template <class Body>
  __device__ void for_each(const Body& body, int part = 0, int parts = 1) const {
    constexpr int kStep = 4 * kThreads;
    constexpr int kAhead = 4;  // loads under way
    const int first = (part * kAhead * kThreads + static_cast<int>(threadIdx.x)) * 4;
    for (int base = first; base < vocab; base += parts * kAhead * kStep) {
      Four four[kAhead];
      for (int a = 0; a < kAhead; ++a) {
        four[a] = load_four(logits, base + a * kStep, vocab, whole);
      }
      for (int a = 0; a < kAhead; ++a) {
        for (int j = 0; j < 4; ++j) {
          const int id = base + a * kStep + j;
          if (id < vocab && allowed(id)) body(id, rank_logit(four[a].v[j]));
        }
      }
    }
  }
};

// ---- sums along the ranking ---------------------------------------------------------------------

struct Found {
  uint64_t above;  // the sum before
  int bin;
  uint32_t count;  // tokens in the bin
};

struct Shared {
  uint32_t low[kBins], high[kBins], count[kBins];  // of sums, and tokens
  uint64_t sorted[kBins];
  uint64_t warps[kThreads / 32];
  uint64_t first;  // the largest rank of the CTA's part of a row
  Found found;
  uint32_t listed;
};

// Two additions of 32 bits, which shared memory has; any order gives the same sum.
__device__ void add(Shared& s, int bin, uint64_t value) {
  const auto low = static_cast<uint32_t>(value);
  const uint32_t old = atomicAdd(&s.low[bin], low);
  const uint32_t high = static_cast<uint32_t>(value >> 32) + (old + low < old ? 1u : 0u);
  if (high != 0) atomicAdd(&s.high[bin], high);
  atomicAdd(&s.count[bin], 1u);
}
__device__ uint64_t sum_of(const Shared& s, int bin) {
  return uint64_t{s.high[bin]} << 32 | s.low[bin];
}

__device__ void clear(Shared& s) {
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kThreads) {
    s.low[i] = s.high[i] = s.count[i] = 0;
  }
  __syncthreads();
}

// Inclusive sum over the threads up to this one; *total over all.
__device__ uint64_t running_sum(Shared& s, uint64_t value, uint64_t* total) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint64_t before = __shfl_up_sync(kAll, value, distance);
    if (lane >= distance) value += before;
  }
  __syncthreads();
  if (lane == 31) s.warps[warp] = value;
  __syncthreads();
  *total = 0;
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w == warp) value += *total;
    *total += s.warps[w];
  }
  return value;
}

// The sum of all bins.
__device__ uint64_t total_of(Shared& s) {
  uint64_t total;
  const int first = static_cast<int>(threadIdx.x) * 2;
  running_sum(s, sum_of(s, first) + sum_of(s, first + 1), &total);
  return total;
}

// The bin at which the sum from bin 0 on reaches `goal`, 1 to total_of().
__device__ Found find(Shared& s, uint64_t goal) {
  const int first = static_cast<int>(threadIdx.x) * 2;
  const uint64_t one = sum_of(s, first), two = sum_of(s, first + 1);
  uint64_t total;
  const uint64_t through = running_sum(s, one + two, &total), before = through - one - two;
  if (before < goal && goal <= through) {
    s.found = before + one >= goal ? Found{before, first, s.count[first]}
                                   : Found{before + one, first + 1, s.count[first + 1]};
  }
  __syncthreads();
  return s.found;
}

// ---- the tokens that may be drawn ---------------------------------------------------------------

struct Candidates {
  Row row;
  float top, temperature;
  uint64_t last;  // the last one's rank; 0: all that the mask allows
  bool counted;   // every token weighs 1
  float one;      // the integer for a weight of 1

  // Of softmax, before it is divided by the sum. Equal infinities weigh the same.
  __device__ uint64_t weight(float logit) const {
    if (counted) return 1;
    const float weight = logit == top ? 1.0f : expf((logit - top) / temperature);
    return static_cast<uint64_t>(weight * one);
  }
  // Rises as the logit falls; all that are far below the top share the last bin.
  __device__ int bin(float logit) const {
    if (logit == top) return 0;
    constexpr float kSpan = 32;  // exp(-32) is 2^-46
    return static_cast<int>(
        fminf((top - logit) / temperature * (kBins / kSpan), static_cast<float>(kBins - 1)));
  }
};

// Tokens of one bin, whose keys begin with `bits` bits of `prefix`.
struct Region {
  int bin;
  uint32_t prefix = 0;
  int bits = 0;

  __device__ bool has(const Candidates& c, float logit) const {
    return c.bin(logit) == bin && (bits == 0 || key_of(logit) >> (32 - bits) == prefix);
  }
};

template <class Body>
__device__ void for_candidates(const Candidates& c, const Body& body) {
  c.row.for_each([&](int id, float logit) {
    if (rank_of(key_of(logit), id) >= c.last) body(id, logit);
  });
}

__device__ void fill_bins(Shared& s, const Candidates& c) {
  clear(s);
  for_candidates(c, [&](int, float logit) {
    const uint64_t weight = c.weight(logit);
    if (weight != 0) add(s, c.bin(logit), weight);
  });
  __syncthreads();
}

// The tokens of a region by the next bits of their keys, the largest key first.
__device__ Region part(Shared& s, const Candidates& c, Region region, uint64_t* goal,
                       Found* found) {
  const int digit = min(kDigit, 32 - region.bits);
  const uint32_t last = (1u << digit) - 1;
  clear(s);
  for_candidates(c, [&](int, float logit) {
    if (!region.has(c, logit)) return;
    const uint32_t low = key_of(logit) >> (32 - region.bits - digit) & last;
    add(s, static_cast<int>(last - low), c.weight(logit));
  });
  __syncthreads();
  *found = find(s, *goal);
  *goal -= found->above;
  region.prefix = region.prefix << digit | (last - static_cast<uint32_t>(found->bin));
  region.bits += digit;
  return region;
}

// Sorts s.listed ranks, the largest first (bitonic; Batcher 1968).
__device__ void sort_listed(Shared& s) {
  int size = 2;
  while (size < static_cast<int>(s.listed)) size *= 2;
  for (int i = static_cast<int>(threadIdx.x); i < size; i += kThreads) {
    if (i >= static_cast<int>(s.listed)) s.sorted[i] = 0;
  }
  for (int run = 2; run <= size; run *= 2) {
    for (int distance = run / 2; distance > 0; distance /= 2) {
      __syncthreads();
      const int t = static_cast<int>(threadIdx.x);
      const int i = t / distance * 2 * distance + t % distance, j = i + distance;
      if (j >= size) continue;
      const bool falling = (i & run) == 0;
      const uint64_t a = s.sorted[i], b = s.sorted[j];
      if ((a < b) == falling) {
        s.sorted[i] = b;
        s.sorted[j] = a;
      }
    }
  }
  __syncthreads();
}

// At most kBins tokens: the rank of the one at which their sum reaches `goal`.
__device__ uint64_t reach_sorted(Shared& s, const Candidates& c, const Region& region,
                                 uint64_t goal, uint64_t* above) {
  clear(s);
  if (threadIdx.x == 0) s.listed = 0;
  __syncthreads();
  for_candidates(c, [&](int id, float logit) {
    if (region.has(c, logit) && c.weight(logit) != 0) {
      s.sorted[atomicAdd(&s.listed, 1u)] = rank_of(key_of(logit), id);
    }
  });
  __syncthreads();
  sort_listed(s);
  for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(s.listed); i += kThreads) {
    add(s, i, c.weight(logit_of(static_cast<uint32_t>(s.sorted[i] >> 32))));
  }
  __syncthreads();
  const Found found = find(s, goal);
  *above = found.above;
  return s.sorted[found.bin];
}

// Any number of tokens with one key: the rank of number `nth`, from 1, in order of id.
__device__ uint64_t reach_equal(Shared& s, const Candidates& c, uint32_t key, uint64_t nth) {
  const int share = (c.row.vocab + kThreads - 1) / kThreads;
  const int begin = static_cast<int>(threadIdx.x) * share, end = min(begin + share, c.row.vocab);
  const auto next = [&](int id) {  // the first from `id` on
    while (id < end && !(c.row.allowed(id) && key_of(rank_logit(c.row.logits[id])) == key)) ++id;
    return id;
  };
  clear(s);
  for (int id = next(begin); id < end; id = next(id + 1)) ++s.low[threadIdx.x];
  __syncthreads();
  const Found found = find(s, nth);
  if (found.bin == static_cast<int>(threadIdx.x)) {
    int id = next(begin);
    for (uint64_t i = found.above + 1; i < nth; ++i) id = next(id + 1);
    s.sorted[0] = rank_of(key, id);
  }
  __syncthreads();
  return s.sorted[0];
}

// The token at which the sum along the ranking reaches `goal`, and the sum through it. fill_bins()
// was called for these candidates, or for more of which they are the first; the bins are lost.
__device__ uint64_t reach(Shared& s, const Candidates& c, uint64_t goal, uint64_t* through) {
  uint64_t left = goal;
  Found found = find(s, left);
  left -= found.above;
  Region region{found.bin};
  while (found.count > kBins && region.bits < 32) region = part(s, c, region, &left, &found);
  uint64_t rank, above = 0;
  if (found.count > kBins) {
    const uint64_t weight = c.weight(logit_of(region.prefix));
    const uint64_t nth = (left + weight - 1) / weight;
    above = (nth - 1) * weight;
    rank = reach_equal(s, c, region.prefix, nth);
  } else {
    rank = reach_sorted(s, c, region, left, &above);
  }
  __syncthreads();  // every thread has read what the next call overwrites
  *through = goal - left + above + c.weight(logit_of(static_cast<uint32_t>(rank >> 32)));
  return rank;
}

// The largest rank of all threads.
__device__ uint64_t first_rank(Shared& s, uint64_t rank) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    rank = max(rank, __shfl_xor_sync(kAll, rank, lanes));
  }
  if (threadIdx.x % 32 == 0) s.warps[threadIdx.x / 32] = rank;
  __syncthreads();
  for (const uint64_t warp : s.warps) rank = max(rank, warp);
  return rank;
}

#if LB_BULK_COPIES
__device__ uint64_t load_rank(uint32_t address, int cta) {
  const uint32_t low = __float_as_uint(load_from_cta(address, cta));
  return uint64_t{__float_as_uint(load_from_cta(address + 4, cta))} << 32 | low;
}
#endif

// Of the row, in the first CTA of a cluster; of its part in others.
__device__ uint64_t greedy(Shared& s, const Row& row, int part, int parts) {
  float best = -INFINITY;
  int best_id = -1;
  row.for_each(
      [&](int id, float logit) {
        if (best_id >= 0 && !(logit > best)) return;
        best = logit;
        best_id = id;
      },
      part, parts);
  uint64_t rank = first_rank(s, best_id < 0 ? 0 : rank_of(key_of(best), best_id));
#if LB_BULK_COPIES
  if (parts > 1) {
    if (threadIdx.x == 0) s.first = rank;
    __syncwarp();
    cluster_sync();
    if (part == 0) {
      const int lane = static_cast<int>(threadIdx.x) % 32;
      rank = first_rank(s, lane < parts ? load_rank(shared_address(&s.first), lane) : 0);
    }
    __syncwarp();
    cluster_meet();  // nobody's memory ends before it has been read
  }
#endif
  return rank;
}

// A function of its own: greedy's registers are not spilled for it.
__device__ __noinline__ uint64_t draw(Shared& s, Candidates c, const SampleParams& p, int pos) {
  uint64_t through = 0;
  if (p.top_k > 0 && p.top_k < c.row.vocab) {
    c.counted = true;
    fill_bins(s, c);
    const uint64_t allowed = total_of(s);
    c.last = reach(s, c, min(static_cast<uint64_t>(p.top_k), allowed), &through);
    c.counted = false;
  }
  fill_bins(s, c);
  uint64_t kept = total_of(s);
  if (p.top_p < 1) {  // the shortest prefix that holds top_p of the mass
    const double share = ceil(static_cast<double>(p.top_p) * static_cast<double>(kept));
    const uint64_t goal = share < 1 ? 1 : static_cast<uint64_t>(share);
    c.last = reach(s, c, min(goal, kept), &kept);
    fill_bins(s, c);
  }
  // uniform = n / 2^24: the first sum above kept * n / 2^24.
  const uint64_t n = Rng(p.seed).bits(static_cast<uint64_t>(pos)) >> 40;
  const uint64_t below = __umul64hi(kept, n << 40);
  return reach(s, c, below + 1, &through);
}

__global__ void __launch_bounds__(kThreads) sample_kernel(SampleArgs a, bool whole) {
  __shared__ Shared s;
  const int part = static_cast<int>(blockIdx.x), parts = static_cast<int>(gridDim.x);
  const int64_t r = blockIdx.y;
  pdl_wait();
  const int64_t mask_words = (a.vocab + 31) / 32;
  const Row row = {a.logits + r * a.vocab, a.mask ? a.mask + r * mask_words : nullptr, a.vocab,
                   whole};
  const SampleParams params = a.params[r];
  uint64_t rank = greedy(s, row, part, parts);
  if (part > 0) return;
  if (params.temperature > 0 && rank != 0) {
    const uint64_t one = uint64_t{1} << (30 + __clz(a.vocab));  // sums fit into 62 bits
    const Candidates all = {row,
                            logit_of(static_cast<uint32_t>(rank >> 32)),
                            params.temperature,
                            0,
                            false,
                            static_cast<float>(one)};
    rank = draw(s, all, params, a.pos[r]);
  }
  if (threadIdx.x == 0) a.out[r] = id_of(rank);
}

}  // namespace

void sample(const SampleArgs& a, Stream stream) {
  if (a.rows == 0) return;
  const unsigned parts = has_clusters() ? kParts : 1;
  launch_pdl(sample_kernel, {dim3(parts, static_cast<unsigned>(a.rows)), kThreads, 0, parts},
             static_cast<cudaStream_t>(stream), a, rows_aligned(a.logits, a.vocab));
}

}  // namespace lowbit::cuda
