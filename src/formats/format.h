// THE table of number formats. A Format is a value: everything a kernel predicate may ask. A row of
// kFormats is a family with its defaults; a format in use is a row plus the parameters in its name:
//
//   <family>[-g<K>|-row|-tensor][-sym|-asym|-fzero]      defaults are left out when printing
//   <weights>+<activations>                              a pair
//
// To add a format made of known parts: one FormatId, one row here. docs/formats.md is generated.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/ids.h"

namespace lowbit {

// Codes that share one scale, along n (rows) and k. 0 means the whole extent.
struct Block {
  int32_t n = 1;
  int32_t k = 0;
  constexpr bool operator==(const Block&) const = default;
};

struct Format {
  FormatId id;
  Code code;
  uint8_t bits;  // of one stored code
  Scale scale = Scale::kNone;
  Block block = {};
  Zero zero = Zero::kNone;
  ScaleRule rule = ScaleRule::kNone;

  constexpr bool operator==(const Format&) const = default;
  constexpr bool quantized() const { return scale != Scale::kNone; }
  constexpr int scale_bits() const {
    switch (scale) {
      case Scale::kNone:
        return 0;
      case Scale::kF32:
        return 32;
      case Scale::kF16:
      case Scale::kBF16:
        return 16;
    }
    __builtin_unreachable();
  }
  constexpr int zero_bits() const {
    return zero == Zero::kNone ? 0 : zero == Zero::kInt ? 8 : scale_bits();
  }
  // Nominal: codes plus what a full block adds; a row or tensor scale vanishes as K grows.
  constexpr double bits_per_weight() const {
    if (block.k == 0) return bits;
    return bits + (scale_bits() + zero_bits()) / (static_cast<double>(block.n) * block.k);
  }
};

// Which parameters a family's name may carry.
struct FormatParams {
  bool group = false;   // -g<K>: a power of two, 8 to 256
  bool row = false;     // -row
  bool tensor = false;  // -tensor
  bool zero = false;    // -sym, -asym, -fzero
  bool weights = true;  // usable for weights
  bool activations = false;
};

struct FormatRow {
  std::string_view name;
  Format defaults;
  FormatParams params;
  std::string_view source;  // where the numerics come from
};

inline constexpr FormatRow kFormats[] = {
    {"f32", {FormatId::kF32, Code::kF32, 32}, {.activations = true}, "IEEE 754-2008 binary32"},
    {"f16", {FormatId::kF16, Code::kF16, 16}, {.activations = true}, "IEEE 754-2008 binary16"},
    {"bf16", {FormatId::kBF16, Code::kBF16, 16}, {.activations = true}, "upper half of binary32"},
    {"int8",
     {FormatId::kInt8, Code::kInt, 8, Scale::kF32, {1, 0}, Zero::kNone, ScaleRule::kAmaxOverMax},
     {.group = true, .row = true, .tensor = true},
     "symmetric, amax/127, as gemlite A16W8"},
    {"int4",
     {FormatId::kInt4, Code::kUInt, 4, Scale::kBF16, {1, 64}, Zero::kFloat, ScaleRule::kMinMax},
     {.group = true, .row = true, .zero = true},
     "asymmetric min-max with a mid-point float zero, as torchao int4wo"},
    {"q8_0",
     {FormatId::kQ8_0, Code::kInt, 8, Scale::kF16, {1, 32}, Zero::kNone, ScaleRule::kAmaxOverMax},
     {},
     "GGUF Q8_0"},
    {"q4_0",
     {FormatId::kQ4_0, Code::kInt, 4, Scale::kF16, {1, 32}, Zero::kNone, ScaleRule::kExtreme},
     {},
     "GGUF Q4_0"},
};

// Names of other tools, each pointing at a canonical name.
struct FormatAlias {
  std::string_view alias;
  std::string_view name;
  std::string_view source;
};

inline constexpr FormatAlias kAliases[] = {
    {"fp32", "f32", "common"},      {"fp16", "f16", "common"},     {"float16", "f16", "common"},
    {"bfloat16", "bf16", "common"}, {"Q8_0", "q8_0", "llama.cpp"}, {"Q4_0", "q4_0", "llama.cpp"},
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
static_assert(format_of(FormatId::kQ8_0).bits_per_weight() == 8.5);

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

// Every family name and alias, for suggestions and completion.
std::vector<std::string> format_names();

}  // namespace lowbit
