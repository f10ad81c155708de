// One launch function for each decoder of cuda/decode.cuh, of more than a few tokens (batch.cuh,
// matmul.cuh). matmul_* are for codes whose scales are of whole rows, scaled_matmul_* for others;
// the registry rows are in tiles.cc.
#pragma once

#include "ops/args.h"

namespace lowbit::cuda {

void matmul_f16(const LinearArgs&, Stream);
void matmul_bf16(const LinearArgs&, Stream);
void matmul_sign(const LinearArgs&, Stream);
void matmul_int1(const LinearArgs&, Stream);
void matmul_int2(const LinearArgs&, Stream);
void matmul_int3(const LinearArgs&, Stream);
void matmul_int4(const LinearArgs&, Stream);
void matmul_int5(const LinearArgs&, Stream);
void matmul_int6(const LinearArgs&, Stream);
void matmul_int7(const LinearArgs&, Stream);
void matmul_int8(const LinearArgs&, Stream);
void matmul_int4_24(const LinearArgs&, Stream);
void matmul_int8_24(const LinearArgs&, Stream);
void matmul_e4m3(const LinearArgs&, Stream);
void matmul_e5m2(const LinearArgs&, Stream);
void matmul_e3m2(const LinearArgs&, Stream);
void matmul_e2m3(const LinearArgs&, Stream);
void matmul_e2m1(const LinearArgs&, Stream);
void matmul_e3m1(const LinearArgs&, Stream);
void matmul_e2m2(const LinearArgs&, Stream);
void matmul_e3m0(const LinearArgs&, Stream);
void matmul_e2m0(const LinearArgs&, Stream);

void scaled_matmul_sign(const LinearArgs&, Stream);
void scaled_matmul_int1(const LinearArgs&, Stream);
void scaled_matmul_int2(const LinearArgs&, Stream);
void scaled_matmul_int3(const LinearArgs&, Stream);
void scaled_matmul_int4(const LinearArgs&, Stream);
void scaled_matmul_int5(const LinearArgs&, Stream);
void scaled_matmul_int6(const LinearArgs&, Stream);
void scaled_matmul_int7(const LinearArgs&, Stream);
void scaled_matmul_int8(const LinearArgs&, Stream);
void scaled_matmul_int4_24(const LinearArgs&, Stream);
void scaled_matmul_int8_24(const LinearArgs&, Stream);
void scaled_matmul_e4m3(const LinearArgs&, Stream);
void scaled_matmul_e5m2(const LinearArgs&, Stream);
void scaled_matmul_e3m2(const LinearArgs&, Stream);
void scaled_matmul_e2m3(const LinearArgs&, Stream);
void scaled_matmul_e2m1(const LinearArgs&, Stream);
void scaled_matmul_e3m1(const LinearArgs&, Stream);
void scaled_matmul_e2m2(const LinearArgs&, Stream);
void scaled_matmul_e3m0(const LinearArgs&, Stream);
void scaled_matmul_e2m0(const LinearArgs&, Stream);

}  // namespace lowbit::cuda
