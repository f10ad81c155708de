// Signal-to-noise ratios of round to nearest beside those of another implementation
// (tests/golden/formats/sqnr.json, made by scripts/golden/sqnr.py) and of other tools: the same
// distributions, other samples.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/check.h"
#include "quantize/samples.h"

namespace lowbit {
namespace {

using nlohmann::json;

constexpr int64_t kRows = 256, kColumns = 4096;

json golden() {
  std::ifstream file(std::string(LB_SOURCE_DIR) + "/tests/golden/formats/sqnr.json");
  return json::parse(file);
}

struct Sample {
  std::vector<float> w;
  QTensor tensor;
};

Sample make_sample(const std::string& distribution, const json& generator, uint64_t seed) {
  const auto sigma = generator.at("sigma").get<float>();
  const int64_t count = kRows * kColumns;
  Sample sample;
  if (distribution == "student_t5") {
    sample.w = samples::student_t5(count, sigma, seed);
  } else {
    sample.w = samples::gaussian(count, sigma, seed);
  }
  if (distribution == "outliers") {
    Rng rng(seed, 1);
    for (float& w : sample.w) {
      if (rng.next_uniform() < generator.at("outlier_share").get<float>()) {
        w *= generator.at("outlier_factor").get<float>();
      }
    }
  }
  sample.tensor = samples::tensor_of(sample.w, kRows, kColumns);
  return sample;
}

double sqnr(const Sample& sample, const std::string& format, const char* quantizer = "rtn") {
  const QTensor q = find_quantizer(quantizer).run(sample.tensor, parse_format(format), {"w"});
  double signal = 0, noise = 0;
  std::vector<float> row(static_cast<size_t>(kColumns));
  for (int64_t n = 0; n < kRows; ++n) {
    decode_row(q, n, row.data());
    for (int64_t i = 0; i < kColumns; ++i) {
      const double w = sample.w[n * kColumns + i];
      signal += w * w;
      noise += (w - row[i]) * (w - row[i]);
    }
  }
  return 10 * std::log10(signal / noise);
}

// What the seed changes, in dB: the largest difference from the golden over the seeds 1 to 3 was
// 0.04, 0.07 and 0.27 for scales of groups and 0.10, 0.31 and 0.30 for those of rows, which hang on
// one extreme of 4096 numbers.
struct Distribution {
  const char* name;
  double groups, rows;
};
constexpr Distribution kDistributions[] = {
    {"gaussian", 0.05, 0.11}, {"student_t5", 0.08, 0.32}, {"outliers", 0.28, 0.31}};
constexpr uint64_t kSeed = 1;

// What the tools that define the formats were measured to reach, in dB; 0 where nobody measured.
// Measured too, but not here: NVFP4 without its outer scale (17.7 and 17.4), which is no format;
// int8 by torchao 0.18.0 on f32 weights (41.2 and 33.8), which it holds in bf16 here; torchao's
// hqq_scale_only for int4-g32-sym (21.0 and 19.0), which mse searches more finely (21.3).
struct Measured {
  const char* format;
  double gaussian, t5;
  const char* quantizer = "rtn";
};
constexpr Measured kMeasuredInt8 = {"int8", 41.3, 34.0};
constexpr Measured kMeasured[] = {
    {"bf16", 55.6, 0},
    kMeasuredInt8,
    {"int8", 41.1, 33.7, "torchao-0.18.0"},
    {"int8-sbf16", 40.5, 33.6, "torchao-0.9.0"},
    {"int8-rzero-sbf16", 39.5, 33.3, "hqq-0.2.8"},
    {"int8-rzero", 41.8, 35.5, "hqq-0.2.8"},
    {"fp8", 31.6, 31.6},
    {"fp8-tensor", 31.6, 31.6},
    {"fp6", 25.6, 0},
    {"int4-g32", 22.1, 20.9},
    {"int4", 20.9, 19.2},
    {"int4-g128", 20.0, 17.6},
    {"int4-g256", 19.3, 16.1},
    {"int4-asym", 20.8, 19.0},
    {"int3-asym", 14.2, 12.4},
    {"int2-asym", 6.8, 5.6},
    {"int2-g8-asym", 10.9, 10.8},
    {"int1", 4.5, 3.5},
    {"ternary", 5.8, 4.4},
    {"mxfp8-floor", 30.7, 0},
    {"mxfp8", 31.5, 0},
    {"mxfp6-e3m2-rceil", 25.6, 0},
    {"mxfp6-e3m2-floor", 25.4, 0},
    {"mxfp6", 31.0, 30.2},
    {"mxfp4", 18.9, 18.0},
    {"mxfp4-ceil", 17.3, 15.4},
    {"mxfp4-even", 19.0, 18.2},
    {"mxfp4-rceil", 18.5, 17.6},
    {"nvfp4", 20.4, 20.7},
    {"nvfp4", 20.4, 20.7, "gemlite-0.5.1"},
    {"int4-g128-sym-24", 8.6, 9.6},
    {"int4-g128-sym", 19.5, 16.2},
    {"int4-g128-sym", 19.1, 15.8, "torchao-0.18.0"},
};

TEST(Sqnr, EveryFamilyIsInTheGolden) {
  const json all = golden();
  for (const Distribution& distribution : kDistributions) {
    std::set<FormatId> there;
    const json& formats = all.at(distribution.name);
    for (const auto& [format, expected] : formats.items()) there.insert(parse_format(format).id);
    for (const FormatRow& row : kFormats) {
      if (!row.defaults.quantized()) continue;
      EXPECT_TRUE(there.contains(row.defaults.id))
          << row.name << " of " << distribution.name << ": see scripts/golden/sqnr.py";
    }
  }
}

TEST(Sqnr, OfEveryCanonicalFormatIsThatOfTheNumpyImplementation) {
#ifdef LB_SANITIZED
  GTEST_SKIP() << "three million numbers in a hundred formats take minutes with sanitizers";
#endif
  const json all = golden();
  for (const Distribution& distribution : kDistributions) {
    const Sample sample = make_sample(distribution.name, all.at("generator"), kSeed);
    const json& formats = all.at(distribution.name);
    EXPECT_GT(formats.size(), 80u);
    for (const auto& [format, expected] : formats.items()) {
      const bool rows = parse_format(format).block.k == 0;
      EXPECT_NEAR(sqnr(sample, format), expected.get<double>(),
                  rows ? distribution.rows : distribution.groups)
          << format << " of " << distribution.name;
    }
  }
}

TEST(Sqnr, IsWhatTheToolsThatDefineTheFormatsReach) {
#ifdef LB_SANITIZED
  GTEST_SKIP() << "too slow with sanitizers";
#endif
  const json generator = golden().at("generator");
  const Sample gaussian = make_sample("gaussian", generator, kSeed);
  const Sample t5 = make_sample("student_t5", generator, kSeed);
  // int8's scales of rows hang on one extreme of 4096 numbers each: what this sample has more than
  // that of the tools moves all their rules alike.
  const double more = sqnr(t5, "int8") - kMeasuredInt8.t5;
  EXPECT_LE(std::abs(more), 0.3);
  for (const Measured& row : kMeasured) {
    const std::string what = fmt::format("{} by {}", row.format, row.quantizer);
    EXPECT_NEAR(sqnr(gaussian, row.format, row.quantizer), row.gaussian, 0.3) << what;
    if (row.t5 == 0) continue;
    const Format format = parse_format(row.format);
    const bool rows = format.id == FormatId::kInt8 && format.block.k == 0;
    EXPECT_NEAR(sqnr(t5, row.format, row.quantizer) - (rows ? more : 0), row.t5, 0.3)
        << what << " of student_t5";
  }
}

}  // namespace
}  // namespace lowbit
