#include "tokenizer/byte_alphabet.h"

#include <array>

#include "base/check.h"
#include "base/text.h"
#include "base/utf8.h"
#include "tokenizer/token_index.h"

namespace lowbit {
namespace {

constexpr bool is_printable_latin1(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// Printable bytes stand for themselves, the others for U+0100 and up, in order: U+0143 is the last.
constexpr auto kByteOf = [] {
  std::array<int16_t, 0x144> bytes{};
  for (auto& byte : bytes) byte = -1;
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    bytes[is_printable_latin1(byte) ? byte : next++] = static_cast<int16_t>(byte);
  }
  return bytes;
}();

}  // namespace

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = decode_utf8(text.substr(i));
    if (!c.valid || c.code_point >= kByteOf.size() || kByteOf[c.code_point] < 0) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(kByteOf[c.code_point]));
    i += c.bytes;
  }
  return bytes;
}

void set_byte_level_tokens(const std::vector<std::string>& vocab, BpeSpec* spec) {
  spec->tokens.resize(vocab.size());
  spec->texts.resize(vocab.size());
  for (size_t id = 0; id < vocab.size(); ++id) {
    auto bytes = from_byte_alphabet(vocab[id]);
    spec->texts[id] = bytes ? *bytes : vocab[id];
    if (bytes) spec->tokens[id] = std::move(*bytes);
  }
}

std::vector<BpeMerge> resolve_merges(
    const std::vector<std::string>& vocab,
    const std::vector<std::pair<std::string, std::string>>& merges) {
  TokenIndex index(vocab.size());
  for (size_t id = 0; id < vocab.size(); ++id) {
    if (!vocab[id].empty()) index.insert(vocab[id], static_cast<int32_t>(id));
  }
  std::vector<BpeMerge> resolved;
  resolved.reserve(merges.size());
  std::string result;
  for (const auto& [left, right] : merges) {
    result.assign(left).append(right);
    const BpeMerge merge{index.find(left), index.find(right), index.find(result)};
    const std::string* unknown = merge.left == TokenIndex::kNone     ? &left
                                 : merge.right == TokenIndex::kNone  ? &right
                                 : merge.result == TokenIndex::kNone ? &result
                                                                     : nullptr;
    if (unknown != nullptr) {
      throw_error("merge {} (\"{}\" and \"{}\"): \"{}\" is not in the vocabulary", resolved.size(),
                  printable(left), printable(right), printable(*unknown));
    }
    resolved.push_back(merge);
  }
  return resolved;
}

}  // namespace lowbit
