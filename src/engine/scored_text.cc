#include "engine/scored_text.h"

#include <algorithm>

#include "base/check.h"
#include "base/file.h"

namespace lowbit {

ScoredText file_text(const Tokenizer& tokenizer, int32_t context, const std::string& path,
                     int32_t max_tokens) {
  const std::vector<int32_t> start = tokenizer.encode("");  // BOS where texts start with it
  ScoredText text{path, tokenizer.encode(map_file(path).text(), {.add_bos = false}),
                  std::min(512, context), start.size() == 1 ? start[0] : -1};
  if (max_tokens > 0 && text.ids.size() > static_cast<size_t>(max_tokens)) {
    text.ids.resize(static_cast<size_t>(max_tokens));
    text.label += fmt::format(", first {} tokens", max_tokens);
  }
  return text;
}

}  // namespace lowbit
