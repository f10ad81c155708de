// The attention of one token as a launch of its own, and which attentions are such.
#include "cuda/attention_codes.cuh"
#include "cuda/attention_token.cuh"
#include "cuda/chain.h"
#include "cuda/check.h"

namespace lowbit::cuda {
namespace {

template <int kDim>
__global__ void __launch_bounds__(kTileThreads, 1)
    attention_token_kernel(const __grid_constant__ TokenAttention op) {
  __shared__ TokenPages pages;
  __shared__ TokenMemory<kDim> memory;
  pages.find(op);
  __syncthreads();
  attend_items<kDim>(op, pages, nullptr, nullptr, memory);
}

template <int kDim>
void launch(const TokenAttention& op, cudaStream_t stream) {
  const auto items = static_cast<unsigned>(op.kv_heads * (kDim / kItemColumns));
  launch_pdl(attention_token_kernel<kDim>, dim3(items), dim3(kTileThreads), 0, stream, op);
}

bool takes(const RopeAppendArgs& rope, const AttentionArgs& a) {
  const auto rows = [&](const Act& cache) {
    return PlainCache<false>::takes(cache, a.head_dim) && cache.ld == a.head_dim;
  };
  const auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  const int32_t page = a.kv.page_tokens;
  return a.tokens_count == 1 && a.longest > 0 && a.longest <= kShortContext &&
         (a.head_dim == 64 || a.head_dim == 128) && a.heads <= kTokenHeads * a.kv_heads &&
         a.heads % a.kv_heads == 0 && page % kTileTokens == 0 && (page & (page - 1)) == 0 &&
         rows(a.kv.k) && rows(a.kv.v) && aligned(a.qkv) && aligned(rope.cos_sin) &&
         a.out.format == FormatId::kF32;
}

}  // namespace

bool attend_token(const RopeAppendArgs& rope, const AttentionArgs& a, Stream stream) {
  if (!takes(rope, a)) return false;
  int32_t log_page = 0;
  while (1 << log_page < a.kv.page_tokens) ++log_page;
  const TokenAttention op = {a.qkv,
                             rope.cos_sin,
                             static_cast<uint16_t*>(a.kv.k.data),
                             static_cast<uint16_t*>(a.kv.v.data),
                             static_cast<float*>(a.out.data),
                             a.pos,
                             a.slot,
                             a.kv.page_table,
                             a.heads,
                             a.kv_heads,
                             a.heads / a.kv_heads,
                             a.head_dim,
                             a.kv.max_pages,
                             log_page,
                             a.scale * kLog2E};
  if (add_to_chain(op)) return true;
  end_chain(stream);
  a.head_dim == 64 ? launch<64>(op, static_cast<cudaStream_t>(stream))
                   : launch<128>(op, static_cast<cudaStream_t>(stream));
  return true;
}

}  // namespace lowbit::cuda
