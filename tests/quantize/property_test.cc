// What must hold of every quantizer, in every format that it takes.
#include <gtest/gtest.h>

#include <limits>

#include "base/check.h"
#include "base/thread_pool.h"
#include "formats/encode.h"
#include "quantize/samples.h"

namespace lowbit {
namespace {

using namespace samples;

const std::vector<const char*> kFormatsTried = {
    "int8",       "int8-g64",   "int6",         "int4",  "int4-sym",   "int4-g32-asym",
    "int4-rzero", "int4-row",   "int3",         "int2",  "int2-sym",   "int1",
    "int1-rzero", "ternary",    "ternary5-g64", "fp8",   "fp8-tensor", "fp6",
    "fp4-g32",    "mxfp8",      "mxfp4",        "nvfp4", "q8_0",       "q4_0",
    "q4_1",       "int4-sym-24"};

constexpr int32_t kSteps = 20;  // of quantizers that take some

// Calls body(quantizer, format, name) for each pair that goes together.
template <class Body>
void for_all(int64_t n, int64_t k, const Body& body) {
  for (const Quantizer* each : our_quantizers()) {
    const Quantizer& quantizer = *each;
    for (const char* text : kFormatsTried) {
      const Format f = parse_format(text);
      if (!cannot_take(f, n, k).empty()) continue;
      if (quantizer.refuses && !quantizer.refuses(f).empty()) continue;
      body(quantizer, f, fmt::format("{} by {}", text, quantizer.name));
    }
  }
}

TEST(EveryQuantizer, HardBlocksStayFinite) {
  const float huge = 3e38f, tiny = std::numeric_limits<float>::denorm_min();
  std::vector<float> opposite(64, 1.0f), step(64, 0.0f);
  opposite[3] = huge;
  opposite[9] = -huge;
  step[5] = 1e-20f;
  const std::vector<std::vector<float>> blocks = {std::vector<float>(64, 0.0f),
                                                  std::vector<float>(64, 1.5f),
                                                  std::vector<float>(64, tiny),
                                                  std::vector<float>(64, -1e30f),
                                                  opposite,
                                                  step};
  const InputStats stats = stats_of(correlated_inputs(100, 64, 41), 100, 64);
  for (const std::vector<float>& block : blocks) {
    for_all(1, 64, [&](const Quantizer& quantizer, const Format& f, const std::string& what) {
      try {
        for (const float value :
             decode_rows(quantizer.run(tensor_of(block, 1, 64), f, {"w", &stats, kSteps}))) {
          ASSERT_TRUE(std::isfinite(value)) << what << ", block of " << block[0];
        }
      } catch (const Error& error) {  // beyond the scales of f16, say
        EXPECT_NE(std::string(error.what()).find("row 0"), std::string::npos) << what;
      }
    });
  }
}

TEST(EveryQuantizer, ZerosStayZero) {
  const InputStats stats = stats_of(correlated_inputs(100, 64, 42), 100, 64);
  const std::vector<float> zeros(2 * 64);
  for_all(2, 64, [&](const Quantizer& quantizer, const Format& f, const std::string& what) {
    EXPECT_EQ(decode_rows(quantizer.run(tensor_of(zeros, 2, 64), f, {"w", &stats, kSteps})), zeros)
        << what;
  });
}

TEST(EveryQuantizer, TakesALastGroupThatIsShort) {
  const int64_t n = 5, k = 200;
  const std::vector<float> w = gaussian(n * k, 0.02f, 43);
  const InputStats stats = identity_stats(k);
  for_all(n, k, [&](const Quantizer& quantizer, const Format& f, const std::string& what) {
    const std::vector<float> back =
        decode_rows(quantizer.run(tensor_of(w, n, k), f, {"w", &stats, kSteps}));
    // Signs on a min-max grid are worse than nothing; two kept of four are 84 % of the energy.
    EXPECT_GT(sqnr_db(w, back), f.bits == 1 ? -4.0 : f.bits == 2 ? 2.0 : 7.0) << what;
  });
}

TEST(EveryQuantizer, NanIsReportedByTensorAndRow) {
  std::vector<float> w = gaussian(40 * 64, 1, 45);
  w[33 * 64 + 5] = std::numeric_limits<float>::quiet_NaN();
  const InputStats stats = stats_of(correlated_inputs(100, 64, 46), 100, 64);
  for_all(40, 64, [&](const Quantizer& quantizer, const Format& f, const std::string& what) {
    try {
      quantizer.run(tensor_of(w, 40, 64), f, {"up_proj.weight", &stats});
      ADD_FAILURE() << what;
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("up_proj.weight"), std::string::npos) << what;
      EXPECT_NE(message.find("row 33"), std::string::npos) << what << ": " << message;
    }
  });
}

TEST(EveryQuantizer, ThreadsChangeNothing) {
  const int64_t n = 77, k = 320;
  const QTensor source = tensor_of(student_t5(n * k, 0.02f, 47), n, k);
  const InputStats stats = stats_of(correlated_inputs(400, k, 48), 400, k);
  const int before = thread_pool().workers();
  for_all(n, k, [&](const Quantizer& quantizer, const Format& f, const std::string& what) {
    set_threads(1);
    const QTensor one = quantizer.run(source, f, {"w", &stats, kSteps});
    set_threads(5);
    EXPECT_TRUE(same_planes(one, quantizer.run(source, f, {"w", &stats, kSteps}))) << what;
  });
  set_threads(before);
}

TEST(EveryQuantizer, FormatsWithoutScalesAreJustConverted) {
  const QTensor source = tensor_of(gaussian(2 * 64, 1, 49), 2, 64);
  for (const Quantizer* each : our_quantizers()) {
    const Quantizer& quantizer = *each;
    for (const char* text : {"f32", "bf16", "f16"}) {
      EXPECT_TRUE(same_planes(quantizer.run(source, parse_format(text), {"w"}),
                              quantize_rtn(source, parse_format(text), {"w"})))
          << quantizer.name;
    }
  }
}

TEST(EveryQuantizer, NumbersOnTheGridStayThere) {
  const int64_t n = 8, k = 256;
  const std::vector<float> w = gaussian(n * k, 0.02f, 50);
  const InputStats stats = identity_stats(k);
  for (const char* text : {"int8", "q8_0", "mxfp4", "ternary-g64"}) {
    const Format f = parse_format(text);
    const std::vector<float> once = decode_rows(quantize_rtn(tensor_of(w, n, k), f, {"w"}));
    for (const Quantizer* each : our_quantizers()) {
      const Quantizer& quantizer = *each;
      if (quantizer.name.starts_with("hqq")) continue;
      if (quantizer.refuses && !quantizer.refuses(f).empty()) continue;
      EXPECT_GT(sqnr_db(once, decode_rows(
                                  quantizer.run(tensor_of(once, n, k), f, {"w", &stats, kSteps}))),
                60)
          << text << " by " << quantizer.name;
    }
  }
}

// More rows than are read at a time, and one row; a scale that is a mean, and numbers of one size.
TEST(RoundToNearest, OneScaleForATensorIsThatOfOneBlock) {
  for (const char* text : {"int8-tensor", "int8-tensor-asym", "fp8-tensor", "ternary", "ternary5",
                           "fp6-tensor", "int4-tensor-rzero"}) {
    const Format f = parse_format(text);
    for (const auto& [n, k] : {std::pair{1, 7}, {37, 250}, {2100, 2048}}) {
      std::vector<float> w = gaussian(n * k, 0.02f, 47);
      for (const bool same_size : {false, true}) {
        if (same_size) {
          for (float& value : w) value = value > 0 ? 0.5f : value < -0.02f ? -0.5f : 0.0f;
        }
        const QTensorBuilder want = build_qtensor(f, n, k);
        ASSERT_EQ(encode_rows(w, 0, n, want), -1) << text;
        const QTensor got = quantize_rtn(tensor_of(w, n, k), f, {"w"});
        for (const Plane plane : kPlanes) {
          EXPECT_TRUE(std::ranges::equal(got.plane(plane).data, want.tensor.plane(plane).data))
              << text << " " << n << " x " << k << ": " << name(plane);
        }
      }
    }
  }
}

TEST(RoundToNearest, NamesTheRowOfATensorThatIsNotFinite) {
  std::vector<float> w(30 * 16, 1.0f);
  w[17 * 16 + 3] = std::numeric_limits<float>::quiet_NaN();
  w[20 * 16] = std::numeric_limits<float>::infinity();
  try {
    quantize_rtn(tensor_of(w, 30, 16), parse_format("int8-tensor"), {"w"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("row 17 "), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lowbit
