#include "tokenizer/normalize.h"

#include <utf8proc.h>

#include <cstdlib>

#include "base/check.h"
#include "base/utf8.h"
#include "tokenizer/chars.h"

namespace lowbit {
namespace {

// Unicode's longest decomposition is 18-fold.
size_t size_limit(std::string_view text) { return 64 * text.size() + 65536; }

void check_growth(size_t bytes, size_t limit) {
  if (bytes > limit) {
    throw_error("the normalizers make a text grow to more than {} bytes; is the file broken?",
                limit);
  }
}

std::string compose(std::string_view text, int options) {
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (size < 0) throw_error("Unicode normalization failed: {}", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(mapped), static_cast<size_t>(size)};
}

std::string lowercase(std::string_view text) {
  std::string lower;
  lower.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = decode_utf8(text.substr(i));
    i += c.bytes;
    if (c.code_point == 0x130) {  // the only character whose lower case is two characters
      lower += "i\xCC\x87";
    } else {
      append_utf8(&lower, static_cast<uint32_t>(
                              utf8proc_tolower(static_cast<utf8proc_int32_t>(c.code_point))));
    }
  }
  return lower;
}

std::string replace_string(std::string_view text, const Normalizer& step, size_t limit) {
  const std::string& from = step.from;
  if (from.empty()) return std::string(text);
  std::string out;
  size_t done = 0;
  for (size_t at; (at = text.find(from, done)) != std::string_view::npos; done = at + from.size()) {
    out.append(text, done, at - done).append(step.text);
    check_growth(out.size(), limit);
  }
  return out.append(text, done);
}

std::string replace_pattern(std::string_view text, const Normalizer& step, size_t limit) {
  std::string out;
  Regex::Search search(*step.pattern, text);
  size_t done = 0, begin = 0, end = 0;
  while (search.next(&begin, &end)) {
    out.append(text, done, begin - done).append(step.text);
    check_growth(out.size(), limit);
    done = end;
  }
  return out.append(text, done);
}

std::string strip(std::string_view text, bool left, bool right) {
  const auto space_at = [&](size_t i) {
    return char_class(decode_utf8(text.substr(i)).code_point) == CharClass::kSpace;
  };
  while (left && !text.empty() && space_at(0)) text.remove_prefix(utf8_length(text[0]));
  while (right && !text.empty() && space_at(previous_char(text, text.size()))) {
    text = text.substr(0, previous_char(text, text.size()));
  }
  return std::string(text);
}

std::string apply(const Normalizer& step, std::string_view text, size_t limit) {
  using Kind = Normalizer::Kind;
  switch (step.kind) {
    case Kind::kPrepend:
      return text.empty() ? std::string() : step.text + std::string(text);
    case Kind::kReplace:
      return step.pattern ? replace_pattern(text, step, limit) : replace_string(text, step, limit);
    case Kind::kNfc:
      return compose(text, UTF8PROC_COMPOSE);
    case Kind::kNfd:
      return compose(text, UTF8PROC_DECOMPOSE);
    case Kind::kNfkc:
      return compose(text, UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
    case Kind::kNfkd:
      return compose(text, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
    case Kind::kLowercase:
      return lowercase(text);
    case Kind::kStrip:
      return strip(text, step.left, step.right);
  }
  return std::string(text);
}

}  // namespace

std::string normalize(const std::vector<Normalizer>& steps, std::string_view text) {
  const size_t limit = size_limit(text);
  std::string normal(text);
  for (const Normalizer& step : steps) {
    normal = apply(step, normal, limit);
    check_growth(normal.size(), limit);
  }
  return normal;
}

}  // namespace lowbit
