// Against folders written by the tools themselves, or as they write them:
// scripts/golden/quantized_checkpoints.py.
#include "load/quantized.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "formats/codec.h"
#include "load/checkpoint.h"
#include "load/hash.h"
#include "load/json.h"

namespace lowbit {
namespace {

const std::string kGolden = LB_SOURCE_DIR "/tests/golden/quantized/";

struct Case {
  const char* folder;
  const char* format;  // of every Linear
  size_t remarks = 0;
};
constexpr Case kCases[] = {
    {"gptq-4bit-g32-sym", "int4-g32-sym-sf16"},
    {"gptq-4bit-g32-asym", "int4-g32-asym-sf16"},
    {"gptq-4bit-g32-desc-act", "f32", 1},
    {"gptq-4bit-g32-asym-desc-act", "f32", 1},
    {"gptq-4bit-row", "int4-row-sym-sf16"},
    {"gptq-2bit-g32-asym", "int2-g32-asym-sf16"},
    {"gptq-3bit-g32-asym", "int3-g32-asym-sf16"},
    {"gptq-8bit-g32-sym", "int8-g32-sf16"},
    {"gptq-v2-4bit-g32-asym", "int4-g32-asym-sf16"},
    {"awq-4bit-g32", "int4-g32-asym-sf16"},
    {"ct-pack-int4-g32-sym", "int4-g32-sym"},
    {"ct-pack-int4-g32-asym", "int4-g32-asym"},
    {"ct-pack-int8-g32-sym", "int8-g32-sbf16"},
    {"ct-pack-int3-g32-asym", "int3-g32-asym"},
    {"ct-pack-int4-g32-act-order", "f32", 1},
    {"ct-int8-channel", "int8-sbf16", 1},
    {"ct-fp8-channel", "fp8-sbf16", 1},
    {"ct-fp8-tensor", "fp8-tensor-sbf16", 1},
    {"ct-fp8-block", "fp8-b128x128-sbf16", 1},
    {"ct-nvfp4", "nvfp4"},
    {"ct-mxfp4", "mxfp4"},
    {"fp8-b128x128", "fp8-b128x128", 1},
    {"torchao-int8", "int8"},
    {"torchao-int4-g32", "int4-g32-sym"},
    {"torchao-float8", "fp8"},
    {"torchao-int4-pairs-g32", "int4-g32"},
    {"hqq-8bit-g64", "int8-g64-rzero-sf16"},
    {"hqq-4bit-g64", "int4-rzero-sf16"},
    {"hqq-3bit-g64", "int3-rzero-sf16"},
    {"hqq-2bit-g64", "int2-rzero-sf16"},
    {"hqq-1bit-g64", "int1-rzero-sf16"},
    {"bitnet", "ternary", 1},
    {"bitnet-auto", "ternary", 1},
};

struct Shape {
  int64_t n, k;
};
Shape shape_of(const std::string& name) {
  const auto is = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  if (is("norm")) return {1, 64};
  if (is("k_proj") || is("v_proj")) return {32, 64};
  if (is("down_proj")) return {64, 128};
  if (is("gate_proj") || is("up_proj")) return {128, 64};
  return {64, 64};
}

class GoldenQuantized : public testing::TestWithParam<Case> {};

TEST_P(GoldenQuantized, EveryWeightHasTheNumbersThatItsToolGivesIt) {
  const std::string folder = kGolden + GetParam().folder;
  const auto expected = parse_json("expected.json", map_file(folder + "/expected.json").text());
  const auto checkpoint = open_checkpoint(folder);
  std::vector<std::string> names;
  for (const auto& [name, golden] : expected.items()) {
    names.push_back(name);
    const auto [n, k] = shape_of(name);
    const QTensor tensor = checkpoint->tensor(name, n, k);
    EXPECT_EQ(hash_of_numbers(tensor), golden.get<std::string>()) << name;
    EXPECT_EQ(checkpoint->outline(name, n, k).format, tensor.format) << name;
    EXPECT_TRUE(checkpoint->has(name)) << name;
    if (name.find("_proj") != std::string::npos) {
      EXPECT_EQ(lowbit::name(tensor.format), GetParam().format) << name;
      EXPECT_EQ(tensor.bytes(), tensor_bytes(tensor.format, n, k)) << name;
    }
  }
  EXPECT_EQ(names.size(), 11u);
  EXPECT_EQ(checkpoint->tensor_names(), names);  // parts of weights are no tensors of their own
  EXPECT_EQ(checkpoint->remarks().size(), GetParam().remarks);
}

INSTANTIATE_TEST_SUITE_P(Folders, GoldenQuantized, testing::ValuesIn(kCases), [](const auto& test) {
  std::string name = test.param.folder;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(Quantized, EveryGoldenFolderIsTested) {
  for (const auto& entry : std::filesystem::directory_iterator(kGolden)) {
    const std::string name = entry.path().filename().string();
    EXPECT_TRUE(std::any_of(std::begin(kCases), std::end(kCases), [&](const Case& c) {
      return c.folder == name;
    })) << name;
  }
}

}  // namespace
}  // namespace lowbit
