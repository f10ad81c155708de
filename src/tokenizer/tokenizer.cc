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

std::string Tokenizer::decode(std::span<const int32_t> ids, bool keep_special) const {
  DecodeState state;
  std::string text;
  for (const int32_t id : ids) decode_next(id, keep_special, &state, &text);
  return text;
}

std::string StreamDecoder::push(int32_t id) {
  std::string piece = std::move(held_);
  held_.clear();
  tokenizer_.decode_next(id, /*keep_special=*/false, &state_, &piece);
  const size_t tail = incomplete_tail(piece);
  held_.assign(piece, piece.size() - tail);
  piece.resize(piece.size() - tail);
  return piece;
}

std::string StreamDecoder::finish() {
  std::string rest = replace_invalid_utf8(held_);
  held_.clear();
  state_ = {};
  return rest;
}

}  // namespace lowbit
