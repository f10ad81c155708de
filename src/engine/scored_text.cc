#include "engine/scored_text.h"

#include <algorithm>
#include <filesystem>
#include <span>

#include "base/check.h"
#include "base/file.h"
#include "base/hash.h"

namespace lowbit {

ScoredText file_text(const Tokenizer& tokenizer, int32_t context, const std::string& path,
                     int32_t max_tokens) {
  const std::vector<int32_t> start = tokenizer.encode("");  // BOS where texts start with it
  ScoredText text{"", tokenizer.encode(map_file(path).text(), {.add_bos = false}),
                  std::min(512, context), start.size() == 1 ? start[0] : -1};
  const bool cut = max_tokens > 0 && text.ids.size() > static_cast<size_t>(max_tokens);
  if (cut) text.ids.resize(static_cast<size_t>(max_tokens));
  text.label =
      fmt::format("{} ({}{} tokens, hash {:016x})", std::filesystem::path(path).filename().string(),
                  cut ? "first " : "", text.ids.size(), fnv1a(std::span<const int32_t>(text.ids)));
  return text;
}

bool same_text(std::string_view label, std::string_view other) {
  const size_t at = label.rfind(" ("), theirs = other.rfind(" (");
  if (at == std::string_view::npos || theirs == std::string_view::npos) return false;
  return label.substr(at) == other.substr(theirs);
}

}  // namespace lowbit
