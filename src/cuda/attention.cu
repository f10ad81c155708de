// Which kernels make an attention, and with what grid.
#include "cuda/attention.cuh"
#include "cuda/attention_codes.cuh"
#include "cuda/attention_prompt.h"
#include "cuda/check.h"
#include "cuda/limits.h"
#include "cuda/ops.h"
#include "cuda/workspace.h"

namespace lowbit::cuda {
namespace {

constexpr int32_t ceil_div(int32_t a, int32_t b) { return (a + b - 1) / b; }

// CTAs for each token and chunk: one round of all multiprocessors, if it comes near to filling
// them.
int32_t ctas_of(int32_t items, int32_t max_splits) {
  const int32_t fit = kMultiprocessors / items;
  const bool full = fit * items * 10 >= kMultiprocessors * 9;
  const int32_t wanted = items >= kMultiprocessors ? 1
                         : full                    ? fit
                                                   : ceil_div(2 * kMultiprocessors, items);
  return wanted < max_splits ? wanted : max_splits;
}

// Whether a kernel on tensor cores reads the cache. Their rings are as large as Hopper's shared
// memory (attention_decode.cuh); a GPU with less has the kernel for any cache.
bool takes_mma(const AttentionArgs& a) {
  if (shared_memory_bytes() < 227 * 1024) return false;
  const int32_t d = a.head_dim, page = a.kv.page_tokens;
  const bool pages = page % kTileTokens == 0 && (page & (page - 1)) == 0;
  return (d == 64 || d == 128) && pages &&
         (PlainCache<false>::takes(a.kv.k, d) || PlainCache<true>::takes(a.kv.k, d) ||
          ByteCache<Int8Byte>::takes(a.kv.k, d) || ByteCache<E4M3Byte>::takes(a.kv.k, d) ||
          Int4Cache::takes(a.kv.k, d));
}

// The arguments of all launches; the grid's y is kv_heads * chunks.
DecodeArgs decode_args(const AttentionArgs& a, bool mma) {
  const int32_t group = a.heads / a.kv_heads;
  DecodeArgs args{};
  args.a = a;
  args.chunks = ceil_div(group, mma ? 2 * kMergedHeads : kMergedHeads);
  args.chunk_heads = ceil_div(group, args.chunks);
  const int32_t fill = kMultiprocessors / (a.kv_heads * args.chunks);
  args.max_splits = fill < 1 ? 1 : fill > kMaxSplits ? kMaxSplits : fill;
  return args;
}

void decode(DecodeArgs args, bool mma, cudaStream_t stream) {
  const AttentionArgs& a = args.a;
  const int32_t y = a.kv_heads * args.chunks;
  const size_t floats = kTickets + size_t{kTokensAtOnce} * y * args.max_splits * args.chunk_heads *
                                       static_cast<size_t>(a.head_dim + 2);
  float* workspace = attention_workspace(floats * sizeof(float));
  args.tickets = reinterpret_cast<unsigned*>(workspace);
  args.partial = workspace + kTickets;
  for (int32_t first = 0; first < a.tokens_count; first += kTokensAtOnce) {
    const int32_t left = a.tokens_count - first;
    const int32_t tokens = left < kTokensAtOnce ? left : kTokensAtOnce;
    args.first_token = first;
    const int32_t units = ceil_div(a.kv.max_pages * a.kv.page_tokens, kUnitTokens);
    const int32_t longest = units < args.max_splits ? units : args.max_splits;
    const dim3 grid(static_cast<unsigned>(ctas_of(tokens * y, longest)), static_cast<unsigned>(y),
                    static_cast<unsigned>(tokens));
    if (!mma) {
      launch_decode_any(args, grid, stream);
    } else if (!launch_decode_plain(args, grid, stream) &&
               !launch_decode_bytes(args, grid, stream)) {
      launch_decode_int4(args, grid, stream);
    }
  }
}

}  // namespace

void attention(const AttentionArgs& a, Stream stream) {
  if (a.tokens_count == 0 || launch_prompt(a, static_cast<cudaStream_t>(stream))) return;
  const bool mma = takes_mma(a);
  decode(decode_args(a, mma), mma, static_cast<cudaStream_t>(stream));
}

void rope_attention(const RopeAppendArgs& rope, const AttentionArgs& a, Stream stream) {
  if (a.tokens_count == 0) return;
  const bool mma = takes_mma(a);
  DecodeArgs args = decode_args(a, mma);
  if (args.chunks >
      1) {  // CTAs that share a row of the cache: only one kernel later is it complete
    rope_append(rope, stream);
    attention(a, stream);
    return;
  }
  args.cos_sin = rope.cos_sin;
  decode(args, mma, static_cast<cudaStream_t>(stream));
}

}  // namespace lowbit::cuda
