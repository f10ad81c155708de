#include "cuda/limits.h"

#include "base/check.h"
#include "cuda/runtime.h"

namespace lowbit::cuda {
namespace {

int of_device(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  LB_CUDA(cudaGetDevice(&device));
  LB_CUDA(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

}  // namespace

int sm_count() {
  static const int count = of_device(cudaDevAttrMultiProcessorCount);
  return count;
}

int shared_memory_bytes() {
  static const int bytes = of_device(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  return bytes;
}

bool has_clusters() {
  static const bool has = of_device(cudaDevAttrComputeCapabilityMajor) >= 9;
  return has;
}

void check_ring(int slots, int slot_bytes) {
  LB_CHECK(slots > 0, "{} bytes of shared memory hold no ring of {} bytes for each warp",
           shared_memory_bytes(), slot_bytes);
}

LinearArgs rows_of(const LinearArgs& args, int32_t first, int32_t count) {
  LinearArgs l = args;
  l.m = count;
  l.y += first * args.ldy;
  if (first == 0) return l;
  const auto skip = [&](void* plane, int64_t bytes) {
    return static_cast<void*>(static_cast<std::byte*>(plane) + bytes);
  };
  const Act& x = args.x;
  if (x.scale == Scale::kNone) {
    l.x.data = skip(x.data, first * x.ld * (x.format == FormatId::kF32 ? 4 : 2));
    return l;
  }
  const int64_t blocks = x.block_k == 0 ? 1 : (x.ld + x.block_k - 1) / x.block_k;
  const int64_t scale = x.scale == Scale::kF32                              ? 4
                        : x.scale == Scale::kF16 || x.scale == Scale::kBF16 ? 2
                                                                            : 1;
  l.x.data = skip(x.data, first * ((x.ld * x.bits + 7) / 8));
  if (x.block_n != 0) l.x.scales = skip(x.scales, first * blocks * scale);
  if (x.zeros && x.block_n != 0) {
    l.x.zeros = skip(x.zeros, first * blocks * (x.zero == Zero::kInt ? 1 : scale));
  }
  if (x.outer_kind == Outer::kRow) l.x.outer = skip(x.outer, first * 4);
  return l;
}

}  // namespace lowbit::cuda
