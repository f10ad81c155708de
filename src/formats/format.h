// THE table of number formats. A Format is a value: everything a kernel predicate may ask. A row of
// kFormats is a family with its defaults; a format in use is a row plus the parameters in its name:
//
//   <family>[-g<K>|-row|-tensor|-b<N>x<K>][-sym|-asym|-fzero|-rzero][-e<X>m<Y>]
//           [-floor|-ceil|-even|-rceil][-sf32|-sf16|-sbf16][-24]     defaults are left out
//   <weights>+<activations>                                           a pair
//
// To add a format made of known parts: one FormatId, one row here. docs/formats.md is generated.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/fields.h"

namespace lowbit {

// Which parameters a family's name may carry.
struct FormatParams {
  bool group = false;    // -g<K>: a power of two, 8 to 256
  bool row = false;      // -row
  bool tensor = false;   // -tensor
  bool block2d = false;  // -b128x128
  bool zero = false;     // -sym, -asym, -fzero, -rzero
  bool element = false;  // -e<X>m<Y>: another small float of as many bits
  bool power = false;    // -floor, -ceil, -even, -rceil
  bool scale = false;    // -sf32, -sf16, -sbf16
  bool sparse = false;   // -24
  bool weights = true;   // usable for weights
  bool activations = false;
};

struct FormatRow {
  std::string_view name;
  Format defaults;
  FormatParams params;
  std::string_view source;  // where the numerics come from
};

// Sets of parameters that several families take.
inline constexpr FormatParams kIntParams = {
    .group = true, .row = true, .zero = true, .scale = true, .sparse = true};
inline constexpr FormatParams kInt8Params = {.group = true,
                                             .row = true,
                                             .tensor = true,
                                             .zero = true,
                                             .scale = true,
                                             .sparse = true,
                                             .activations = true};
inline constexpr FormatParams kFloatParams = {
    .group = true, .row = true, .tensor = true, .element = true, .scale = true};
inline constexpr FormatParams kFp8Params = {.group = true,
                                            .row = true,
                                            .tensor = true,
                                            .block2d = true,
                                            .element = true,
                                            .scale = true,
                                            .sparse = true,
                                            .activations = true};
inline constexpr FormatParams kMxParams = {.element = true, .power = true, .activations = true};
inline constexpr FormatParams kTernaryParams = {
    .group = true, .row = true, .tensor = true, .scale = true};

constexpr Format int_row(FormatId id, uint8_t bits) {
  return {id, Code::kUInt, bits, Scale::kBF16, {1, 64}, Zero::kFloat, ScaleRule::kMinMax};
}
constexpr Format float_row(FormatId id, Code code, uint8_t bits) {
  return {id, code, bits, Scale::kF32, {1, 0}, Zero::kNone, ScaleRule::kAmaxOverMax};
}
constexpr Format mx_row(FormatId id, Code code, uint8_t bits, ScaleRule rule) {
  return {id, code, bits, Scale::kE8M0, {1, 32}, Zero::kNone, rule};
}
constexpr Format gguf_row(FormatId id, Code code, uint8_t bits, ScaleRule rule, int32_t group = 32,
                          Zero zero = Zero::kNone) {
  return {id, code, bits, Scale::kF16, {1, group}, zero, rule};
}
constexpr Format k_quant(FormatId id, Code code, uint8_t bits, Scale scale, int32_t group,
                         Zero zero) {
  return {id, code, bits, scale, {1, group}, zero, ScaleRule::kLevels, Outer::kSuper};
}

inline constexpr FormatRow kFormats[] = {
    {"f32", {FormatId::kF32, Code::kF32, 32}, {.activations = true}, "IEEE 754-2008 binary32"},
    {"f16", {FormatId::kF16, Code::kF16, 16}, {.activations = true}, "IEEE 754-2008 binary16"},
    {"bf16", {FormatId::kBF16, Code::kBF16, 16}, {.activations = true}, "upper half of binary32"},
    {"int8",
     {FormatId::kInt8, Code::kInt, 8, Scale::kF32, {1, 0}, Zero::kNone, ScaleRule::kAmaxOverMax},
     kInt8Params,
     "symmetric, amax/127, as gemlite A16W8"},
    {"int7", int_row(FormatId::kInt7, 7), kIntParams, "as int4; torchao uintx is -asym"},
    {"int6", int_row(FormatId::kInt6, 6), kIntParams, "as int4; torchao uintx is -asym"},
    {"int5", int_row(FormatId::kInt5, 5), kIntParams, "as int4; torchao uintx is -asym"},
    {"int4", int_row(FormatId::kInt4, 4), kInt8Params,
     "asymmetric min-max with a mid-point float zero, as torchao int4wo"},
    {"int3", int_row(FormatId::kInt3, 3), kIntParams, "as int4"},
    {"int2", int_row(FormatId::kInt2, 2), kIntParams, "as int4"},
    {"int1",
     {FormatId::kInt1, Code::kSign, 1, Scale::kBF16, {1, 64}, Zero::kNone, ScaleRule::kMean},
     kIntParams,
     "sign times mean |w|, as XNOR-Net; -rzero is HQQ's form"},
    {"ternary",
     {FormatId::kTernary, Code::kTernary, 2, Scale::kF32, {0, 0}, Zero::kNone, ScaleRule::kMean},
     kTernaryParams,
     "BitNet b1.58 absmean; 2 bits a code"},
    {"ternary5",
     {FormatId::kTernary5, Code::kTrit, 2, Scale::kF32, {0, 0}, Zero::kNone, ScaleRule::kMean},
     kTernaryParams,
     "the same numbers, five codes to a byte"},
    {"fp8", float_row(FormatId::kFp8, Code::kE4M3, 8), kFp8Params, "OCP OFP8 e4m3, amax/448"},
    {"fp6", float_row(FormatId::kFp6, Code::kE3M2, 6), kFloatParams, "e3m2, amax/28, as FP6-LLM"},
    {"fp5", float_row(FormatId::kFp5, Code::kE2M2, 5), kFloatParams, "e2m2, as torchao FPx"},
    {"fp4", float_row(FormatId::kFp4, Code::kE2M1, 4), kFloatParams, "e2m1, as torchao FPx"},
    {"fp3", float_row(FormatId::kFp3, Code::kE2M0, 3), kFloatParams, "e2m0, as torchao FPx"},
    {"mxfp8", mx_row(FormatId::kMxFp8, Code::kE4M3, 8, ScaleRule::kRceil), kMxParams,
     "OCP MX v1.0, e4m3"},
    {"mxfp6", mx_row(FormatId::kMxFp6, Code::kE2M3, 6, ScaleRule::kFloor), kMxParams,
     "OCP MX v1.0, e2m3"},
    {"mxfp4", mx_row(FormatId::kMxFp4, Code::kE2M1, 4, ScaleRule::kFloor), kMxParams,
     "OCP MX v1.0, e2m1; GGUF MXFP4"},
    {"nvfp4",
     {FormatId::kNvFp4,
      Code::kE2M1,
      4,
      Scale::kE4M3,
      {1, 16},
      Zero::kNone,
      ScaleRule::kTwoLevel,
      Outer::kTensor},
     {.activations = true},
     "e2m1, e4m3 scale per 16, f32 per tensor (activations: per token)"},
    {"q8_0", gguf_row(FormatId::kQ8_0, Code::kInt, 8, ScaleRule::kAmaxOverMax), {}, "GGUF Q8_0"},
    {"q5_1",
     gguf_row(FormatId::kQ5_1, Code::kUInt, 5, ScaleRule::kMinMax, 32, Zero::kOffset),
     {},
     "GGUF Q5_1"},
    {"q5_0", gguf_row(FormatId::kQ5_0, Code::kInt, 5, ScaleRule::kExtreme), {}, "GGUF Q5_0"},
    {"q4_1",
     gguf_row(FormatId::kQ4_1, Code::kUInt, 4, ScaleRule::kMinMax, 32, Zero::kOffset),
     {},
     "GGUF Q4_1"},
    {"q4_0", gguf_row(FormatId::kQ4_0, Code::kInt, 4, ScaleRule::kExtreme), {}, "GGUF Q4_0"},
    {"q6_k",
     k_quant(FormatId::kQ6_K, Code::kInt, 6, Scale::kI8, 16, Zero::kNone),
     {},
     "GGUF Q6_K; without its search for scales"},
    {"q5_k",
     k_quant(FormatId::kQ5_K, Code::kUInt, 5, Scale::kU6, 32, Zero::kOffset),
     {},
     "GGUF Q5_K; without its search for scales"},
    {"q4_k",
     k_quant(FormatId::kQ4_K, Code::kUInt, 4, Scale::kU6, 32, Zero::kOffset),
     {},
     "GGUF Q4_K; without its search for scales"},
    {"q3_k",
     k_quant(FormatId::kQ3_K, Code::kInt, 3, Scale::kI6, 16, Zero::kNone),
     {},
     "GGUF Q3_K; without its search for scales"},
    {"q2_k",
     k_quant(FormatId::kQ2_K, Code::kUInt, 2, Scale::kU4, 16, Zero::kOffset),
     {},
     "GGUF Q2_K; without its search for scales"},
    {"tq2_0",
     gguf_row(FormatId::kTQ2_0, Code::kTernary, 2, ScaleRule::kAmaxOverMax, 256),
     {},
     "GGUF TQ2_0"},
    {"tq1_0",
     gguf_row(FormatId::kTQ1_0, Code::kTrit, 2, ScaleRule::kAmaxOverMax, 256),
     {},
     "GGUF TQ1_0"},
    {"qqq",
     {FormatId::kQqq,
      Code::kInt,
      4,
      Scale::kF16,
      {1, 128},
      Zero::kNone,
      ScaleRule::kLevels,
      Outer::kInt8},
     {.row = true},
     "QQQ: 4 bits times f16, rounded to 8 bits, times f32 per row"},
    {"codebook",
     {FormatId::kCodebook,
      Code::kUInt,
      4,
      Scale::kBF16,
      {1, 64},
      Zero::kNone,
      ScaleRule::kLevels,
      Outer::kTable},
     {.group = true, .scale = true},
     "16 numbers learned for the tensor, times the group's amax; torchao's codebook takes its max"},
};

// Other spellings of the same format. Methods of other tools, which also choose a scale rule or an
// activation format, are in quantize/method.h.
struct FormatAlias {
  std::string_view alias;
  std::string_view name;
  std::string_view source;
};

inline constexpr FormatAlias kAliases[] = {
    {"fp32", "f32", "common"},
    {"float32", "f32", "common"},
    {"fp16", "f16", "common"},
    {"float16", "f16", "common"},
    {"half", "f16", "common"},
    {"bfloat16", "bf16", "common"},
    {"fp1.58", "ternary", "common"},
    {"fp8_e4m3", "fp8", "low-bit-inference"},
    {"e4m3", "fp8", "common"},
    {"fp8_e5m2", "fp8-e5m2", "low-bit-inference"},
    {"e5m2", "fp8-e5m2", "common"},
    {"mxfp8_e4m3", "mxfp8", "torchao"},
    {"mxfp6_e2m3", "mxfp6", "torchao"},
    {"mxfp6_e3m2", "mxfp6-e3m2", "torchao"},
    {"mxfp8_e5m2", "mxfp8-e5m2", "torchao"},
    {"Q8_0", "q8_0", "llama.cpp"},
    {"Q5_1", "q5_1", "llama.cpp"},
    {"Q5_0", "q5_0", "llama.cpp"},
    {"Q4_1", "q4_1", "llama.cpp"},
    {"Q4_0", "q4_0", "llama.cpp"},
    {"Q6_K", "q6_k", "llama.cpp"},
    {"Q5_K", "q5_k", "llama.cpp"},
    {"Q4_K", "q4_k", "llama.cpp"},
    {"Q3_K", "q3_k", "llama.cpp"},
    {"Q2_K", "q2_k", "llama.cpp"},
    {"TQ2_0", "tq2_0", "llama.cpp"},
    {"TQ1_0", "tq1_0", "llama.cpp"},
    {"MXFP4", "mxfp4", "llama.cpp"},
    {"NVFP4", "nvfp4", "vLLM"},
};

constexpr const FormatRow& row_of(FormatId id) {
  for (const FormatRow& row : kFormats) {
    if (row.defaults.id == id) return row;
  }
  __builtin_unreachable();
}

constexpr const Format& format_of(FormatId id) { return row_of(id).defaults; }

static_assert(format_of(FormatId::kInt8).bits_per_weight() == 8.0);
static_assert(format_of(FormatId::kInt4).bits_per_weight() == 4.5);
static_assert(format_of(FormatId::kInt1).bits_per_weight() == 1.25);
static_assert(format_of(FormatId::kMxFp4).bits_per_weight() == 4.25);
static_assert(format_of(FormatId::kNvFp4).bits_per_weight() == 4.5);
static_assert(format_of(FormatId::kQ8_0).bits_per_weight() == 8.5);
static_assert(format_of(FormatId::kQ6_K).bits_per_weight() == 6.5625);
static_assert(format_of(FormatId::kQ3_K).bits_per_weight() == 3.4375);
static_assert(format_of(FormatId::kQ2_K).bits_per_weight() == 2.625);

// The canonical name: parse_format(name(f)) == f.
std::string name(const Format& format);

// A canonical name or an alias. Error with suggestions for anything else.
Format parse_format(std::string_view text);

// Weights and activations of a Linear. Without "+a" the activations keep the engine's own type.
struct FormatPair {
  Format weights;
  std::optional<Format> activations;
  bool operator==(const FormatPair&) const = default;
};
std::string name(const FormatPair& pair);
FormatPair parse_format_pair(std::string_view text);

// As activations use it: scales are per token (or per step with -tensor), nvfp4's outer scale too.
// Error if the format cannot hold activations.
Format activation_format(const Format& format);

// As a cache of keys and values uses it: a row is one head of one position, scales are bf16 unless
// the name says otherwise. Error for a format that needs more than a row to be decoded.
Format parse_cache_format(std::string_view text);

// "" or why a matrix [n, k] cannot be stored in this format.
std::string cannot_take(const Format& format, int64_t n, int64_t k);

// Codes in the last block of a row where a block does not divide k, else 0.
int64_t short_block(const Format& format, int64_t k);

// Every family name and alias, for suggestions and completion.
std::vector<std::string> format_names();
// suggestion() for the whole text or, where nothing is near, for what stands before its parameters.
std::string format_suggestion(std::string_view text, const std::vector<std::string>& known);

}  // namespace lowbit
