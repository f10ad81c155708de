// The shapes of Linear that tests check and benches time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/format.h"

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

// Shapes of real models; slow to check with the reference.
inline constexpr LinearShape kModelLinearShapes[] = {
    {512, 256, "embedded model, q|k|v"}, {1536, 256, "embedded model, gate|up"},
    {256, 768, "embedded model, down"},  {6144, 4096, "Llama-3.1-8B, q|k|v"},
    {4096, 4096, "Llama-3.1-8B, o"},     {28672, 4096, "Llama-3.1-8B, gate|up"},
    {4096, 14336, "Llama-3.1-8B, down"},
};

inline constexpr int32_t kLinearTokens[] = {1, 2, 3, 7, 8, 9, 16, 33, 128};

// Every weight format that the name grammar can spell.
inline std::vector<Format> every_weight_format() {
  std::vector<Format> formats;
  for (const FormatRow& row : kFormats) {
    if (!row.params.weights) continue;
    std::vector<std::string> blocks = {""}, zeros = {""};
    if (row.params.group) {
      for (int k = 8; k <= 256; k *= 2) blocks.push_back("-g" + std::to_string(k));
    }
    if (row.params.row) blocks.push_back("-row");
    if (row.params.tensor) blocks.push_back("-tensor");
    if (row.params.zero) zeros.insert(zeros.end(), {"-sym", "-asym", "-fzero"});
    for (const std::string& block : blocks) {
      for (const std::string& zero : zeros) {
        const Format format = parse_format(std::string(row.name) + block + zero);
        bool known = false;
        for (const Format& other : formats) known |= other == format;
        if (!known) formats.push_back(format);
      }
    }
  }
  return formats;
}

}  // namespace lowbit
