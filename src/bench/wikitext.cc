#include "bench/wikitext.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "engine/perplexity.h"

namespace lowbit {
namespace {

constexpr std::string_view kSpace = " \t\n\r\f\v";

bool is_space(char c) { return kSpace.find(c) != std::string_view::npos; }

void replace_all(std::string* text, std::string_view from, std::string_view to) {
  std::string out;
  size_t begin = 0;
  for (size_t at; (at = text->find(from, begin)) != std::string::npos; begin = at + from.size()) {
    out.append(*text, begin, at - begin).append(to);
  }
  *text = out.append(*text, begin);
}

// White space just inside a pair of marks goes: "( a )" becomes "(a)".
void tighten(std::string* text, char open, char close) {
  std::string out;
  size_t at = 0;
  while (true) {
    const size_t begin = text->find(open, at);
    const size_t end = begin == std::string::npos ? begin : text->find(close, begin + 1);
    if (end == std::string::npos) break;
    out.append(*text, at, begin + 1 - at);
    out += trim(std::string_view(*text).substr(begin + 1, end - begin - 1));
    out += close;
    at = end + 1;
  }
  *text = out.append(*text, at);
}

bool is_title(std::string_view line) {
  std::string text(line);
  replace_all(&text, "= = =", "===");
  replace_all(&text, "= =", "==");
  const std::string_view trimmed = trim(text);
  return trimmed.starts_with("= ") && trimmed.ends_with(" =");
}

}  // namespace

std::vector<std::string> wikitext_pages(std::string_view text) {
  std::vector<std::string> pages;
  std::string page;
  bool empty = true;  // without a line so far
  const auto finish = [&] {
    if (!trim(page).empty()) pages.push_back(page);
    page.clear();
    empty = true;
  };
  for (const std::string_view line : split(text, '\n')) {
    if (is_title(line)) finish();
    if (!empty) page += '\n';
    page += line;
    empty = false;
  }
  finish();
  return pages;
}

std::string wikitext_plain(std::string page) {
  constexpr std::pair<std::string_view, std::string_view> kMarks[] = {
      {"s '", "s'"}, {" @-@ ", "-"}, {" @,@ ", ","}, {" @.@ ", "."}, {" : ", ": "},
      {" ; ", "; "}, {" . ", ". "},  {" ! ", "! "},  {" ? ", "? "},  {" , ", ", "}};
  for (const auto& mark : kMarks) replace_all(&page, mark.first, mark.second);
  constexpr std::pair<char, char> kPairs[] = {
      {'(', ')'}, {'[', ']'}, {'{', '}'}, {'"', '"'}, {'\'', '\''}};
  for (const auto& pair : kPairs) tighten(&page, pair.first, pair.second);
  constexpr std::pair<std::string_view, std::string_view> kRest[] = {
      {"= = = =", "===="}, {"= = =", "==="}, {"= =", "=="},  {" \u00b0 ", "\u00b0"},
      {" \n", "\n"},       {"\n ", "\n"},    {" N ", " 1 "}, {" 's", "'s"}};
  for (const auto& rest : kRest) replace_all(&page, rest.first, rest.second);
  return page;
}

int64_t wikitext_words(std::string_view page) {
  int64_t words = 1;
  for (size_t i = 0; i < page.size(); ++i) {
    words += is_space(page[i]) && (i == 0 || !is_space(page[i - 1]));
  }
  return words;
}

RollingScore score_rolling(Stepper& stepper, std::span<const int32_t> tokens, int32_t start,
                           int32_t length) {
  const auto count = static_cast<int64_t>(tokens.size());
  RollingScore result{0, count};
  if (count == 0) return result;
  std::vector<int32_t> all = {start};
  all.insert(all.end(), tokens.begin(), tokens.end());
  // The windows one after the other, each with its last target behind its inputs: score() reads
  // windows of one size that do not overlap.
  std::vector<int32_t> laid;
  int64_t repeated = 0;  // targets of the last window that an earlier one has scored
  for (int64_t done = 0; done < count;) {
    const int64_t end = std::min(count, done + length), begin = std::max<int64_t>(0, end - length);
    laid.insert(laid.end(), all.begin() + begin, all.begin() + end + 1);
    repeated = done - begin;
    done = end;
  }
  const auto window = static_cast<int32_t>(std::min<int64_t>(length, count) + 1);
  const Scores scores = score(stepper, nullptr, laid, {.ctx = window});
  const auto targets = static_cast<int64_t>(scores.nll.size());
  LB_CHECK(targets == count + repeated, "{} of {} + {}", targets, count, repeated);
  const int64_t last = (targets - 1) / (window - 1) * (window - 1);  // of the last window
  for (int64_t i = 0; i < targets; ++i) {
    if (i >= last && i < last + repeated) continue;
    result.nll += scores.nll[static_cast<size_t>(i)];
  }
  return result;
}

}  // namespace lowbit
