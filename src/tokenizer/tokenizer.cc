#include "tokenizer/tokenizer.h"

#include "base/utf8.h"

namespace lowbit {
namespace {

// Bytes at the end of `text` that start a character which later bytes may complete.
size_t incomplete_tail(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const std::string_view tail = text.substr(text.size() - back);
    const auto lead = static_cast<unsigned char>(tail[0]);
    if (lead < 0x80) return 0;
    if (lead < 0xC0) continue;  // a continuation byte: look further back
    const size_t needed = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    const Utf8Char c = decode_utf8(tail);
    return needed > back && !c.valid && c.bytes == back ? back : 0;
  }
  return 0;
}

}  // namespace

std::string StreamDecoder::push(int32_t id) {
  ids_.push_back(id);
  const std::string text = tokenizer_.decode(ids_);
  const size_t certain = text.size() - incomplete_tail(text);
  std::string piece = certain > emitted_ ? text.substr(emitted_, certain - emitted_) : "";
  emitted_ = std::max(emitted_, certain);
  return piece;
}

std::string StreamDecoder::finish() {
  const std::string text = tokenizer_.decode(ids_);
  std::string rest = replace_invalid_utf8(std::string_view(text).substr(emitted_));
  ids_.clear();
  emitted_ = 0;
  return rest;
}

}  // namespace lowbit
