// One launch function for each decoder of cuda/decode.cuh and decode_fixed.cuh; the registry rows
// are in tiles.cc.
#pragma once

#include "ops/args.h"

namespace lowbit::cuda {

void linear_sign(const LinearArgs&, Stream);
void linear_int1(const LinearArgs&, Stream);
void linear_int2(const LinearArgs&, Stream);
void linear_int3(const LinearArgs&, Stream);
void linear_int4(const LinearArgs&, Stream);
void linear_int5(const LinearArgs&, Stream);
void linear_int6(const LinearArgs&, Stream);
void linear_int7(const LinearArgs&, Stream);
void linear_int8(const LinearArgs&, Stream);
void linear_e4m3(const LinearArgs&, Stream);
void linear_e5m2(const LinearArgs&, Stream);
void linear_e3m2(const LinearArgs&, Stream);
void linear_e2m3(const LinearArgs&, Stream);
void linear_e3m1(const LinearArgs&, Stream);
void linear_e2m2(const LinearArgs&, Stream);
void linear_e3m0(const LinearArgs&, Stream);
void linear_e2m1(const LinearArgs&, Stream);
void linear_e2m0(const LinearArgs&, Stream);
void linear_f16(const LinearArgs&, Stream);
void linear_bf16(const LinearArgs&, Stream);

void fixed_sign(const LinearArgs&, Stream);
void fixed_int1(const LinearArgs&, Stream);
void fixed_int2(const LinearArgs&, Stream);
void fixed_int3(const LinearArgs&, Stream);
void fixed_int4(const LinearArgs&, Stream);
void fixed_int5(const LinearArgs&, Stream);
void fixed_int6(const LinearArgs&, Stream);
void fixed_int7(const LinearArgs&, Stream);
void fixed_int8(const LinearArgs&, Stream);
void fixed_int4_24(const LinearArgs&, Stream);
void fixed_int8_24(const LinearArgs&, Stream);
void fixed_e2m1(const LinearArgs&, Stream);

}  // namespace lowbit::cuda
