// One plain struct per op: everything a kernel may know. All pointers are device pointers; matrices
// are row-major; T is the number of tokens in the step. Includes nothing that defines a function,
// so that a translation unit compiled for AVX-512 or by nvcc can see it safely.
#pragma once

#include <stdint.h>

#include "formats/ids.h"

namespace lowbit {

using Stream = void*;  // a CUDA stream; null on the host backends

// Numbers that a step makes, [rows, k]: an activation in the format that its consumers asked for,
// or the keys or values of a cache. Formats without a scale have any row stride; the others are the
// canonical planes (formats/qtensor.h) of a tensor [rows, ld] with ld = k, and a row that had a NaN
// or an infinity decodes to NaN throughout.
struct Act {
  void* data;    // codes, row stride `ld` elements
  void* scales;  // null for formats without
  int64_t ld;
  FormatId format;
  // Of formats with scales only; the defaults serve all others.
  void* zeros = nullptr;
  void* outer = nullptr;  // Outer::kRow: [rows] f32
  int32_t block_n = 1;    // rows per scale: 1, or 0 for all of the call
  int32_t block_k = 0;    // codes per scale along k, 0 for the whole row
  Code code = Code::kF32;
  uint8_t bits = 32;
  Scale scale = Scale::kNone;
  Zero zero = Zero::kNone;
  ScaleRule rule = ScaleRule::kNone;
  Outer outer_kind = Outer::kNone;
};

// A weight matrix [n, k] in the layout that the kernel's registry row names.
struct WeightView {
  const void* codes;
  const void* scales;  // [n_blocks, k_blocks] in the canonical layout
  const void* zeros;
  const void* meta;  // 2:4: positions of the kept codes, canonical layout
  const void* outer;
  int64_t row_bytes;  // of the codes of one row, canonical layout
  int32_t k_blocks;   // blocks along k
  int32_t block_n;    // codes per scale along n: 1, or 0 for the whole extent
  int32_t block_k;    // codes per scale along k, 0 for the whole extent
  FormatId format;
  Code code;
  uint8_t bits;
  Scale scale;
  Zero zero;
  Outer outer_kind;
  bool sparse24;
  // Packed layouts only: rows 16 i + 0..7 are rows 8 i + 0..7 of the first of two stacked matrices,
  // the next eight those of the second, so that one tile holds a gate and its up.
  bool paired = false;
};

enum class Epilogue : uint8_t {
  kStore,    // y = v
  kAdd,      // y += v
  kSiluMul,  // y[m, n / 2] = silu(v[:, i]) v[:, n / 2 + i]; kernels whose row says fused_silu
};

// y[m, n] (+)= x[m, k] * w[n, k]^T + bias[n]
struct LinearArgs {
  int32_t m, n, k;
  Act x;
  WeightView w;
  const float* bias;  // [n] or null
  float* y;           // [m, n], row stride ldy
  int64_t ldy;
  Epilogue epilogue;
  void* workspace;  // as many bytes as the kernel's row asked for
  // Kernels whose row says fused_norm: x is f32 and is normalised first, as RmsNormArgs says.
  const float* norm_weight = nullptr;  // [k]
  float norm_eps = 0;
};

// out[t, :] = table[tokens[t], :]
struct EmbedArgs {
  int32_t tokens_count, d;
  const int32_t* tokens;  // [T]
  WeightView table;       // [vocab, d], canonical layout
  float* out;             // [T, d]
};

// out = x, rounded to a format with scales, which are chosen from the numbers (formats/encode.h):
// per row or block of a row, so that a token does not depend on the others, or (block_n = 0) one
// for all rows of the call, so that it does.
struct QuantizeArgs {
  int32_t rows, k;
  const float* x;  // [rows, k]
  Act out;         // [rows, k]
};

// out[t, :] = x[t, :] / sqrt(mean(x[t, :]^2) + eps) * weight
struct RmsNormArgs {
  int32_t rows, d;
  const float* x;       // [rows, d]
  const float* weight;  // [d]
  float eps;
  Act out;  // [rows, d], no scales
};

// cos_sin[t, 0, i] = cos(pos[t] * inv_freq[i]), cos_sin[t, 1, i] = sin(...); f32 arithmetic, as in
// transformers' LlamaRotaryEmbedding
struct RotaryTableArgs {
  int32_t tokens_count, half;  // half = head_dim / 2
  const int32_t* pos;          // [T]
  const float* inv_freq;       // [half]
  float* cos_sin;              // [T, 2, half]
};

// One layer's key/value cache. Position p of sequence s lives in page
// page_table[s * max_pages + p / page_tokens]; a row of K (and of V) holds one head of one
// position, and a page is rows [kv_heads, page_tokens].
struct KvView {
  Act k, v;                   // [pages * kv_heads * page_tokens, head_dim], of one format
  const int32_t* page_table;  // [sequences, max_pages]
  int32_t max_pages, page_tokens;
};

// Rotates q and k by halves (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin); q in place, k and v go
// to the cache at (slot[t], pos[t]).
struct RopeAppendArgs {
  int32_t tokens_count, heads, kv_heads, head_dim;
  float* qkv;            // [T, (heads + 2 kv_heads) * head_dim]
  const float* cos_sin;  // [T, 2, head_dim / 2]
  const int32_t* pos;    // [T]
  const int32_t* slot;   // [T] sequence of each token
  KvView kv;
};

// Of a token alone: so many positions are read by other kernels than more are.
inline constexpr int32_t kShortContext = 1024;

// out[t, h, :] = softmax(scale * q[t, h, :] . K[0..pos[t]]) V[0..pos[t]], K and V of sequence
// slot[t] and kv head h / (heads / kv_heads)
struct AttentionArgs {
  int32_t tokens_count, heads, kv_heads, head_dim;
  const float* qkv;     // [T, (heads + 2 kv_heads) * head_dim]; only q is read
  const int32_t* pos;   // [T]
  const int32_t* slot;  // [T]
  KvView kv;
  float scale;          // 1 / sqrt(head_dim)
  Act out;              // [T, heads * head_dim], no scales
  int64_t context = 0;  // sum of pos[t] + 1, for cost() on the host; kernels must not read it
  // That the tokens belong to; 0: unknown. It chooses the kernel, no more.
  int32_t sequences = 0;
  // No token may see more positions; 0: unknown. It chooses the kernel, and bounds what it reads.
  int32_t longest = 0;
};

// rope_append, then attention, where every token is the only one of its sequence; what of qkv is
// rotated afterwards is not said.
struct RopeAttentionArgs {
  RopeAppendArgs rope;
  AttentionArgs attention;
};

// out[t, i] = silu(gate_up[t, i]) * gate_up[t, d + i], silu(x) = x / (1 + exp(-x))
struct SiluMulArgs {
  int32_t rows, d;
  const float* gate_up;  // [rows, 2 d]
  Act out;               // [rows, d], no scales
};

// out[i, :] = x[row[i], :]
struct GatherRowsArgs {
  int32_t rows, d;
  const float* x;      // [T, d]
  const int32_t* row;  // [rows]
  float* out;          // [rows, d]
};

struct SampleParams {
  float temperature;  // 0: greedy
  int32_t top_k;      // 0: off
  float top_p;        // 1: off
  uint64_t seed;
};

// out[i] = a token drawn from softmax(logits[i] / temperature) after top-k, then top-p; greedy
// takes the lowest id among equals. A NaN logit counts as -inf. The draw depends on (seed,
// position) only.
struct SampleArgs {
  int32_t rows, vocab;
  const float* logits;         // [rows, vocab]
  const uint32_t* mask;        // [rows, (vocab + 31) / 32] bit set = allowed; or null
  const SampleParams* params;  // [rows]
  const int32_t* pos;          // [rows] position of the token being drawn
  int32_t* out;                // [rows]
};

// What follows a draw of one token for each of `rows` sequences: the drawn tokens are what the next
// step is fed, at the positions they were drawn for.
struct AdvanceArgs {
  int32_t rows, kept;
  const int32_t* tokens;  // [rows] just drawn
  int32_t* pos;           // [rows] becomes next[i]
  int32_t* next;          // [rows] position of the token being drawn; becomes next[i] + 1
  int32_t* drawn;         // [kept, rows], read by the host: row next[i] % kept gets tokens[i]
};

}  // namespace lowbit
