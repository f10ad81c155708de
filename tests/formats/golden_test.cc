// Formats and quantizers against what numpy and the packages of other tools computed
// (tests/golden/formats, made by scripts/golden/formats.py): codes, scales and zeros bit by bit.
#include "formats/golden.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/check.h"
#include "load/hash.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

using nlohmann::json;
using namespace golden;

std::vector<uint32_t> positions_of(const QTensor& q) {
  std::vector<uint32_t> positions;
  const int64_t row_bytes = plane_shape(q.format, Plane::kMeta, q.n, q.k).row_bytes;
  for (int64_t row = 0; row < q.n; ++row) {
    std::vector<uint32_t> some(static_cast<size_t>(q.k / 2));
    load_codes(q.meta.data.data() + row * row_bytes, 2, some);
    positions.insert(positions.end(), some.begin(), some.end());
  }
  return positions;
}

void expect_integers(std::span<const uint32_t> ours, const std::vector<int64_t>& theirs,
                     const std::string& what) {
  ASSERT_EQ(ours.size(), theirs.size()) << what;
  int64_t wrong = 0, first = -1;
  for (size_t i = 0; i < ours.size(); ++i) {
    if (static_cast<int64_t>(ours[i]) == theirs[i]) continue;
    if (wrong++ == 0) first = static_cast<int64_t>(i);
  }
  EXPECT_EQ(wrong, 0) << what << ": of " << ours.size() << ", first at " << first << ": "
                      << ours[static_cast<size_t>(std::max<int64_t>(first, 0))] << " for "
                      << theirs[static_cast<size_t>(std::max<int64_t>(first, 0))];
}

// A plane of scales, or of zeros that are stored like them, as it is in memory.
void expect_bytes(const Bytes& ours, const StoredTensor& theirs, const std::string& what) {
  ASSERT_EQ(ours.data.size(), theirs.data.data.size()) << what << " as " << theirs.type;
  size_t at = 0;
  while (at < ours.data.size() && ours.data[at] == theirs.data.data[at]) ++at;
  EXPECT_EQ(at, ours.data.size()) << what << ": first byte that differs";
}

void expect_planes(const QTensor& q, const Golden& golden, const std::string& name) {
  expect_integers(codes_of(q), golden.integers(name + ".codes"), name + ".codes");
  expect_bytes(q.scales, golden.at(name + ".scales"), name + ".scales");
  if (q.format.zero == Zero::kInt) {
    std::vector<uint32_t> zeros;
    for (const std::byte zero : q.zeros.data) zeros.push_back(static_cast<uint32_t>(zero));
    expect_integers(zeros, golden.integers(name + ".zeros"), name + ".zeros");
  } else if (q.format.zero != Zero::kNone) {
    expect_bytes(q.zeros, golden.at(name + ".zeros"), name + ".zeros");
  } else if (golden.has(name + ".zeros")) {
    for (const int64_t zero : golden.integers(name + ".zeros")) ASSERT_EQ(zero, 0) << name;
  }
  if (q.format.sparse24) {
    expect_integers(positions_of(q), golden.integers(name + ".meta"), name + ".meta");
  }
  if (q.format.outer != Outer::kNone) {
    expect_bytes(q.outer, golden.at(name + ".outer"), name + ".outer");
  }
}

void expect_few_differ(const QTensor& q, const Golden& golden, const std::string& name,
                       int64_t allowed) {
  const std::vector<uint32_t> ours = codes_of(q);
  const std::vector<int64_t> theirs = golden.integers(name + ".codes");
  int64_t differ = 0;
  for (size_t i = 0; i < ours.size(); ++i) differ += static_cast<int64_t>(ours[i]) != theirs[i];
  EXPECT_LE(differ, allowed) << name << ": codes of " << ours.size();
}

TEST(GoldenFormats, RoundToNearestGivesTheBitsOfNumpy) {
  const Golden golden("canonical"), inputs("inputs");
  const json entries = manifest()["canonical"]["entries"];
  ASSERT_GT(entries.size(), 80u);
  for (const auto& [name, entry] : entries.items()) {
    Format format = parse_format(name.substr(0, name.find('@')));
    if (name.ends_with("@activations")) format = activation_format(format);
    const QTensor w = input(inputs, entry["input"], entry.value("columns", int64_t{0}));
    const QTensor q = quantize_rtn(w, format, {name});
    expect_planes(q, golden, name);
    const std::vector<float> decoded = decode_rows(q);
    EXPECT_EQ(hash_of_numbers(q), entry["decoded"]) << name;
    if (golden.has(name + ".decoded")) {
      EXPECT_EQ(decoded, golden.floats(name + ".decoded")) << name;
    }
  }
}

TEST(GoldenFormats, EveryFamilyIsComparedWithAnotherImplementation) {
  std::set<FormatId> compared = {
      FormatId::kQqq,       // with torchao's, below
      FormatId::kCodebook,  // has no one right table: tests/quantize/codebook_test.cc
  };
  const json golden = manifest()["canonical"]["entries"];
  for (const auto& [name, entry] : golden.items()) {
    compared.insert(parse_format(name.substr(0, name.find('@'))).id);
  }
  for (const FormatRow& row : kFormats) {
    if (!row.defaults.quantized()) continue;
    EXPECT_TRUE(compared.contains(row.defaults.id))
        << row.name << ": add it to scripts/golden/canonical_formats.py and formats.py";
  }
}

TEST(GoldenFormats, EveryCodeOfASmallFloatDecodesToItsNumber) {
  const Golden golden("codes");
  const auto same = [](double ours, float theirs) {
    return std::isnan(theirs) ? std::isnan(ours) : ours == double{theirs};
  };
  for (const auto& [name, stored] : golden.all()) {
    const std::vector<float> theirs = golden.floats(name);
    std::optional<Format> format;
    for (const char* family : {"fp8", "fp6", "fp5", "fp4", "fp3"}) {
      try {
        format = parse_format(fmt::format("{}-{}", family, name));
        break;
      } catch (const Error&) {  // of another number of bits
      }
    }
    ASSERT_EQ(format.has_value(), name != "e8m0") << name;
    for (size_t code = 0; code < theirs.size(); ++code) {
      const auto byte = static_cast<std::byte>(code);
      const double ours = format ? decode_code(*format, static_cast<uint32_t>(code))
                                 : load_scale(Scale::kE8M0, &byte, 0);
      EXPECT_TRUE(same(ours, theirs[code])) << name << " " << code << ": " << ours;
    }
  }
}

struct ToolCase {
  const char* name;  // in the golden file
  const char* format;
  const char* input = "weights.bf16";
  int64_t k = 256;
};

void expect_tool(const char* file, const char* quantizer, std::span<const ToolCase> cases) {
  const Golden golden(file), inputs("inputs");
  for (const ToolCase& c : cases) {
    const QTensor q = find_quantizer(quantizer).run(input(inputs, c.input, c.k),
                                                    parse_format(c.format), {c.name});
    expect_planes(q, golden, c.name);
  }
}

TEST(GoldenTools, Torchao090) {
  constexpr ToolCase kCases[] = {
      {"int8wo", "int8-sbf16"},
      {"int8dq", "int8-sbf16"},
      {"int4wo-32", "int4-g32"},
      {"int4wo-64", "int4"},
      {"int4wo-128", "int4-g128"},
      {"int4wo-256", "int4-g256"},
      {"uintx-1-64", "int1-asym"},
      {"uintx-2-64", "int2-asym"},
      {"uintx-2-8", "int2-g8-asym"},
      {"uintx-3-64", "int3-asym"},
      {"uintx-4-64", "int4-asym"},
      {"uintx-4-8", "int4-g8-asym"},
      {"uintx-5-64", "int5-asym"},
      {"uintx-6-64", "int6-asym"},
      {"uintx-7-64", "int7-asym"},
      {"float8wo", "fp8-sbf16"},
      {"float8dq-row", "fp8", "weights.mild.f32"},
      {"float8dq-tensor", "fp8-tensor", "weights.mild.f32"},
      {"fp6", "fp6-sbf16"},
      {"fpx-e2m3", "fp6-e2m3-sbf16"},
      {"fpx-e3m1", "fp5-e3m1-sbf16"},
      {"fpx-e2m2", "fp5-sbf16"},
      {"fpx-e3m0", "fp4-e3m0-sbf16"},
      {"fpx-e2m1", "fp4-sbf16"},
      {"fpx-e2m0", "fp3-sbf16"},
  };
  expect_tool("torchao09", "torchao-0.9.0", kCases);
}

// Without what f16 cannot hold, as scripts/golden/formats_torchao09.py has them.
std::vector<float> weights_as_f16(const Golden& inputs) {
  std::vector<float> w = decode_rows(input(inputs, "weights.bf16", 256));
  for (size_t i = 0; i < 256; ++i) {
    w[4 * 256 + i] = w[i] / 2;
    w[5 * 256 + i] = std::clamp(w[5 * 256 + i], -6e4f, 6e4f);
  }
  return w;
}

// The golden codes are those of all four of a quad, 8 where nothing was kept.
TEST(GoldenTools, SparseMarlinOfTorchao090) {
  const Golden golden("torchao09"), inputs("inputs");
  const std::vector<float> w = weights_as_f16(inputs);
  for (const auto& [name, text] : {std::pair{"sparse-marlin", "int4-g128-sym-sf16-24"},
                                   std::pair{"sparse-marlin-row", "int4-row-sym-sf16-24"}}) {
    const Format format = parse_format(text);
    const QTensor q = find_quantizer("torchao-0.9.0").run(f32_tensor(w, 8, 256), format, {name});
    const std::vector<uint32_t> kept = codes_of(q), positions = positions_of(q);
    std::vector<uint32_t> codes(8 * 256, 8);
    for (size_t i = 0; i < kept.size(); ++i) codes[i / 2 * 4 + positions[i]] = kept[i] ^ 8;
    expect_integers(codes, golden.integers(std::string(name) + ".codes"), name);
    expect_bytes(q.scales, golden.at(std::string(name) + ".scales"), name);
  }
}

TEST(GoldenTools, QqqOfTorchao090) {
  const Golden golden("torchao09"), inputs("inputs");
  const std::vector<float> w = weights_as_f16(inputs);
  for (const auto& [name, text] :
       {std::pair{"marlin_qqq", "qqq"}, std::pair{"marlin_qqq-row", "qqq-row"}}) {
    const Format format = parse_format(text);
    const QTensor q = find_quantizer("torchao-0.9.0").run(f32_tensor(w, 8, 256), format, {name});
    const bool row = format.block.k == 0;
    std::vector<uint32_t> codes = codes_of(q);
    if (!row) {  // stored plus 8 there
      for (uint32_t& code : codes) code ^= 8;
    }
    expect_integers(codes, golden.integers(std::string(name) + ".codes"), name);
    expect_bytes(q.outer, golden.at(std::string(name) + ".outer"), name);
    if (!row) expect_bytes(q.scales, golden.at(std::string(name) + ".scales"), name);
    // The package has no kernel for the cpu: what its CUDA kernel computes from these planes.
    const std::vector<float> decoded = decode_rows(q),
                             units = golden.floats(std::string(name) + ".outer");
    const std::vector<float> scales =
        row ? std::vector<float>(16, 16.0f) : golden.floats(std::string(name) + ".scales");
    for (size_t i = 0; i < decoded.size(); ++i) {
      const float code = static_cast<float>(codes_of(q)[i] ^ 8) - 8;
      const float integer = std::nearbyint(code * scales[i / 128]);
      ASSERT_EQ(decoded[i], integer * units[i / 256]) << name << " " << i;
      ASSERT_LE(std::abs(integer), 128) << name << " " << i;
    }
  }
}

TEST(GoldenTools, Torchao0180) {
  constexpr ToolCase kCases[] = {
      {"Int8WeightOnlyConfig", "int8"},
      {"Int8WeightOnlyConfig-tensor", "int8-tensor"},
      {"Int8WeightOnlyConfig-g64", "int8-g64"},
      {"Int8DynamicActivationInt8WeightConfig:activations", "int8"},
      {"Int4WeightOnlyConfig-32", "int4-g32"},
      {"Int4WeightOnlyConfig-64", "int4"},
      {"Int4WeightOnlyConfig-128", "int4-g128"},
      {"Int4WeightOnlyConfig-256", "int4-g256"},
      {"IntxWeightOnlyConfig-int4-32", "int4-g32-sym"},
      {"IntxWeightOnlyConfig-int2-32", "int2-g32-sym"},
      {"Float8WeightOnlyConfig", "fp8"},
      {"Float8WeightOnlyConfig-tensor", "fp8-tensor"},
      {"nvfp4", "nvfp4", "weights.f32", 320},
      {"nvfp4@mild", "nvfp4", "weights.mild.f32", 320},
  };
  expect_tool("torchao", "torchao-0.18.0", kCases);
}

TEST(GoldenTools, MxOfTorchao0180) {
  for (const char* family : {"mxfp8", "mxfp8-e5m2", "mxfp6", "mxfp6-e3m2", "mxfp4"}) {
    for (const char* rule : {"floor", "ceil", "even", "rceil"}) {
      const std::string name = fmt::format("{}-{}", family, rule);
      const ToolCase c = {name.c_str(), name.c_str(), "weights.f32", 320};
      expect_tool("torchao", "torchao-0.18.0", {&c, 1});
      // Blocks whose largest magnitude is at the edge of two scales.
      const std::string edges = name + "@edges";
      const ToolCase at_edge = {edges.c_str(), name.c_str(), "weights.edges.f32", 224};
      if (std::string_view(rule) == "even" || std::string_view(rule) == "rceil") {
        if (std::string_view(family) != "mxfp8-e5m2") {
          expect_tool("torchao", "torchao-0.18.0", {&at_edge, 1});
        }
      }
    }
  }
}

TEST(GoldenTools, Gemlite051) {
  constexpr ToolCase kCases[] = {
      {"A16W8_INT8", "int8-sbf16"}, {"A8W8_INT8", "int8"},   {"A16W8_FP8", "fp8-sbf16"},
      {"A8W8_FP8", "fp8"},          {"A16W8_MXFP", "mxfp8"}, {"A16W4_MXFP", "mxfp4-rceil"},
      {"A4W4_NVFP", "nvfp4"},
  };
  expect_tool("gemlite", "gemlite-0.5.1", kCases);
}

// The release's sums are in another order, so zeros differ in their last bits and a code on the
// edge may go either way.
TEST(GoldenTools, HqqRelease) {
  const Golden golden("hqq"), inputs("inputs");
  const struct {
    const char *name, *format, *input;
  } kCases[] = {{"hqq-8-64", "int8-g64-rzero", "weights.f32"},
                {"hqq-4-64", "int4-rzero-sf32", "weights.f32"},
                {"hqq-3-64", "int3-rzero-sf32", "weights.f32"},
                {"hqq-2-64", "int2-rzero-sf32", "weights.f32"},
                {"hqq-1-64", "int1-rzero-sf32", "weights.f32"},
                {"hqq-4-128@mild", "int4-g128-rzero-sf32", "weights.mild.f32"},
                {"hqq-4-64@mild", "int4-rzero-sf32", "weights.mild.f32"},
                {"hqq-2-64@mild", "int2-rzero-sf32", "weights.mild.f32"},
                {"hqq-1-64@mild", "int1-rzero-sf32", "weights.mild.f32"}};
  for (const auto& c : kCases) {
    const QTensor q = find_quantizer("hqq-0.2.8")
                          .run(input(inputs, c.input, 256), parse_format(c.format), {c.name});
    expect_few_differ(q, golden, c.name, 1);
    expect_bytes(q.scales, golden.at(fmt::format("{}.scales", c.name)), c.name);
  }
}

// torchao lets beta grow: a handful of codes move.
TEST(GoldenTools, HqqOfTorchao090IsNearlyTheRelease) {
  const Golden golden("torchao09"), inputs("inputs");
  for (const auto& [name, format] :
       {std::pair{"int4wo-64-hqq", "int4"}, std::pair{"uintx-4-64-hqq", "int4"},
        std::pair{"uintx-2-64-hqq", "int2"}}) {
    const QTensor q = find_quantizer("hqq-0.2.8")
                          .run(input(inputs, "weights.bf16", 256), parse_format(format), {name});
    expect_few_differ(q, golden, name, 8);
  }
}

// q * d + m is one f32 operation here and two there.
TEST(GoldenTools, Gguf0190) {
  const Golden golden("gguf");
  const QTensor w = input(golden, "weights.f32", 512);
  for (const char* name : {"q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "tq2_0", "tq1_0"}) {
    const QTensor q = find_quantizer("gguf-0.19.0").run(w, parse_format(name), {name});
    const std::vector<float> ours = decode_rows(q);
    const std::vector<float> theirs = golden.floats(std::string(name) + ".decoded");
    ASSERT_EQ(ours.size(), theirs.size());
    for (size_t i = 0; i < ours.size(); ++i) {
      const float ulp = q.format.zero == Zero::kOffset ? 0x1p-23f * std::abs(theirs[i]) + 1e-9f : 0;
      ASSERT_NEAR(ours[i], theirs[i], ulp) << name << " " << i;
    }
  }
}

TEST(ToolRules, RefuseFormatsThatTheToolDoesNotHave) {
  const QTensor w = f32_tensor(std::vector<float>(512, 1.0f), 2, 256);
  for (const auto& [quantizer, format] : {std::pair{"torchao-0.9.0", "nvfp4"},
                                          {"torchao-0.9.0", "int1"},
                                          {"torchao-0.9.0", "int4-rzero"},
                                          {"torchao-0.18.0", "fp6"},
                                          {"torchao-0.18.0", "q4_0"},
                                          {"gemlite-0.5.1", "mxfp4"},
                                          {"gemlite-0.5.1", "int8-g64"},
                                          {"gemlite-0.5.1", "int4"},
                                          {"gguf-0.19.0", "int4"},
                                          {"gguf-0.19.0", "q4_k"}}) {
    EXPECT_THROW(find_quantizer(quantizer).run(w, parse_format(format), {"w"}), Error)
        << quantizer << " " << format;
  }
}

TEST(ToolRules, HardBlocksStayFiniteAndNanIsReported) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  for (const auto& [tool, formats] :
       {std::pair<const char*, std::vector<const char*>>{
            "torchao-0.9.0",
            {"int8-sbf16", "int8-sf16", "int4", "int4-asym", "int4-g128-sym-sf16-24", "fp8-sbf16",
             "fp8-tensor", "fp6-sbf16", "fp6-sf16", "int8"}},
        {"torchao-0.18.0", {"int8", "int4", "int4-sym", "fp8", "mxfp8", "mxfp4", "nvfp4"}},
        {"gemlite-0.5.1", {"int8", "fp8-sbf16", "mxfp8", "mxfp4-rceil", "nvfp4"}},
        {"gguf-0.19.0", {"q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "tq2_0", "tq1_0"}}}) {
    const char* const quantizer = tool;  // clang 14 captures no structured binding
    for (const char* format : formats) {
      const auto run = [&](float value) {
        std::vector<float> w(256, value);
        return find_quantizer(quantizer).run(f32_tensor(w, 1, 256), parse_format(format), {"w"});
      };
      for (const float value : {0.0f, 1.5f, -1.5f, tiny, -3e4f}) {
        for (const float back : decode_rows(run(value))) {
          ASSERT_TRUE(std::isfinite(back)) << quantizer << " " << format << " " << value;
        }
      }
      EXPECT_THROW(run(NAN), Error) << quantizer << " " << format;
      EXPECT_THROW(run(INFINITY), Error) << quantizer << " " << format;
    }
  }
}

}  // namespace
}  // namespace lowbit
