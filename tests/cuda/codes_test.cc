// What kernels read of any format is what the codec reads. On the host, so that it runs everywhere;
// ops_test.cc has a GPU read the same.
#include "cuda/codes.cuh"

#include "bench/linear_cases.h"
#include "kernels/linear_setup.h"

namespace lowbit {
namespace {

TEST(CudaCodes, ReadWhatTheCodecReads) {
  constexpr int32_t n = 5;
  constexpr int32_t k = 512;
  for (const Format& format : every_weight_format()) {
    SCOPED_TRACE(name(format));
    const QTensor w = test::random_weights(format, n, k, 11);
    const PlanesView planes = cuda::view_of(view(w), k);
    std::vector<double> row(k);
    for (int32_t r = 0; r < n; ++r) {
      decode_row(w, r, row.data());
      for (int32_t i = 0; i < k; ++i) {
        ASSERT_EQ(load_number(planes, r, i), row[static_cast<size_t>(i)]) << r << ", " << i;
      }
    }
  }
}

TEST(CudaCodes, ReadActivationsAndCaches) {
  constexpr int64_t rows = 4;
  for (const char* text :
       {"f32", "f16", "bf16", "int8", "int8-tensor", "int4", "int4-g8-sym", "int4-g32-asym",
        "int3-g32-rzero", "fp8", "fp8-e5m2", "mxfp8", "mxfp6", "mxfp4", "nvfp4", "ternary5-row"}) {
    for (const int64_t k : {8, 40, 121}) {
      SCOPED_TRACE(testing::Message() << text << ", k " << k);
      Format format = parse_format(text);
      if (format.outer == Outer::kTensor) format.outer = Outer::kRow;
      const QTensorBuilder memory = build_qtensor(format, rows, k);
      Act act = act_of(format, k);
      act.data = memory.codes;
      act.scales = memory.scales;
      act.zeros = memory.zeros;
      act.outer = memory.outer;
      store_rows(act, 0, rows, k, test::gaussian(rows * k, 3, 0).data());
      std::vector<float> row(static_cast<size_t>(k));
      for (int64_t r = 0; r < rows; ++r) {
        load_row(act, r, k, row.data());
        for (int32_t i = 0; i < k; ++i) {
          ASSERT_EQ(cuda::load_f32(cuda::view_of(act), r, i), row[static_cast<size_t>(i)])
              << r << ", " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace lowbit
