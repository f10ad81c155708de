// The shapes of Linear that tests check and benches time.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "formats/format.h"
#include "formats/numbers.h"
#include "formats/words.h"

namespace lowbit {

struct LinearShape {
  int32_t n, k;
  const char* what;
};

// Tails of every kind: below, at and beside the runs and panels of the kernels, n odd.
inline constexpr LinearShape kRaggedLinearShapes[] = {
    {1, 1, "one weight"},        {3, 7, "below any vector"}, {5, 63, "one short run"},
    {2, 64, "one run"},          {17, 65, "run and one"},    {9, 200, "short last block"},
    {33, 320, "k = 64 * 5"},     {7, 1023, "panel less 1"},  {6, 1025, "panel and one"},
    {35, 1088, "panel and run"},
};

// The same for formats whose rows are whole super-blocks: only n can be ragged.
inline constexpr LinearShape kSuperBlockLinearShapes[] = {
    {1, 256, "one super-block"}, {7, 512, "two super-blocks"}, {35, 1280, "panel and super-block"}};

inline std::span<const LinearShape> ragged_linear_shapes(const Format& format) {
  if (format.outer == Outer::kSuper) return kSuperBlockLinearShapes;
  return kRaggedLinearShapes;
}

// Shapes of real models; slow to check with the reference.
inline constexpr LinearShape kModelLinearShapes[] = {
    {512, 256, "embedded model, q|k|v"}, {1536, 256, "embedded model, gate|up"},
    {256, 768, "embedded model, down"},  {6144, 4096, "Llama-3.1-8B, q|k|v"},
    {4096, 4096, "Llama-3.1-8B, o"},     {28672, 4096, "Llama-3.1-8B, gate|up"},
    {4096, 14336, "Llama-3.1-8B, down"},
};

inline constexpr int32_t kLinearTokens[] = {1, 2, 3, 7, 8, 9, 16, 33, 128};

// Every family with every block and zero that its name can carry, and every other parameter once.
// Not those whose codes mean what their tensor's table says: kernels must ask for them
// (codebook_test.cc).
inline std::vector<Format> every_weight_format() {
  std::vector<Format> formats;
  const auto add = [&](const std::string& text) {
    const Format format = parse_format(text);
    if (std::find(formats.begin(), formats.end(), format) == formats.end()) {
      formats.push_back(format);
    }
  };
  for (const FormatRow& row : kFormats) {
    if (!row.params.weights || row.defaults.has_table()) continue;
    const std::string family(row.name);
    std::vector<std::string> blocks = {""}, zeros = {""}, others;
    if (row.params.group) {
      for (int k = 8; k <= 256; k *= 2) blocks.push_back("-g" + std::to_string(k));
    }
    if (row.params.row) blocks.push_back("-row");
    if (row.params.tensor) blocks.push_back("-tensor");
    if (row.params.block2d) blocks.push_back("-b128x128");
    if (row.params.zero) zeros.insert(zeros.end(), {"-sym", "-asym", "-fzero", "-rzero"});
    for (const std::string& block : blocks) {
      for (const std::string& zero : zeros) add(family + block + zero);
    }
    if (row.params.scale) others.insert(others.end(), {"-sf32", "-sf16", "-sbf16"});
    if (row.params.power) others.insert(others.end(), {"-floor", "-ceil", "-even", "-rceil"});
    if (row.params.sparse) others.insert(others.end(), {"-24"});
    if (row.params.sparse && row.params.zero) others.insert(others.end(), {"-g128-sym-sf16-24"});
    for (const std::string& other : others) add(family + other);
    if (!row.params.element) continue;
    for (const Code element : kSmallFloats) {
      if (mini_float(element).bits() != row.defaults.bits) continue;
      add(fmt::format("{}-{}", family, word(element)));
    }
  }
  return formats;
}

}  // namespace lowbit
