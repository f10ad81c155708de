#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

// Far beyond what the patterns of real models need, low enough that a hostile one fails in about a
// second: backtracking steps, and KiB of heap.
constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;
constexpr size_t kMaxPatternBytes = 64 * 1024;

// White_Space of Unicode; PCRE2's own \s adds U+180E.
constexpr std::string_view kSpaces =
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{"
    "3000}";
constexpr std::string_view kWordChars = "\\p{L}\\p{M}\\p{Nd}\\p{Pc}";
constexpr std::string_view kHexDigits = "0-9a-fA-F";

// Rewrites \s \w \h (and \S \W \H outside brackets) as explicit classes.
std::string to_pcre2(std::string_view pattern) {
  std::string out;
  int brackets = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '[') ++brackets;
    if (c == ']' && brackets > 0) --brackets;
    if (c != '\\' || i + 1 == pattern.size()) {
      out += c;
      continue;
    }
    const char escaped = pattern[++i];
    std::string_view chars;
    if (escaped == 's' || escaped == 'S') chars = kSpaces;
    if (escaped == 'w' || escaped == 'W') chars = kWordChars;
    if (escaped == 'h' || escaped == 'H') chars = kHexDigits;
    const bool negated = escaped < 'a';
    if (chars.empty()) {
      (out += c) += escaped;
    } else if (brackets == 0) {
      ((out += negated ? "[^" : "[") += chars) += "]";
    } else if (!negated) {
      out += chars;
    } else {
      throw_error("\\{} inside [...] is not supported", escaped);
    }
  }
  return out;
}

std::string pcre2_message(int code) {
  char buffer[160] = "";
  pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(buffer), sizeof(buffer));
  return buffer;
}

}  // namespace

Regex::Regex(const std::string& source, std::string_view pattern) : source_(source) {
  with_context(source, [&] { compile(pattern, false); });
}

Regex Regex::literal(const std::string& source, std::string_view text) {
  Regex regex;
  regex.source_ = source;
  with_context(source, [&] { regex.compile(text, true); });
  return regex;
}

void Regex::compile(std::string_view pattern, bool is_literal) {
  if (pattern.size() > kMaxPatternBytes) {
    throw_error("the pattern has {} bytes, at most {} are allowed", pattern.size(),
                kMaxPatternBytes);
  }
  const std::string words = is_literal ? std::string(pattern) : to_pcre2(pattern);
  // Ruby's dialect, which the files assume, lets ^ and $ match at every line.
  const uint32_t options = is_literal
                               ? PCRE2_UTF | PCRE2_LITERAL
                               : PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 100);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(words.data()), words.size(),
                                   options, &error, &offset, context.get());
  if (code == nullptr) {
    throw_error("bad regular expression \"{}\": {}", printable(pattern), pcre2_message(error));
  }
  code_ = std::shared_ptr<pcre2_code>(code, &pcre2_code_free);
  // Without JIT (a machine that forbids writable code) matching is slower and otherwise the same.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
}

Regex::Search::Search(const Regex& regex, std::string_view text)
    : regex_(regex),
      text_(text),
      match_(pcre2_match_data_create_from_pattern(regex.code_.get(), nullptr),
             &pcre2_match_data_free),
      limits_(pcre2_match_context_create(nullptr), &pcre2_match_context_free) {
  pcre2_set_match_limit(limits_.get(), kMatchLimit);
  pcre2_set_heap_limit(limits_.get(), kHeapLimitKib);
}

bool Regex::Search::next(size_t* begin, size_t* end) {
  if (from_ > text_.size()) return false;
  const auto match = [&](uint32_t options) {
    return pcre2_match(regex_.code_.get(), reinterpret_cast<PCRE2_SPTR>(text_.data()), text_.size(),
                       from_, options | PCRE2_NO_UTF_CHECK, match_.get(), limits_.get());
  };
  int result = match(0);
  // The JIT's stack is small and fixed; the interpreter keeps its own on the heap.
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = match(PCRE2_NO_JIT);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0) {
    throw_error("{}: matching the regular expression failed: {}", regex_.source_,
                pcre2_message(result));
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match_.get());
  // \K in a lookahead can put the start behind the end, or both before where we are.
  if (bounds[0] > bounds[1] || bounds[0] < from_) {
    throw_error("{}: the regular expression matches backwards (\\K is not supported)",
                regex_.source_);
  }
  *begin = bounds[0];
  *end = bounds[1];
  from_ = *end;
  if (*begin == *end) {  // step over one character
    do ++from_;
    while (from_ < text_.size() && (static_cast<unsigned char>(text_[from_]) & 0xC0) == 0x80);
  }
  return true;
}

}  // namespace lowbit
