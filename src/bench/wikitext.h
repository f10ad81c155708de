// The wikitext task of lm-eval, which torchao's eval.py quotes: perplexity per word of whole pages.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/stepper.h"

namespace lowbit {

// The pages of a WikiText file (wiki.test.raw): each begins with a heading of the first level, " =
// Title = ". A text without such headings is one page.
std::vector<std::string> wikitext_pages(std::string_view text);

// The page without the blanks that WikiText puts around marks: what is scored.
std::string wikitext_plain(std::string page);

// Words of the page as it is in the file: pieces between runs of white space, an empty first or
// last one counted, as the task counts.
int64_t wikitext_words(std::string_view page);

struct RollingScore {
  double nll = 0;  // nats, of all tokens together
  int64_t tokens = 0;
};

// -ln p of every token, the first after `start`, in windows of `length` inputs: each begins with
// the token before its first target, the last one with as many more as it has room for. Error: a
// window is longer than the stepper's context.
RollingScore score_rolling(Stepper& stepper, std::span<const int32_t> tokens, int32_t start,
                           int32_t length);

}  // namespace lowbit
