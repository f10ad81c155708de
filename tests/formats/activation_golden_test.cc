// Activations and caches have one rule for each format (docs/adr/0018-activation-rules.md), tools
// have theirs: what those make of the same numbers, bit for bit or exactly as far off as the list
// below says.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/fp.h"
#include "formats/golden.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

using namespace golden;

enum class Use { kActivations, kCache };

// Of rows of 256 or 320 numbers. A tensor that a tool quantizes with the same function when it
// holds weights is in the files under the name of the weights.
struct Entry {
  const char *file, *name, *format;
  int64_t codes = 0;     // that stand for another multiple of the scale
  int64_t scales = 0;    // that are not equal
  double scale_off = 0;  // relative, at most, where theirs is not the least that they allow
  const char* why;
  const char* input = "weights.bf16";
  int64_t k = 256;
  Use use = Use::kActivations;
  double least = 0;  // their smallest scale
};

constexpr double kEpsAo9 = 1.01e-5, kEpsAo18 = 1.2e-7, kEpsGemlite = 1.01e-6, kLowest = 0x1p-30;

constexpr const char* kBf16 = "arithmetic in bf16, scales of at least 1e-5";
constexpr const char* kRange = "amax / 127.5, codes from -128";
constexpr const char* kInverse = "bf16 amax / 448, times the reciprocal";
constexpr const char* kRounded = "amax / 448 rounded to bf16";
constexpr const char* kSubnormal =
    "the same but for blocks of subnormals, whose scale it takes as 1";
constexpr const char* kTensor = "one outer scale for all tokens, here one for each";
constexpr const char* kAway = "halves are rounded away from zero; scales are at least 1e-6";
constexpr const char* kAtLeast = "the same, scales are at least 1e-6";
constexpr const char* kPower = "the same, scales are at least 2^-30";
constexpr const char* kTies = "ties of e2m1 towards zero; scales are at least 2^-30";
constexpr const char* kFixed = "one outer scale of 0.05; ties of e2m1 towards zero";

constexpr Entry kEntries[] = {
    {.file = "torchao09",
     .name = "int8dq:activations",
     .format = "int8",
     .codes = 242,
     .scales = 7,
     .scale_off = 0.0024,
     .why = kBf16,
     .least = kEpsAo9},
    {.file = "torchao09",
     .name = "int8dq:activations",
     .format = "int8",
     .codes = 239,
     .scales = 1,
     .scale_off = 0,
     .why = kBf16,
     .use = Use::kCache,
     .least = kEpsAo9},
    {.file = "torchao09",
     .name = "float8dq-row",
     .format = "fp8",
     .codes = 37,
     .scales = 8,
     .scale_off = 0.0032,
     .why = kInverse,
     .input = "weights.mild.f32"},
    {.file = "torchao09",
     .name = "float8dq-tensor",
     .format = "fp8-tensor",
     .codes = 33,
     .scales = 1,
     .scale_off = 0.0013,
     .why = kInverse,
     .input = "weights.mild.f32"},
    {.file = "torchao",
     .name = "Int8DynamicActivationInt8WeightConfig:activations",
     .format = "int8",
     .codes = 295,
     .scales = 8,
     .scale_off = 0.004,
     .why = kRange,
     .least = kEpsAo18},
    {.file = "torchao",
     .name = "Float8WeightOnlyConfig",
     .format = "fp8",
     .codes = 24,
     .scales = 8,
     .scale_off = 0.0031,
     .why = kRounded},
    {.file = "torchao",
     .name = "mxfp8-rceil",
     .format = "mxfp8",
     .codes = 64,
     .why = kSubnormal,
     .input = "weights.f32",
     .k = 320},
    {.file = "torchao",
     .name = "mxfp8-floor",
     .format = "mxfp8-floor",
     .codes = 64,
     .why = kSubnormal,
     .input = "weights.f32",
     .k = 320},
    {.file = "torchao",
     .name = "mxfp4-floor",
     .format = "mxfp4",
     .codes = 8,
     .why = kSubnormal,
     .input = "weights.f32",
     .k = 320},
    {.file = "torchao",
     .name = "mxfp4-rceil",
     .format = "mxfp4-rceil",
     .codes = 8,
     .why = kSubnormal,
     .input = "weights.f32",
     .k = 320},
    {.file = "torchao",
     .name = "nvfp4@mild",
     .format = "nvfp4",
     .codes = 129,
     .scales = 140,
     .scale_off = 0.84,
     .why = kTensor,
     .input = "weights.mild.f32",
     .k = 320},
    {.file = "gemlite",
     .name = "int8:activations",
     .format = "int8",
     .codes = 144,
     .scales = 1,
     .scale_off = 0,
     .why = kAway,
     .least = kEpsGemlite},
    {.file = "gemlite",
     .name = "fp8:activations",
     .format = "fp8",
     .codes = 128,
     .scales = 1,
     .scale_off = 0,
     .why = kAtLeast,
     .least = kEpsGemlite},
    {.file = "gemlite",
     .name = "mxfp8:activations",
     .format = "mxfp8",
     .codes = 63,
     .scales = 6,
     .why = kPower,
     .least = kLowest},
    {.file = "gemlite",
     .name = "mxfp8:activations-torch",
     .format = "mxfp8",
     .codes = 63,
     .scales = 6,
     .why = kPower,
     .least = kLowest},
    {.file = "gemlite",
     .name = "mxfp4:activations",
     .format = "mxfp4-rceil",
     .codes = 50,
     .scales = 6,
     .why = kTies,
     .least = kLowest},
    {.file = "gemlite",
     .name = "mxfp4:activations-torch",
     .format = "mxfp4-rceil",
     .codes = 50,
     .scales = 6,
     .why = kTies,
     .least = kLowest},
    {.file = "gemlite",
     .name = "nvfp4:activations",
     .format = "nvfp4",
     .codes = 422,
     .scales = 128,
     .scale_off = 742,
     .why = kFixed},
    {.file = "gemlite",
     .name = "nvfp4:activations-torch",
     .format = "nvfp4",
     .codes = 427,
     .scales = 128,
     .scale_off = 742,
     .why = kFixed},
};

QTensor rows_of(const Entry& entry) {
  QTensor rows = input(Golden("inputs"), entry.input, entry.k);
  if (std::string_view(entry.file) == "torchao09") {  // which holds all in bf16
    std::vector<float> values = decode_rows(rows);
    for (float& value : values) value = bf16_to_f32(f32_to_bf16(value));
    rows = f32_tensor(values, rows.n, rows.k);
  }
  return rows;
}

// Their scale of block i, in rows, with the one above it.
std::vector<double> scales_of(const Golden& golden, const std::string& name, const Format& format) {
  std::vector<double> scales;
  const StoredTensor& stored = golden.at(name + ".scales");
  if (stored.type == "U8") {
    for (size_t i = 0; i < stored.data.data.size(); ++i) {
      scales.push_back(load_scale(format.scale, stored.data.data.data(), static_cast<int64_t>(i)));
    }
  } else {
    for (const float scale : golden.floats(name + ".scales")) scales.push_back(scale);
  }
  if (format.outer == Outer::kNone) return scales;
  constexpr float kOfGemlite = 0.05f;
  const bool has = golden.has(name + ".outer");
  for (double& scale : scales) scale *= has ? golden.floats(name + ".outer")[0] : kOfGemlite;
  return scales;
}

TEST(GoldenActivations, DifferFromThoseOfToolsAsTheListSays) {
  for (const Entry& entry : kEntries) {
    const Golden golden(entry.file);
    const Format format = entry.use == Use::kCache ? parse_cache_format(entry.format)
                                                   : activation_format(parse_format(entry.format));
    const QTensor q = quantize_rtn(rows_of(entry), format, {entry.name});
    const std::vector<uint32_t> ours = codes_of(q);
    const std::vector<int64_t> theirs = golden.integers(std::string(entry.name) + ".codes");
    ASSERT_EQ(ours.size(), theirs.size()) << entry.name;
    int64_t codes = 0, scales = 0;
    for (size_t i = 0; i < ours.size(); ++i) {
      codes +=
          decode_code(format, ours[i]) != decode_code(format, static_cast<uint32_t>(theirs[i]));
    }
    const std::vector<double> their_scales = scales_of(golden, entry.name, format);
    const int64_t blocks = format.block.k == 0 ? 1 : entry.k / format.block.k;
    double most = 0;
    for (size_t i = 0; i < their_scales.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      const double scale = load_block(q, at / blocks, at % blocks).scale;
      if (scale == their_scales[i]) continue;
      ++scales;
      if (their_scales[i] <= entry.least) continue;
      most = std::max(most, std::abs(scale / their_scales[i] - 1));
    }
    EXPECT_EQ(codes, entry.codes) << entry.name << ", of " << ours.size() << ": " << entry.why;
    EXPECT_EQ(scales, entry.scales)
        << entry.name << ", of " << their_scales.size() << ": " << entry.why;
    EXPECT_LE(most, entry.scale_off) << entry.name << ": " << entry.why;
  }
}

TEST(GoldenActivations, OfEveryToolAreInTheList) {
  std::set<std::string> listed;
  for (const Entry& entry : kEntries) listed.insert(std::string(entry.file) + " " + entry.name);
  int32_t there = 0;
  const nlohmann::json all = manifest();
  for (const char* file : {"torchao", "torchao09", "gemlite"}) {
    for (const auto& [name, entry] : all[file]["entries"].items()) {
      if (name.find(":activations") == std::string::npos) continue;
      EXPECT_TRUE(listed.contains(std::string(file) + " " + name)) << file << " " << name;
      ++there;
    }
  }
  EXPECT_GE(there, 10);
}

}  // namespace
}  // namespace lowbit
