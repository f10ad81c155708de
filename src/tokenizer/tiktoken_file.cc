// *.tiktoken, also Llama 3's tokenizer.model: lines of "<base64 of a token's bytes> <rank>". The
// file has neither the pattern nor the special tokens; Llama 3's are assumed, as Meta's code does.
#include <array>

#include "base/check.h"
#include "base/text.h"
#include "tokenizer/spec.h"

namespace lowbit {
namespace {

constexpr int32_t kSpecialTokens = 256;

// Llama 3.1's names, which 3.2 and 3.3 kept; 3.0 had all but the first, second, sixth, seventh and
// ninth of them reserved. The rest is <|reserved_special_token_N|> with N counting on.
std::string special_name(int32_t index) {
  switch (index) {
    case 0:
      return "<|begin_of_text|>";
    case 1:
      return "<|end_of_text|>";
    case 4:
      return "<|finetune_right_pad_id|>";
    case 6:
      return "<|start_header_id|>";
    case 7:
      return "<|end_header_id|>";
    case 8:
      return "<|eom_id|>";
    case 9:
      return "<|eot_id|>";
    case 10:
      return "<|python_tag|>";
    default:
      return fmt::format("<|reserved_special_token_{}|>", index < 4    ? index - 2
                                                          : index == 5 ? 2
                                                                       : index - 8);
  }
}

// nullopt: not base64 (RFC 4648, padded).
std::optional<std::string> decode_base64(std::string_view text) {
  static constexpr auto kValues = [] {
    std::array<int8_t, 256> values{};
    for (auto& value : values) value = -1;
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < kDigits.size(); ++i) {
      values[static_cast<uint8_t>(kDigits[i])] = static_cast<int8_t>(i);
    }
    return values;
  }();
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  size_t padding = 0;
  while (padding < 2 && text.ends_with('=')) {
    text.remove_suffix(1);
    ++padding;
  }
  std::string bytes;
  uint32_t bits = 0, count = 0;
  for (const char c : text) {
    const int8_t value = kValues[static_cast<uint8_t>(c)];
    if (value < 0) return std::nullopt;
    bits = (bits << 6) | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) bytes.push_back(static_cast<char>((bits >> (count -= 8)) & 0xFF));
  }
  return bytes;
}

}  // namespace

BpeSpec parse_tiktoken(const std::string& source, std::string_view text) {
  BpeSpec spec;
  spec.source = source;
  spec.ranks_are_ids = true;
  size_t line_number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    std::optional<std::string> bytes;
    std::optional<long long> rank;
    if (space != std::string_view::npos) {
      bytes = decode_base64(line.substr(0, space));
      rank = parse_int(line.substr(space + 1));
    }
    if (!bytes || bytes->empty() || !rank) {
      throw_error("{}: line {} is not \"<base64> <rank>\": \"{}\"", source, line_number,
                  printable(line));
    }
    if (*rank != static_cast<long long>(spec.tokens.size())) {
      throw_error("{}: line {}: rank {}, expected {}: ranks must count up from 0 without gaps",
                  source, line_number, *rank, spec.tokens.size());
    }
    spec.tokens.push_back(std::move(*bytes));
  }
  if (spec.tokens.empty()) throw_error("{}: the file is empty", source);

  const auto base = static_cast<int32_t>(spec.tokens.size());
  for (int32_t i = 0; i < kSpecialTokens; ++i) {
    spec.added.push_back({.id = base + i, .text = special_name(i)});
  }
  spec.tokens.resize(spec.tokens.size() + kSpecialTokens);
  spec.pre_tokenizer.push_back({.known = KnownPattern::kLlama3});
  spec.bos = base;
  spec.add_bos = true;
  spec.eos = {base + 1, base + 8, base + 9};
  return spec;
}

}  // namespace lowbit
