#include "cuda/copy_maps.h"

#include <cuda_runtime.h>

#include "base/check.h"
#include "cuda/check.h"

namespace lowbit::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// The driver's; this program is not linked to it.
Encode encode() {
  static const Encode function = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result;
    LB_CUDA(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                             cudaEnableDefault, &result));
    LB_CHECK(found, "the CUDA driver has no cuTensorMapEncodeTiled; it is older than 12.0");
    return reinterpret_cast<Encode>(found);
  }();
  return function;
}

}  // namespace

CUtensorMap map_of_rows(const void* data, int row_bytes, int pitch, int rows) {
  const auto width = static_cast<cuuint64_t>(pitch), row = static_cast<cuuint64_t>(row_bytes);
  const cuuint64_t sizes[] = {width, cuuint64_t{1} << 31, row / width};
  const cuuint64_t strides[] = {row, width};  // of rows, of columns
  const cuuint32_t box[] = {static_cast<cuuint32_t>(pitch), static_cast<cuuint32_t>(rows),
                            static_cast<cuuint32_t>(row_bytes / pitch)};
  const cuuint32_t steps[] = {1, 1, 1};
  const CUtensorMapSwizzle swizzle = pitch == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                                     : pitch == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                                                   : CU_TENSOR_MAP_SWIZZLE_32B;
  CUtensorMap map;
  const CUresult result =
      encode()(&map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 3, const_cast<void*>(data), sizes, strides, box,
               steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  LB_CHECK(result == CUDA_SUCCESS, "no map of rows of {} bytes at {}: the driver's error {}",
           row_bytes, data, static_cast<int>(result));
  return map;
}

}  // namespace lowbit::cuda
