#include "tokenizer/token_index.h"

#include <algorithm>

namespace lowbit {

void PrefixMatcher::add(std::string text, int32_t value) {
  entries_.push_back({std::move(text), value});
}

void PrefixMatcher::finish() {
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.text < b.text; });
  entries_.erase(std::unique(entries_.begin(), entries_.end(),
                             [](const Entry& a, const Entry& b) { return a.text == b.text; }),
                 entries_.end());
  for (const Entry& entry : entries_) first_[static_cast<uint8_t>(entry.text[0])] = true;
}

PrefixMatcher::Match PrefixMatcher::longest_at(std::string_view text, size_t at) const {
  Match match;
  auto low = entries_.begin(), high = entries_.end();
  for (size_t depth = 0; at + depth < text.size() && low != high; ++depth) {
    // All of [low, high) agree with the text in `depth` bytes, and none ends there but the first.
    if (low->text.size() == depth) ++low;
    const auto byte = static_cast<uint8_t>(text[at + depth]);
    low = std::lower_bound(low, high, byte, [depth](const Entry& entry, uint8_t value) {
      return static_cast<uint8_t>(entry.text[depth]) < value;
    });
    high = std::upper_bound(low, high, byte, [depth](uint8_t value, const Entry& entry) {
      return value < static_cast<uint8_t>(entry.text[depth]);
    });
    if (low != high && low->text.size() == depth + 1) match = {low->value, depth + 1};
  }
  return match;
}

}  // namespace lowbit
