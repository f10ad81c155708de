#include "cpu/ops.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/thread_pool.h"
#include "cpu/bodies.h"
#include "cpu/isa.h"
#include "cpu/sample.h"
#include "ops/host_memory.h"
#include "ops/view.h"

namespace lowbit::cpu {
namespace {

// body(begin, end) over [0, n), on all threads if the work (in numbers touched) pays for a fork.
template <class Body>
void split(int64_t n, int64_t work, int64_t grain, const Body& body) {
  constexpr int64_t kMinWork = 1 << 14;
  const auto narrow = [&](int64_t begin, int64_t end) {
    body(static_cast<int32_t>(begin), static_cast<int32_t>(end));
  };
  if (work < kMinWork) return narrow(0, n);
  thread_pool().for_ranges(n, grain, narrow);
}

void embed(const EmbedArgs& a, Stream) {
  split(a.tokens_count, int64_t{a.tokens_count} * a.d, 1, [&](int32_t begin, int32_t end) {
    for (int64_t t = begin; t < end; ++t) decode_row(a.table, a.tokens[t], a.d, a.out + t * a.d);
  });
}

void rotary_table(const RotaryTableArgs& a, Stream) {
  split(a.tokens_count, int64_t{a.tokens_count} * a.half * 32, 1, [&](int32_t begin, int32_t end) {
    for (int32_t t = begin; t < end; ++t) {
      float* row = a.cos_sin + int64_t{t} * 2 * a.half;
      for (int32_t i = 0; i < a.half; ++i) {
        const float angle = static_cast<float>(a.pos[t]) * a.inv_freq[i];
        row[i] = std::cos(angle);
        row[a.half + i] = std::sin(angle);
      }
    }
  });
}

void gather_rows(const GatherRowsArgs& a, Stream) {
  for (int64_t r = 0; r < a.rows; ++r) {
    std::memcpy(a.out + r * a.d, a.x + int64_t{a.row[r]} * a.d, sizeof(float) * a.d);
  }
}

// Scores of the heads that share one kv head: rows of whole vectors; and rows of a decoded cache.
size_t attention_scratch(const AttentionArgs& a, int32_t token) {
  const size_t stride = (static_cast<size_t>(a.pos[token]) + 1 + 15) / 16 * 16;
  return stride * static_cast<size_t>(std::min(a.heads / a.kv_heads, 4)) +
         static_cast<size_t>(kDecodedRows * a.head_dim);
}

// The split over (token, kv head) is dynamic: contexts of one step may differ a lot.
void attend_all(const AttentionArgs& a, const OpBodies& bodies) {
  const int64_t items = int64_t{a.tokens_count} * a.kv_heads;
  std::atomic<int64_t> next{0};
  const auto work = [&](int) {
    thread_local std::vector<float> scratch;
    for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
      const auto token = static_cast<int32_t>((items - 1 - item) / a.kv_heads);  // longest first
      const size_t need = attention_scratch(a, token);
      if (scratch.size() < need) scratch.resize(need * 2);
      bodies.attention(a, token, static_cast<int32_t>((items - 1 - item) % a.kv_heads),
                       scratch.data());
    }
  };
  constexpr int64_t kMinWork = 1 << 14;
  const int64_t touched =
      a.tokens_count > 0 ? items * a.head_dim * (a.pos[a.tokens_count - 1] + 1) : 0;
  if (touched < kMinWork) return work(0);
  thread_pool().run(work);
}

template <const OpBodies* kBodies, const CodeBodies* kCodes>
struct Ops {
  static void quantize(const QuantizeArgs& a, Stream) {
    if (a.out.block_n == 0) return encode_rows(*kCodes, a.x, a.out, 0, a.rows);
    split(a.rows, int64_t{a.rows} * a.k * 4, 1, [&](int32_t begin, int32_t end) {
      encode_rows(*kCodes, a.x + int64_t{begin} * a.k, a.out, begin, end);
    });
  }
  static void rmsnorm(const RmsNormArgs& a, Stream) {
    split(a.rows, int64_t{a.rows} * a.d, 1,
          [&](int32_t begin, int32_t end) { kBodies->rmsnorm(a, begin, end); });
  }
  static void rope_append(const RopeAppendArgs& a, Stream) {
    const int64_t width = int64_t{a.heads + 2 * a.kv_heads} * a.head_dim;
    split(a.tokens_count, a.tokens_count * width, 1,
          [&](int32_t begin, int32_t end) { kBodies->rope_append(a, begin, end); });
  }
  static void attention(const AttentionArgs& a, Stream) { attend_all(a, *kBodies); }
  static void silu_mul(const SiluMulArgs& a, Stream) {
    if (a.rows == 1) {
      return split(a.d, int64_t{a.d} * 2, 256,
                   [&](int32_t begin, int32_t end) { kBodies->silu_mul(a, 0, begin, end); });
    }
    split(a.rows, int64_t{a.rows} * a.d * 2, 1, [&](int32_t begin, int32_t end) {
      for (int32_t r = begin; r < end; ++r) kBodies->silu_mul(a, r, 0, a.d);
    });
  }
  static constexpr OpTable table() {
    return {.embed = embed,
            .quantize = quantize,
            .rmsnorm = rmsnorm,
            .rotary_table = rotary_table,
            .rope_append = rope_append,
            .attention = attention,
            .silu_mul = silu_mul,
            .gather_rows = gather_rows,
            .sample = sample,
            .advance = host_advance};
  }
};

}  // namespace

OpTable op_table(uint32_t isa) {
  if (isa & kIsaAvx512) return Ops<&kOpsAvx512, &kCodesAvx512>::table();
  if (isa & kIsaAvx2) return Ops<&kOpsAvx2, &kCodesAvx2>::table();
  return Ops<&kOpsBaseline, &kCodesBaseline>::table();
}

}  // namespace lowbit::cpu
