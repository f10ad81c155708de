// Small floats with scales of groups.
#include "cuda/matmul_launch.cuh"

namespace lowbit::cuda {

template <class W>
void launch(const LinearArgs& args, Stream stream) {
  launch_scaled_matmul<W, GroupScales<In::kE8M0, 2>, AnyScales>(args, stream);
}

void scaled_matmul_e4m3(const LinearArgs& args, Stream stream) { launch<E4M3>(args, stream); }
void scaled_matmul_e5m2(const LinearArgs& args, Stream stream) { launch<E5M2>(args, stream); }
void scaled_matmul_e3m2(const LinearArgs& args, Stream stream) { launch<E3M2>(args, stream); }
void scaled_matmul_e2m3(const LinearArgs& args, Stream stream) { launch<E2M3>(args, stream); }
void scaled_matmul_e2m1(const LinearArgs& args, Stream stream) {
  launch_scaled_matmul<E2M1, GroupScales<In::kE8M0, 2>, GroupScales<In::kE4M3, 4>, AnyScales>(
      args, stream);
}
void scaled_matmul_e3m1(const LinearArgs& args, Stream stream) {
  launch_scaled_matmul<E3M1, AnyScales>(args, stream);
}
void scaled_matmul_e2m2(const LinearArgs& args, Stream stream) {
  launch_scaled_matmul<E2M2, AnyScales>(args, stream);
}
void scaled_matmul_e3m0(const LinearArgs& args, Stream stream) {
  launch_scaled_matmul<E3M0, AnyScales>(args, stream);
}
void scaled_matmul_e2m0(const LinearArgs& args, Stream stream) {
  launch_scaled_matmul<E2M0, AnyScales>(args, stream);
}

}  // namespace lowbit::cuda
