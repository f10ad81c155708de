// The ops of ops/backend.h's table on a GPU. All enqueue on the stream and return; sums are taken
// in an order that the shapes alone decide, so a run repeats bit for bit.
#pragma once

#include "ops/args.h"

namespace lowbit::cuda {

void embed(const EmbedArgs& args, Stream stream);
void quantize(const QuantizeArgs& args, Stream stream);
void rmsnorm(const RmsNormArgs& args, Stream stream);
void rotary_table(const RotaryTableArgs& args, Stream stream);
void rope_append(const RopeAppendArgs& args, Stream stream);
void attention(const AttentionArgs& args, Stream stream);
// rope_append, then attention, the same bits in one launch; q stays as it was in qkv. For steps in
// which every token is the only one of its sequence. (The backend asks attend_token() of
// attention_token.h first, which has other bits.)
void rope_attention(const RopeAppendArgs& rope, const AttentionArgs& args, Stream stream);
void silu_mul(const SiluMulArgs& args, Stream stream);
void gather_rows(const GatherRowsArgs& args, Stream stream);
void sample(const SampleArgs& args, Stream stream);
void advance(const AdvanceArgs& args, Stream stream);

}  // namespace lowbit::cuda
