// The ops of the reference backend; definitions of what they compute are in ops/args.h.
#pragma once

#include "ops/args.h"

namespace lowbit::ref {

void embed(const EmbedArgs& a, Stream);
void quantize(const QuantizeArgs& a, Stream);
void rmsnorm(const RmsNormArgs& a, Stream);
void rotary_table(const RotaryTableArgs& a, Stream);
void rope_append(const RopeAppendArgs& a, Stream);
void attention(const AttentionArgs& a, Stream);
void silu_mul(const SiluMulArgs& a, Stream);
void gather_rows(const GatherRowsArgs& a, Stream);
void sample(const SampleArgs& a, Stream);
void linear(const LinearArgs& a, Stream);

}  // namespace lowbit::ref
